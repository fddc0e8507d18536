"""Evaluations of several seeds as one group: means, intervals, and differences to the first group.

The statistics are those of `scores.hierarchical`; the images are read from each images.jsonl.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxcap.errors import UserError
from jaxcap.evaluation import scoring
from jaxcap.evaluation.entries import IMAGES, read_statistics
from jaxcap.io import plain
from jaxcap.scores import hierarchical
from jaxcap.scores.hierarchical import Difference
from jaxcap.scores.intervals import Estimate

_METRIC_OF = {}  # score -> the metric whose statistics make it
for _key, _metric in scoring.METRICS.items():
    # Of METEOR, not every evaluation has the statistics.
    if _key != "METEOR":
        _METRIC_OF.update(dict.fromkeys(_metric.NAMES, _key))
NAMES = tuple(_METRIC_OF)
METHOD = (
    f"Intervals ({scoring.LEVEL:.0%}) and p: a bootstrap of {hierarchical.RESAMPLES:,} resamples "
    "over seeds and photos together, the same photos for all; p two-sided, corrected by Holm for "
    "the number of differences. With few seeds the intervals are too narrow, and those of one seed "
    "know photos alone."
)


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """What a group scores.

    Attributes:
      each: the score of each seed.
      mean: of the seeds.
      difference: the mean minus the first group's; None for the first, and where the images are
        not the same.
      corrected_p: `difference.p` corrected for the number of differences.
    """

    each: tuple[float, ...]
    mean: Estimate
    difference: Difference | None = None
    corrected_p: float | None = None


def estimate_groups(groups: Sequence[Sequence[Path]], name: str) -> list[GroupScore]:
    """Estimates a score of each group, and its difference to the first.

    Args:
      groups: of each group, the folders of its evaluations, one a seed.
      name: of the score, one of `NAMES`.

    Raises:
      UserError: a file is damaged, or the evaluations of a group hold different images.
    """
    score = _find_score(name)
    arrays = []
    images = []
    for group in groups:
        of_images, array = _read_group(group, name)
        images.append(of_images)
        arrays.append(array)
    # Groups of the first one's images share its resamples; the others stand alone.
    comparable = [of_images == images[0] for of_images in images]
    together = list(itertools.compress(arrays, comparable))
    means, differences = hierarchical.estimate_means(together, score, level=scoring.LEVEL)
    corrected = hierarchical.holm([difference.p for difference in differences])
    shared_means = iter(means)
    shared_differences = iter([(None, None), *zip(differences, corrected, strict=True)])
    rows = []
    for array, same in zip(arrays, comparable, strict=True):
        each = tuple(score(array.sum(1)).tolist())
        if same:
            difference, p = next(shared_differences)
            row = GroupScore(
                each=each, mean=next(shared_means), difference=difference, corrected_p=p
            )
        else:
            (mean,), _ = hierarchical.estimate_means([array], score, level=scoring.LEVEL)
            row = GroupScore(each=each, mean=mean)
        rows.append(row)
    return rows


def format_p(p: float | None) -> str:
    """Returns a p as a table shows it."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _find_score(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function from summed statistics [..., S] to a score [...]."""
    metric = scoring.METRICS[_METRIC_OF[name]]
    index = metric.NAMES.index(name)
    return lambda total: metric.from_statistics(total)[..., index]


def _read_group(group: Sequence[Path], name: str) -> tuple[list[str], np.ndarray]:
    """Returns the images of a group in order, and its statistics of a score. [seeds, N, S]"""
    read = [read_statistics(folder) for folder in group]
    images = sorted(read[0])
    seeds = []
    for folder, statistics in zip(group, read, strict=True):
        if sorted(statistics) != images:
            raise UserError(
                f"{plain.line(group[0] / IMAGES)} and {plain.line(folder / IMAGES)} should hold "
                "the same images and do not: evaluate both runs again"
            )
        seeds.append([statistics[image][_METRIC_OF[name]] for image in images])
    return images, np.array(seeds, np.float64)
