"""ROUGE-L as coco-caption computes it (Lin 2004, https://aclanthology.org/W04-1013), beta 1.2."""

from collections.abc import Sequence

import numpy as np

NAMES = ("ROUGE-L",)
_BETA = 1.2


def statistics(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> np.ndarray:
    """Scores each image: the F-measure of the best precision and the best recall.

    Best are those that any reference gives; they may come from two references.

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
    """Returns the score of one image."""
    precision = 0.0
    recall = 0.0
    for reference in references:
        common = _longest_common(words, reference)
        if common:
            precision = max(precision, common / len(words))
            recall = max(recall, common / len(reference))
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence, by dynamic programming over one row."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0  # the value of the row before, one place to the left
        for j, other in enumerate(second, start=1):
            above = row[j]
            row[j] = diagonal + 1 if word == other else max(above, row[j - 1])
            diagonal = above
    return row[-1]
