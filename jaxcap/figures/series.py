"""The losses of a run as curves: points, their means, and the lowest validation."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def read_series(metrics: Sequence[Mapping[str, Any]], split: str, name: str) -> np.ndarray:
    """Returns the points of a curve.

    Args:
      metrics: records with "split" ("train" or "val"), "epoch" (epochs done, with fractions) and
        numbers by name; null stands for a number that does not exist.
      split: whose records count.
      name: of the number.

    Returns:
      (epoch, number) of the records that have the number. [N, 2]
    """
    records = [record for record in metrics if record.get("split") == split]
    points = [(record["epoch"], record[name]) for record in records if record.get(name) is not None]
    return np.array(points, np.float64).reshape(-1, 2)


def read_losses(metrics: Sequence[Mapping[str, Any]], split: str) -> np.ndarray:
    """Returns the curve of the loss in nats per word. [N, 2]

    Of a run whose loss is averaged over positions, this is not the number that it minimizes.
    """
    per_word = read_series(metrics, split, "word_loss")
    return per_word if len(per_word) else read_series(metrics, split, "loss")


def mean_points(series: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Returns the mean point of each bin.

    Args:
      series: points of a curve. [N, 2]
      bins: the number of each point's bin. [N]

    Returns:
      The means in the order of the bins' numbers. [bins, 2]
    """
    means = [series[bins == number].mean(0) for number in np.unique(bins)]
    return np.array(means, np.float64).reshape(-1, 2)


def mean_quarters(series: np.ndarray) -> np.ndarray:
    """Returns the mean point of each quarter of an epoch. [quarters, 2]"""
    return mean_points(series, np.ceil(series[:, 0] * 4))


def drop_start(quarters: np.ndarray) -> np.ndarray:
    """Drops the means of the first epoch, or of the first half of a run shorter than two epochs.

    There the loss falls from the log of the vocabulary's size: on one scale with it, all that comes
    later would look flat.
    """
    end = quarters[-1:, 0].max(initial=0)
    return quarters[quarters[:, 0] >= min(1, end / 2)]


def find_lowest(validation: np.ndarray) -> tuple[float, float]:
    """Returns (epoch, loss) of the lowest of at least one validation."""
    epoch, loss = validation[validation[:, 1].argmin()]
    return float(epoch), float(loss)
