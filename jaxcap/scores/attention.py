"""The health of the attention: how sharp it is, whether it moves, whether it stays in the middle.

One caption's attention is an array [T, L]: for each of its T words (<end> is none) the weights over
the L regions of a grid, row by row, with which that word was written. They sum to 1.
"""

from collections.abc import Sequence

import numpy as np

NAMES = ("entropy", "change", "centre_bias")


def entropy(attention: np.ndarray) -> np.ndarray:
    """Computes how spread each map is: 0 for a single region, 1 for even attention.

    Args:
      attention: maps over the regions. [..., L]

    Returns:
      The entropy over its maximum, log L; nan for a single region. [...]
    """
    # 0 log 0 is 0.
    logarithms = np.log(attention, out=np.zeros(attention.shape), where=attention > 0)
    with np.errstate(invalid="ignore"):
        return -(attention * logarithms).sum(-1) / np.log(attention.shape[-1])


def change(attention: np.ndarray) -> np.ndarray:
    """Computes the part of the attention that moves from each word to the next.

    Args:
      attention: the maps of T words. [..., T, L]

    Returns:
      The total variation distance of neighbouring maps, in 0 .. 1. [..., T - 1]
    """
    return np.abs(np.diff(attention, axis=-2)).sum(-1) / 2


def center_bias(attention: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Computes how much nearer to the photo's centre the attention lies than even attention does.

    Args:
      attention: maps over the regions. [..., L]
      grid: rows and columns of regions.

    Returns:
      1 when all of it is on the centre, 0 for even attention, below 0 when it keeps to the border;
      nan for a grid of a single region. [...]
    """
    distance = distance_from_center(grid)  # [L]
    with np.errstate(invalid="ignore"):
        return 1 - (attention @ distance) / distance.mean()


def distance_from_center(grid: tuple[int, int]) -> np.ndarray:
    """Returns each region's distance from the photo's centre; the photo has sides of 1. [L]"""
    rows, columns = ((np.arange(cells) + 0.5) / cells - 0.5 for cells in grid)
    return np.hypot(rows[:, None], columns).ravel()


def statistics(attentions: Sequence[np.ndarray], grid: tuple[int, int]) -> np.ndarray:
    """Sums the three measures over the words of each caption.

    Args:
      attentions: one array [T, L] for each of N captions.
      grid: rows and columns of regions.

    Returns:
      The sums of entropy, change and centre bias, then over how many words each: rows for
      `from_statistics`. [N, 6]
    """
    rows = []
    for attention in attentions:
        attention = np.asarray(attention, np.float64)  # [T, L]
        measures = (entropy(attention), change(attention), center_bias(attention, grid))
        sums = [values.sum() for values in measures]
        words = [values.size for values in measures]  # change has one word less
        rows.append(sums + words)
    return np.array(rows, np.float64).reshape(-1, 2 * len(NAMES))


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes means over words from summed statistics.

    Args:
      total: K sums, then over how many words each. [..., 2 K]

    Returns:
      The means; NaN where there is no word. [..., K]
    """
    sums, words = np.split(total, 2, axis=-1)
    return np.divide(sums, words, out=np.full(sums.shape, np.nan), where=words > 0)
