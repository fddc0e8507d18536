"""Corpus BLEU-1 to BLEU-4 as coco-caption computes it.

Papineni et al. 2002, https://aclanthology.org/P02-1040.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxcap.scores.ngrams import Ngram, ngram_counts

NAMES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")
_LONGEST = len(NAMES)
# coco-caption's guards against 0 / 0: a BLEU without a match is not exactly 0.
_TINY = 1e-15
_SMALL = 1e-9


def statistics(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> np.ndarray:
    """Counts, for each image, what corpus BLEU is made of.

    Args:
      hypotheses: the words of one caption for each of N images.
      references: the words of at least one reference for each image.

    Returns:
      Words of the caption, words of the reference of the closest length (the shorter of two),
      matched n-grams and n-grams of the caption for n = 1 .. 4; their sum over any images gives
      those images' score. [N, 10]
    """
    rows = [_image(words, texts) for words, texts in zip(hypotheses, references, strict=True)]
    return np.array(rows, np.float64).reshape(-1, 2 + 2 * _LONGEST)


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes corpus BLEU from summed statistics.

    Args:
      total: sums of the rows of `statistics` over images. [..., 10]

    Returns:
      BLEU-1 .. BLEU-4 in 0 .. 1. [..., 4]
    """
    length = total[..., :1]
    closest = total[..., 1:2]
    matched, possible = np.split(total[..., 2:], 2, axis=-1)  # [..., 4] each
    # BLEU-n is the geometric mean of the first n precisions.
    products = np.cumprod((matched + _TINY) / (possible + _SMALL), axis=-1)
    precision = products ** (1 / np.arange(1, _LONGEST + 1))
    ratio = (length + _TINY) / (closest + _SMALL)
    brevity_penalty = np.exp(np.minimum(0, 1 - 1 / ratio))
    return precision * brevity_penalty


def _image(words: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
    """Returns one row of `statistics`."""
    counts = ngram_counts(words, _LONGEST)
    length = counts[0].total()
    # The most that any one reference has of each n-gram: a match counts no more often.
    limits: list[Counter[Ngram]] = [Counter() for _ in counts]
    lengths = []
    for reference in references:
        reference_counts = ngram_counts(reference, _LONGEST)
        lengths.append(reference_counts[0].total())
        limits = [most | count for most, count in zip(limits, reference_counts, strict=True)]
    closest = min(lengths, key=lambda other: (abs(other - length), other))
    matched = [(count & most).total() for count, most in zip(counts, limits, strict=True)]
    possible = [count.total() for count in counts]
    return [length, closest, *matched, *possible]
