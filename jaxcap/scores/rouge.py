"""ROUGE-L as coco-caption computes it (Lin 2004, https://aclanthology.org/W04-1013), beta 1.2."""

from collections.abc import Sequence

import numpy as np

NAMES = ("ROUGE-L",)
_BETA = 1.2


def statistics(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> np.ndarray:
    """Scores each image: the F-measure of the best precision and the best recall that any reference
    gives.

    Args:
      hypotheses: the words of one caption for each of N images.
      references: the words of at least one reference for each image.

    Returns:
      The image's score and 1, so that sums over images give sum and count. [N, 2]
    """
    scores = [_image(words, texts) for words, texts in zip(hypotheses, references, strict=True)]
    return np.stack([np.array(scores, np.float64), np.ones(len(scores))], axis=1)


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes the mean score of images from summed statistics: [..., 2] to [..., 1]."""
    return total[..., :1] / total[..., 1:]


def _image(words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    common = [_longest_common(words, reference) for reference in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(words)
    recall = max(
        length / max(len(reference), 1)
        for length, reference in zip(common, references, strict=True)
    )
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence, by dynamic programming over one row."""
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]
