"""Confidence intervals by resampling images (Efron 1979; Koehn 2004 for text metrics)."""

from collections.abc import Callable, Iterator

import numpy as np

_CHUNK = 1 << 21  # drawn images in memory at a time, over all resamples of a chunk


def interval(
    statistics: np.ndarray,
    score: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the percentile interval of a corpus score over images.

    The method for corpus metrics is that of Koehn 2004 (https://aclanthology.org/W04-3250). For
    the interval of the difference of two runs on the same images, give both runs' statistics side
    by side and a `score` that subtracts.

    Args:
      statistics: one row an image, whose sum over images determines the score. [N, S]
      score: takes summed statistics [..., S] to scores [..., K].
      resamples: how often N images are drawn with replacement.
      level: the part of the resampled scores that lies inside the interval.
      seed: another seed draws other images.

    Returns:
      The lower and the upper ends. [K] each
    """
    rng = np.random.default_rng(seed)
    sums = [counts @ statistics for counts in draw_counts(len(statistics), resamples, rng)]
    scores = score(np.concatenate(sums))  # [R, K]
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def draw_counts(images: int, resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draws resamples of images, a part of them at a time, so that memory does not grow with both.

    Args:
      images: N, drawn with replacement in each resample.
      resamples: R in all.
      rng: draws them.

    Yields:
      How often each image is drawn, which is all that a sum needs to know. float64 [r, N]
    """
    most = max(1, _CHUNK // images)
    for first in range(0, resamples, most):
        size = min(most, resamples - first)
        counts = rng.multinomial(images, np.full(images, 1 / images), size=size)
        yield counts.astype(np.float64)
