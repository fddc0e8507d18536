"""Scores with their intervals: what a table shows of a score."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxcap.scores import bootstrap


@dataclass(frozen=True)
class Estimate:
    """A score over all images, and the interval of the bootstrap; NaN where there is no score.

    Attributes:
      value: of all images.
      low: the interval's lower end.
      high: the interval's upper end.
    """

    value: float
    low: float
    high: float


def estimate_scores(
    names: Sequence[str],
    statistics: np.ndarray,
    from_statistics: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Computes scores of all images and their bootstrap intervals.

    Args:
      names: of the K scores.
      statistics: one row an image. [N, S]
      from_statistics: takes summed rows [..., S] to scores [..., K].
      resamples: bootstrap samples of the images.
      level: of the intervals.
      seed: of the bootstrap.

    Returns:
      The estimates by name.
    """
    values = from_statistics(statistics.sum(0))  # [K]
    lows, highs = bootstrap.interval(
        statistics, from_statistics, resamples=resamples, level=level, seed=seed
    )
    return {
        name: Estimate(float(value), float(low), float(high))
        for name, value, low, high in zip(names, values, lows, highs, strict=True)
    }
