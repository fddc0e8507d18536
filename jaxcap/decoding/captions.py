"""What a run shows of itself: captions beside their references, attention pictures, and the check
of the scenes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcap.data.split import Split
from jaxcap.decoding import Hypotheses
from jaxcap.figures.attention import sample_sheet
from jaxcap.inputs import batches, images
from jaxcap.scores import grounding
from jaxcap.text import END, Vocabulary


class Caption(NamedTuple):
    """One photo's caption.

    Attributes:
      words: T of them; <end> is none.
      attention: [T, L], where the decoder looked when it wrote each word.
      probabilities: [T], each word's under the decoder, given the words before it.
      log_prob: of the whole sentence, <end> counted.
    """

    words: list[str]
    attention: np.ndarray
    probabilities: np.ndarray
    log_prob: float


def write_captions(
    caption: Callable,
    params: Any,
    inputs: batches.Inputs,
    rows: int,
    batch_size: int,
    vocabulary: Vocabulary,
) -> list[Caption]:
    """Captions the first `rows` photos of some inputs.

    Args:
      caption: compiled (params, batch) -> `search.Hypotheses`.
      params: the captioner's.
      inputs: of the split.
      rows: how many photos.
      batch_size: photos a call.
      vocabulary: turns tokens into words.

    Returns:
      One caption a photo, in order.
    """
    return list(captions_one_by_one(caption, params, inputs, rows, batch_size, vocabulary))


def captions_one_by_one(
    caption: Callable,
    params: Any,
    inputs: batches.Inputs,
    rows: int,
    batch_size: int,
    vocabulary: Vocabulary,
) -> Iterator[Caption]:
    """Yields what `write_captions` returns, a batch at a time, so that progress can be shown."""
    written = 0
    for batch in batches.evaluation_batches(inputs, rows, batch_size):
        batch.pop("tokens")
        found = read(caption(params, batch), vocabulary)
        yield from found[: rows - written]
        written += len(found)


def read(found: Hypotheses, vocabulary: Vocabulary) -> list[Caption]:
    """Turns the hypotheses of a batch into words, each with its attention and probability."""
    captions = []
    for tokens, attention, log_probs in zip(
        *map(np.asarray, (found.tokens, found.attention, found.word_log_probs)), strict=True
    ):
        words = [vocabulary.words[token] for token in _sentence(tokens)]
        probabilities = np.exp(log_probs[: len(words)])
        captions.append(
            Caption(words, attention[: len(words)], probabilities, float(log_probs.sum()))
        )
    return captions


def _sentence(tokens: np.ndarray) -> list[int]:
    """Returns the tokens before <end>, <unk> among them, so that each word keeps its own
    attention.
    """
    tokens = tokens[tokens > 0].tolist()
    return tokens[: tokens.index(END)] if END in tokens else tokens


def sheet(split: Split, captions: Sequence[Caption], size: int):
    """Draws captioned photos as the encoder saw them, with attention and references, as one PIL
    image.
    """
    return sample_sheet(
        [
            (photo(split, row, size), caption.words, caption.attention, split.captions[row])
            for row, caption in enumerate(captions)
        ]
    )


def photo(split: Split, row: int, size: int) -> np.ndarray:
    """Returns a photo as the encoder sees it, uint8 [S, S, 3]."""
    return images.plain_view(split.photo(row), split.ids[row], size=size)


class SceneCheck(NamedTuple):
    """How well captions name the objects of rendered scenes: right of total, and attention in
    multiples of chance.

    The gain is NaN where no caption names a shape that is there.
    """

    right: int
    total: int
    gain: float


def check_scenes(split: Split, captions: Sequence[Caption]) -> SceneCheck:
    """Compares captions with the objects that the scenes are known to hold."""
    right = total = 0
    gains: list[float] = []
    for row, caption in enumerate(captions):
        objects = split.objects(row)
        named, present = grounding.correct(caption.words, objects)
        right, total = right + named, total + present
        side = round(caption.attention.shape[-1] ** 0.5)
        gains += grounding.attention_gain(caption.attention, caption.words, objects, (side, side))
    return SceneCheck(right, total, float(np.mean(gains)) if gains else float("nan"))
