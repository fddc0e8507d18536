"""Scored runs set beside the first of them: differences with their intervals, and what differs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxcap.errors import UserError
from jaxcap.evaluation import scoring
from jaxcap.evaluation.entries import IMAGES, SCORES, Entry, read_statistics
from jaxcap.evaluation.result import Result
from jaxcap.experiment import config as configs
from jaxcap.io import plain
from jaxcap.scores import bootstrap
from jaxcap.scores.intervals import Estimate


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An entry beside the first one.

    Attributes:
      run: the workdir, as typed.
      evaluation: its folder; None where the run has not been scored.
      val_loss: of the checkpoint, in nats per word.
      vocabulary_size: words of the vocabulary.
      same_vocabulary: it is that of the first entry.
      signature: of the scores.
      scores: by name; None where the run has not been scored.
      config: one line for each key that differs from the first entry's.
      signature_differs: one line for each field that differs from the first entry's.
      differences: score -> this entry minus the first; None where the images or their references
        are not the same.
    """

    run: str
    evaluation: str | None
    val_loss: float | None
    vocabulary_size: int
    same_vocabulary: bool
    signature: str | None
    scores: dict[str, Estimate] | None
    config: list[str]
    signature_differs: list[str]
    differences: dict[str, Estimate] | None


def compare_entries(first: Entry, entry: Entry) -> Comparison:
    """Sets an entry beside the first one."""
    signature_differs = []
    differences = None
    if first.result and entry.result and entry is not first:
        signature_differs = _signature_differences(first.result, entry.result)
        if _scores_same_images(first.result, entry.result):
            assert first.folder and entry.folder  # as where there is a result
            differences = _score_differences(first.folder, entry.folder)
    return Comparison(
        run=plain.name(entry.run),
        evaluation=plain.name(entry.folder) if entry.folder else None,
        val_loss=entry.val_loss,
        vocabulary_size=entry.vocabulary_size,
        same_vocabulary=entry.vocabulary == first.vocabulary,
        signature=entry.result.signature if entry.result else None,
        scores=entry.result.scores if entry.result else None,
        config=configs.differences(first.config, entry.config),
        signature_differs=signature_differs,
        differences=differences,
    )


def _scores_same_images(first: Result, other: Result) -> bool:
    same_ids = first.data.ids == other.data.ids
    return same_ids and first.data.captions == other.data.captions


def _signature_differences(first: Result, other: Result) -> list[str]:
    """Returns one line for each field in which two signatures differ."""
    before = dict(field.split(":", 1) for field in first.signature.split("|"))
    after = dict(field.split(":", 1) for field in other.signature.split("|"))
    lines = []
    for key in after | before:
        if before.get(key) != after.get(key):
            lines.append(f"{key}: {before.get(key)} -> {after.get(key)}")
    return lines


def _score_differences(first: Path, other: Path) -> dict[str, Estimate]:
    """Computes the scores of `other` minus those of `first`, with paired bootstrap intervals."""
    before = read_statistics(first)
    after = read_statistics(other)
    if before.keys() != after.keys():
        raise UserError(
            f"{plain.line(first / IMAGES)} and {plain.line(other / IMAGES)} "
            "should hold the same images and do not: evaluate both runs again"
        )
    differences = {}
    for name, metric in SCORES.items():
        # Both runs' rows of an image side by side, so that the bootstrap draws them together.
        rows = [before[image][metric] + after[image][metric] for image in before]
        paired = np.array(rows, np.float64)  # [N, 2 S]
        subtract = _subtract_scores(name)
        low, high = bootstrap.interval(paired, subtract, level=scoring.LEVEL)
        value = subtract(paired.sum(0))
        differences[name] = Estimate(float(value[0]), float(low[0]), float(high[0]))
    return differences


def _subtract_scores(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function that subtracts the first of two runs' scores from the second's.

    It takes both runs' summed statistics side by side, [..., 2 S], to the difference, [..., 1].
    """
    metric = scoring.METRICS[SCORES[name]]
    index = metric.NAMES.index(name)

    def subtract(total: np.ndarray) -> np.ndarray:
        first, other = np.split(total, 2, axis=-1)
        difference = metric.from_statistics(other) - metric.from_statistics(first)
        return difference[..., [index]]

    return subtract
