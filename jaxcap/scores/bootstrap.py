"""Confidence intervals by resampling images (Efron 1979; Koehn 2004 for text metrics)."""

from collections.abc import Callable

import numpy as np


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
    images = len(statistics)
    # How often each image is drawn is all that a sum needs to know of a resample.
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(images, np.full(images, 1 / images), size=resamples)  # [R, N]
    scores = score(counts @ statistics)  # [R, K]
    low, high = np.quantile(scores, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
