"""From rows to batches. A batch is a function of (seed, epoch, place) alone, so that any step can
be made again.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxcap.data.split import Split
from jaxcap.inputs import features, images
from jaxcap.inputs.prefetch import prefetch
from jaxcap.text import PAD, Vocabulary, split_words

Batch = dict[str, np.ndarray]
KEPT_BYTES = 2**29  # a split whose plain views fit into this is decoded once and kept in memory
# Inputs of a batch: (rows [B], view [B], one random key (epoch and row) a photo) -> {"features"} or
# {"images"}.
Inputs = Callable[[np.ndarray, np.ndarray, Sequence[tuple[int, ...]]], Batch]


class Captions(NamedTuple):
    """The encoded captions of a split.

    Attributes:
      tokens: [N, C, T] int32, C the most that any photo has; missing ones are all padding.
      counts: [N], captions of each photo, without those that have no word.
      truncated: how many captions did not fit T.
    """

    tokens: np.ndarray
    counts: np.ndarray
    truncated: int


def encode_captions(
    split: Split, vocabulary: Vocabulary, max_length: int, *, keep_punctuation: bool = False
) -> Captions:
    """Tokenises and encodes all captions of a split to `max_length` positions."""
    sentences = []
    for captions in split.captions:
        words = [split_words(caption, keep_punctuation=keep_punctuation) for caption in captions]
        sentences.append(
            [sentence for sentence in words if sentence]
        )  # an empty one would teach to say nothing
    counts = np.array([len(words) for words in sentences])
    tokens = np.full((len(split), counts.max(initial=1), max_length), PAD, np.int32)
    truncated = 0
    for row, words in enumerate(sentences):
        tokens[row, : len(words)], cut = vocabulary.encode_all(words, max_length)
        truncated += cut
    return Captions(tokens, counts, truncated)


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Returns the number of batches that see every row once; the last may be partly filled."""
    return -(-rows // batch_size)


@dataclass(frozen=True)
class TrainingBatches:
    """The batches of training.

    Attributes:
      inputs: reads features or decodes photos.
      captions: of the training split.
      views: how many views of each photo `inputs` can give.
      batch_size: B over all devices.
      all_captions: every caption of a photo ([B, C, T]), or one at random each epoch ([B, 1, T]).
      seed: of the order, of the captions and of the views.
    """

    inputs: Inputs
    captions: Captions
    views: int
    batch_size: int
    all_captions: bool
    seed: int

    def __len__(self) -> int:
        return steps_per_epoch(len(self.captions.tokens), self.batch_size)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from place `first` on, made one ahead in a thread.

        A batch holds what `inputs` gives, "tokens" [B, C, T], and "rows" [B], which photos these
        are. Every photo comes once. The last batch is filled with a repeated photo whose captions
        are padding, which counts nowhere.
        """
        rng = np.random.default_rng((self.seed, epoch))
        order = rng.permutation(len(self.captions.tokens))
        chosen = (rng.random(len(order)) * self.captions.counts).astype(int)
        views = rng.integers(self.views, size=len(order))

        def batch(place: int) -> Batch:
            rows = order[place * self.batch_size : (place + 1) * self.batch_size]
            tokens = self.captions.tokens[rows]
            if not self.all_captions:
                tokens = tokens[np.arange(len(rows)), chosen[rows]][:, None]
            keys = [(self.seed, epoch, int(row)) for row in rows]
            return _filled(
                {**self.inputs(rows, views[rows], keys), "rows": rows, "tokens": tokens},
                self.batch_size,
            )

        return prefetch(batch, range(first, len(self)))


def evaluation_batches(
    inputs: Inputs, rows: int, batch_size: int, tokens: np.ndarray | None = None
) -> Iterator[Batch]:
    """Yields all rows in order, once, in the plain view; "real" [B] tells photos from filling."""

    def batch(place: int) -> Batch:
        chosen = np.arange(place * batch_size, min(rows, (place + 1) * batch_size))
        out = inputs(chosen, np.zeros(len(chosen), int), [(0, 0, 0)] * len(chosen))
        # Photos without captions still need an (empty) array of them for the padding to be told.
        out["tokens"] = (
            tokens[chosen] if tokens is not None else np.ones((len(chosen), 1, 2), np.int32)
        )
        return _filled(out, batch_size)

    return prefetch(batch, range(steps_per_epoch(rows, batch_size)))


def cached_inputs(cache: np.ndarray) -> Inputs:
    """Inputs from a feature cache [N, views, L, D] (see `data.features`)."""
    return lambda rows, views, keys: {"features": features.gather(cache, rows, views)}


def photo_inputs(
    split: Split, *, size: int, augment: Callable | None, pool: ThreadPoolExecutor
) -> Inputs:
    """Inputs from photos, decoded in the pool's threads.

    Args:
      split: the photos.
      size: S, pixels a side.
      augment: (photo uint8 [H, W, 3], numpy generator) -> uint8 [S, S, 3]; None for the plain view.
      pool: threads.
    """

    def plain(row: int) -> np.ndarray:
        return images.plain_view(split.photo(row), split.ids[row], size=size)

    if len(split) * size * size * 3 <= KEPT_BYTES:
        plain = functools.cache(plain)

    def varied(row: int, key: tuple[int, ...]) -> np.ndarray:
        return augment(images.decode(split.photo(row), split.ids[row]), np.random.default_rng(key))

    def inputs(rows: np.ndarray, views: np.ndarray, keys: Sequence[tuple[int, ...]]) -> Batch:
        made = (
            pool.map(plain, rows.tolist())
            if augment is None
            else pool.map(varied, rows.tolist(), keys)
        )
        return {"images": np.stack(list(made))}

    return inputs


def _filled(batch: Batch, size: int) -> Batch:
    """Fills a short batch up with its first photo and padded captions, so that every step has one
    shape.
    """
    missing = size - len(batch["tokens"])
    if not missing:
        return batch
    filled = {
        name: np.concatenate([array, array[:1].repeat(missing, 0)]) for name, array in batch.items()
    }
    filled["tokens"][size - missing :] = PAD
    return filled
