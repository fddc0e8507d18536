"""Captions as words, each with its attention and probability, from what a search returns."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxcap.decoding.rules import Hypotheses
from jaxcap.inputs.batches import Inputs, iterate_split
from jaxcap.text import END, PAD, Vocabulary


class Caption(NamedTuple):
    """One photo's caption.

    Attributes:
      words: T of them, without <end>.
      attention: [T, L], where the decoder attended when it wrote each word.
      probabilities: [T], each word's under the decoder, given the words before it.
      log_prob: of the whole sentence with <end>.
    """

    words: list[str]
    attention: np.ndarray
    probabilities: np.ndarray
    log_prob: float


def write_captions(
    search: Callable,
    params: Any,
    inputs: Inputs,
    images: int,
    batch_size: int,
    vocabulary: Vocabulary,
) -> Iterator[Caption]:
    """Captions the first photos of some inputs, batch by batch.

    Args:
      search: compiled (params, batch) -> `Hypotheses`; its batches also hold "draw" [B], the rows
        of the photos, so that samples depend on the photo's place in the split alone.
      params: the captioner's.
      inputs: of the split.
      images: how many photos.
      batch_size: photos a call.
      vocabulary: turns tokens into words.

    Yields:
      One caption a photo, in order.
    """
    written = 0
    for batch in iterate_split(inputs, images, batch_size):
        batch["draw"] = np.arange(written, written + batch_size, dtype=np.int32)
        captions = read_captions(search(params, batch), vocabulary)
        yield from captions[: images - written]
        written += len(captions)


def read_captions(hypotheses: Hypotheses, vocabulary: Vocabulary) -> list[Caption]:
    """Turns the hypotheses of a batch into words, each with its attention and probability."""
    tokens = np.asarray(hypotheses.tokens)
    attention = np.asarray(hypotheses.attention)
    log_probs = np.asarray(hypotheses.word_log_probs)
    captions = []
    for row in range(len(tokens)):
        words = [vocabulary.words[token] for token in _cut_at_end(tokens[row])]
        length = len(words)
        probabilities = np.exp(log_probs[row, :length])
        log_prob = float(log_probs[row].sum())
        captions.append(Caption(words, attention[row, :length], probabilities, log_prob))
    return captions


def _cut_at_end(tokens: np.ndarray) -> list[int]:
    """Returns the tokens before <end>, with <unk>, so that each word keeps its own attention."""
    written = []
    for token in tokens.tolist():
        if token == END:
            break
        if token != PAD:
            written.append(token)
    return written
