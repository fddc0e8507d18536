"""Gathering: from a plan's rows to batches of features or photos, with their captions."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcap.data.split import Split
from jaxcap.inputs import features, images
from jaxcap.inputs.noise import Noise
from jaxcap.inputs.plan import Plan, count_steps, plan_evaluation, plan_pairs, plan_training
from jaxcap.inputs.prefetch import prefetch
from jaxcap.text import PAD, Vocabulary

Batch = dict[str, np.ndarray]
# Reads a batch: (rows [B], views [B], one random key a photo) -> {"features"}, {"grid"} or
# {"images"}.
Inputs = Callable[[np.ndarray, np.ndarray, Sequence[tuple[int, ...]]], Batch]

KEPT_BYTES = 2**29  # a split whose plain views fit into this is decoded once and kept in memory


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
    sentences: Sequence[Sequence[Sequence[str]]],
    vocabulary: Vocabulary,
    section: Mapping[str, Any],
) -> Captions:
    """Encodes the captions of a split.

    Args:
      sentences: the words of each caption of each photo.
      vocabulary: turns words into tokens.
      section: the config's section `text`, of which max_length (T) and end_mark count here.
    """
    # A caption without a word would teach the captioner to write none.
    spoken = [[words for words in captions if words] for captions in sentences]
    counts = np.array([len(captions) for captions in spoken])
    length = section["max_length"]
    tokens = np.full((len(spoken), counts.max(initial=1), length), PAD, np.int32)
    truncated = 0
    for row, captions in enumerate(spoken):
        tokens[row, : len(captions)], cut = vocabulary.encode_all(
            captions, length, end_mark=section["end_mark"]
        )
        truncated += cut
    return Captions(tokens, counts, truncated)


@dataclass(frozen=True)
class TrainingBatches:
    """The batches of training.

    Attributes:
      inputs: reads features or decodes photos.
      captions: of the training split.
      views: how many views of each photo `inputs` can give.
      batch_size: B over all devices.
      choice: the captions of an epoch: "all" of a photo beside each other ([B, C, T]), one at
        "random" each epoch ([B, 1, T]), or "pairs": all, each beside a photo of its own
        ([B, 1, T], B pairs).
      seed: of the order, of the captions and of the views.
    """

    inputs: Inputs
    captions: Captions
    views: int
    batch_size: int
    choice: str
    seed: int

    def __len__(self) -> int:
        counts = self.captions.counts
        entries = counts.sum() if self.choice == "pairs" else len(counts)
        return count_steps(int(entries), self.batch_size)

    def iterate_epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `first` on, each made while the one before runs.

        A batch holds what `inputs` gives, "tokens" [B, C, T] of as few positions as `shorten`
        leaves, and "rows" [B], which photos these are. The captions of filling are padding, which
        counts nowhere.
        """
        plan = self.plan_epoch(epoch)

        def gather(step: int) -> Batch:
            rows = plan.rows[step]
            keys = [(self.seed, epoch, row) for row in rows.tolist()]
            batch = self.inputs(rows, plan.views[step], keys)
            return {**batch, "rows": rows, "tokens": shorten(self.take_tokens(plan, step))}

        return prefetch(gather, range(first, len(self)))

    def plan_epoch(self, epoch: int) -> Plan:
        """Plans the batches of an epoch."""
        make_plan = plan_pairs if self.choice == "pairs" else plan_training
        return make_plan(self.seed, epoch, self.captions.counts, self.views, self.batch_size)

    def take_tokens(self, plan: Plan, steps: int | slice) -> np.ndarray:
        """Takes the captions of a step [B, C, T], or of several [S, B, C, T]."""
        rows = plan.rows[steps]
        if self.choice == "all":
            tokens = self.captions.tokens[rows]
        else:
            tokens = self.captions.tokens[rows, plan.captions[steps]][..., None, :]
        return np.where(plan.real[steps][..., None, None], tokens, PAD)


