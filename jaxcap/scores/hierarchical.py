"""Means over seeds with intervals over seeds and images together, and differences between arms.

A score that is printed for one seed says nothing of the next one (Bouthillier et al. 2021,
https://arxiv.org/abs/2103.03098), and seeds and images are crossed: every seed captions the same
images. Each resample therefore draws images with replacement, the same for every seed and every
arm, and, apart from them, as many seeds of each arm as there are: the pigeonhole bootstrap (Owen
2007, https://arxiv.org/abs/0712.1111). The score of a resample is the mean over its drawn seeds of
their corpus scores on its drawn images. Intervals are percentiles.

With few seeds the interval is too narrow, for n seeds spread by (n - 1) / n of their true variance
in resamples; with one seed it is an interval over images alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from jaxcap.scores.bootstrap import draw_counts
from jaxcap.scores.intervals import Estimate

RESAMPLES = 10_000

Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Difference(Estimate):
    """An arm's mean minus another's, and whether it may be chance.

    Attributes:
      p: two-sided, of no difference.
    """

    p: float


def estimate_means(
    arms: Sequence[np.ndarray],
    score: Score,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[list[Estimate], list[Difference]]:
    """Estimates each arm's mean over its seeds, and its difference to the first arm.

    Args:
      arms: of each arm, one row of statistics for each seed and image, whose sum over images
        determines a seed's score; all arms have the same images in the same order. [seeds, N, S]
      score: takes summed statistics [..., S] to scores [...].
      level: of the intervals.
      resamples: R.
      seed: of the resampling.

    Returns:
      The means of all arms, and the differences of all arms but the first.
    """
    resampled = resample_means(arms, score, resamples=resamples, seed=seed)  # [A, R]
    means = []
    differences = []
    for arm, statistics in enumerate(arms):
        value = float(score(statistics.sum(1)).mean())
        means.append(Estimate(value, *_find_interval(resampled[arm], level)))
        if arm:
            drawn = resampled[arm] - resampled[0]
            low, high = _find_interval(drawn, level)
            differences.append(Difference(value - means[0].value, low, high, p_value(drawn)))
    return means, differences


def resample_means(
    arms: Sequence[np.ndarray], score: Score, *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Draws the mean score of each arm in resamples of images and seeds.

    Args:
      arms: see `estimate_means`.
      score: the same.
      resamples: R.
      seed: of the resampling.

    Returns:
      The means; in one resample all arms have the same images. [A, R]
    """
    images = arms[0].shape[1]
    image_rng = np.random.default_rng(seed)
    # Of each arm its own, so that an arm's seeds do not depend on the arms behind it.
    seed_rngs = [np.random.default_rng((seed, 1 + arm)) for arm in range(len(arms))]
    parts = []
    for counts in draw_counts(images, resamples, image_rng):
        means = []
        for statistics, rng in zip(arms, seed_rngs, strict=True):
            # Every seed's score on the drawn images, then the mean over the drawn seeds.
            scores = np.stack([score(counts @ of_seed) for of_seed in statistics], axis=1)
            drawn = rng.integers(len(statistics), size=scores.shape)  # [R, seeds]
            means.append(np.take_along_axis(scores, drawn, axis=1).mean(1))
        parts.append(np.stack(means))
    return np.concatenate(parts, axis=1)


def p_value(differences: np.ndarray) -> float:
    """Returns the two-sided p of no difference, from resampled differences [R].

    Twice the share of the resamples that lie on the other side of 0, or on it. One is added to both
    counts, so that p is never 0 (Phipson and Smyth 2010, https://arxiv.org/abs/1603.05766).
    """
    beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(differences) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects the p of several tests for their number (Holm 1979).

    Args:
      p_values: of m tests.

    Returns:
      The corrected p in the same order: of the k-th smallest, the largest of (m - i + 1) p_i over
      i <= k, and at most 1. Those below a level hold together at that level.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, test in enumerate(sorted(range(len(p_values)), key=lambda test: p_values[test])):
        largest = max(largest, (len(p_values) - rank) * p_values[test])
        corrected[test] = min(1.0, largest)
    return corrected


def _find_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
