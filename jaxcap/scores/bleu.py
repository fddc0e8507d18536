"""Corpus BLEU-1 to BLEU-4 as coco-caption computes it (Papineni et al. 2002,
https://aclanthology.org/P02-1040).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxcap.scores.ngrams import ngram_counts

NAMES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")
_LONGEST = len(NAMES)
_SMALL, _TINY = (
    1e-9,
    1e-15,
)  # coco-caption's guards against 0 / 0; a BLEU without a match is not exactly 0


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


def _image(words: Sequence[str], references: Sequence[Sequence[str]]) -> list[int]:
    counts = ngram_counts(words, _LONGEST)
    allowed = [Counter() for _ in counts]  # the most that any one reference has of each n-gram
    lengths = []
    for reference in references:
        reference_counts = ngram_counts(reference, _LONGEST)
        lengths.append(reference_counts[0].total())
        allowed = [most | count for most, count in zip(allowed, reference_counts, strict=True)]
    length = counts[0].total()
    closest = min(
        lengths, key=lambda reference_length: (abs(reference_length - length), reference_length)
    )
    matched = [(count & most).total() for count, most in zip(counts, allowed, strict=True)]
    return [length, closest, *matched, *(count.total() for count in counts)]


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes corpus BLEU from summed statistics.

    Args:
      total: sums of the rows of `statistics` over images. [..., 10]

    Returns:
      BLEU-1 .. BLEU-4 in 0 .. 1. [..., 4]
    """
    length, closest = total[..., :1], total[..., 1:2]
    matched, possible = np.split(total[..., 2:], 2, axis=-1)  # [..., 4] each
    precision = np.cumprod((matched + _TINY) / (possible + _SMALL), axis=-1) ** (
        1 / np.arange(1, _LONGEST + 1)
    )
    ratio = (length + _TINY) / (closest + _SMALL)
    return precision * np.exp(np.minimum(0, 1 - 1 / ratio))