def iterate_split(
    inputs: Inputs, images: int, batch_size: int, tokens: np.ndarray | None = None
) -> Iterator[Batch]:
    """Yields the first `images` photos of a split in order, once, in the plain view.

    Args:
      inputs: reads them.
      images: N.
      batch_size: B.
      tokens: [N, C, T], or None for batches without captions.

    Yields:
      What `inputs` gives and, where tokens are given, "tokens" [B, C, T] of as few positions as
      `shorten` leaves, padding where a photo only fills the last batch up.
    """
    plan = plan_evaluation(images, batch_size)

    def gather(step: int) -> Batch:
        rows = plan.rows[step]
        batch = inputs(rows, plan.views[step], [(0, 0, 0)] * len(rows))
        if tokens is not None:
            real = plan.real[step][:, None, None]
            batch["tokens"] = shorten(np.where(real, tokens[rows], PAD))
        return batch

    return prefetch(gather, range(len(plan.rows)))


def shorten(tokens: np.ndarray) -> np.ndarray:
    """Cuts off what is padding in every caption: halves T for as long as all captions fit.

    Padding changes no loss, but costs time. Halves, because each length is compiled by itself.

    Args:
      tokens: [B, C, T].

    Returns:
      tokens: [B, C, T], T at least 2.
    """
    length = tokens.shape[-1]
    while length > 2 and not (tokens[..., -(-length // 2) :] != PAD).any():
        length = -(-length // 2)
        tokens = tokens[..., :length]
    return tokens


def draw_captions(captions: Captions, seed: Sequence[int]) -> np.ndarray:
    """Draws one caption of each photo: tokens [N, 1, T] int32."""
    counts = captions.counts
    drawn = (np.random.default_rng(seed).random(len(counts)) * counts).astype(np.int32)
    return captions.tokens[np.arange(len(counts)), drawn][:, None]


@dataclass(frozen=True)
class CachedInputs:
    """Inputs from a feature cache, see `features.open_cache`.

    Attributes:
      cache: [N, views, L, D] of regions, or of the grids that enter the part of the encoder that
        learns; on disk, or on the devices.
      name: what they are called in a batch, see `Captioner.regions`.
    """

    cache: Any
    name: str = "features"

    def __call__(
        self, rows: np.ndarray, views: np.ndarray, keys: Sequence[tuple[int, ...]]
    ) -> Batch:
        """Reads the features of a batch."""
        del keys  # of random views, which no cache holds
        if isinstance(self.cache, np.ndarray):
            return {self.name: features.gather(self.cache, rows, views)}
        return {self.name: _take_views(self.cache, rows, views)}


@jax.jit
def _take_views(cache: jax.Array, rows: jax.Array, views: jax.Array) -> jax.Array:
    return cache[rows, views]


def read_photos(
    split: Split,
    *,
    size: int,
    augment: Callable | None,
    pool: ThreadPoolExecutor,
    noise: Noise | None = None,
) -> Inputs:
    """Returns inputs from photos, decoded in the pool's threads.

    Args:
      split: the photos.
      size: S, pixels a side.
      augment: (photo uint8 [H, W, 3], numpy generator) -> uint8 [S, S, 3]; None for the plain view.
      pool: threads.
      noise: put on the plain view; None: none.
    """

    def view_plain(row: int) -> np.ndarray:
        data = split.photo(row)
        pixels = images.plain_view(data, split.ids[row], size=size)
        return pixels if noise is None else noise.add(pixels, data)

    def view_random(row: int, key: tuple[int, ...]) -> np.ndarray:
        assert augment is not None
        photo = images.decode(split.photo(row), split.ids[row])
        return augment(photo, np.random.default_rng(key))

    if len(split) * size * size * 3 <= KEPT_BYTES:
        view_plain = functools.cache(view_plain)

    def read(rows: np.ndarray, views: np.ndarray, keys: Sequence[tuple[int, ...]]) -> Batch:
        if augment is None:
            pictures = pool.map(view_plain, rows.tolist())
        else:
            pictures = pool.map(view_random, rows.tolist(), keys)
        return {"images": np.stack(list(pictures))}

    return read
