"""Everything measured is {name: (sum, count)}: added up anywhere, divided once."""

from collections.abc import Iterable, Mapping
from typing import Any

Sums = dict[str, tuple[float, float]]


def read_metrics(metrics: Mapping[str, tuple[Any, Any]]) -> Sums:
    """Reads a step's pairs back from the device, which waits for the step."""
    sums = {}
    for name, (total, count) in metrics.items():
        sums[name] = (float(total), float(count))
    return sums


def add_metrics(sums: Iterable[Mapping[str, tuple[float, float]]]) -> Sums:
    """Adds up pairs by name."""
    added: Sums = {}
    for one in sums:
        for name, (total, count) in one.items():
            before = added.get(name, (0.0, 0.0))
            added[name] = (before[0] + total, before[1] + count)
    return added


def compute_means(sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Divides each sum by its count, or by 1 where nothing was counted."""
    return {name: total / max(count, 1.0) for name, (total, count) in sums.items()}
