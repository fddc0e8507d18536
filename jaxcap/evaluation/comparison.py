"""Scored runs side by side: their evaluations read, and set beside the first of them."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.evaluation import result as results
from jaxcap.evaluation import scoring
from jaxcap.evaluation.result import Result
from jaxcap.experiment import config as configs
from jaxcap.experiment import workdir
from jaxcap.io import plain
from jaxcap.scores import bootstrap
from jaxcap.scores.intervals import Estimate
from jaxcap.training import history

SCORES = {  # the scores that are shown, and the metric whose statistics make them
    "BLEU-4": "BLEU",
    "CIDEr-D": "CIDEr-D",
}
IMAGES = "images.jsonl"

Statistics = dict[str, dict[str, list[float]]]  # image -> metric -> what it adds to the metric


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the table: a run, and one of its evaluations.

    Attributes:
      run: the workdir, as typed.
      folder: of the evaluation; None where the run has not been scored.
      result: what scores.json holds; None where the run has not been scored.
      config: of the run.
      val_loss: of the checkpoint, in nats per word; None before the first validation.
      vocabulary_size: words of the vocabulary.
      vocabulary: its fingerprint.
    """

    run: str
    folder: Path | None = None
    result: Result | None = None
    config: ConfigDict
    val_loss: float | None
    vocabulary_size: int
    vocabulary: str


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


def read_entries(path: Path, split: str, beam: int | None) -> list[Entry]:
    """Reads the evaluations that are asked for.

    Args:
      path: a workdir, whose evaluations of `split` and `beam` are read, or one evaluation.
      split: val or test.
      beam: None for any.

    Returns:
      The evaluations; for a run without any, one entry without scores.

    Raises:
      UserError: `path` is neither a run nor an evaluation, or a file is damaged.
    """
    if os.path.isfile(path / "scores.json"):
        result = _read_result(path)
        return [_make_entry(result.run.workdir, path, result)]
    entries = []
    for file in sorted(path.glob("evaluation/*/scores.json")):
        result = _read_result(file.parent)
        if result.data.split == split and beam in (None, result.search.beam):
            entries.append(_make_entry(str(path), file.parent, result))
    return entries or [_read_unscored(path)]


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


def _read_result(folder: Path) -> Result:
    """Reads the scores of an evaluation."""
    file = folder / "scores.json"
    try:
        result = results.from_json(file.read_text(encoding="utf-8"))
        for name in SCORES:
            if name not in result.scores:
                raise ValueError(f"no 'scores.{name}'")
        return result
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error


def _make_entry(run: str, folder: Path, result: Result) -> Entry:
    """Returns an evaluation's entry, from which the run itself need not be read."""
    return Entry(
        run=run,
        folder=folder,
        result=result,
        config=configs.from_json(json.dumps(result.run.config)),
        val_loss=result.run.val_loss,
        vocabulary_size=result.run.vocabulary_size,
        vocabulary=result.run.vocabulary,
    )


def _read_unscored(path: Path) -> Entry:
    """Reads what is compared of a run without an evaluation."""
    config = workdir.load_config(path)
    vocabulary = workdir.load_vocabulary(path)
    return Entry(
        run=str(path),
        config=config,
        val_loss=history.validation_loss(path / history.METRICS, config.train.select),
        vocabulary_size=len(vocabulary),
        vocabulary=vocabulary.fingerprint,
    )


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = f"no {error}" if isinstance(error, KeyError) else error
    return UserError(f"{plain.line(file)} cannot be read ({reason}): evaluate that run again")


def _scores_same_images(first: Result, other: Result) -> bool:
    same_ids = first.data.ids == other.data.ids
    return same_ids and first.data.captions == other.data.captions


def _signature_differences(first: Result, other: Result) -> list[str]:
    """Returns one line for each field in which two signatures differ."""
    before = dict(field.split(":", 1) for field in first.signature.split("|"))
    after = dict(field.split(":", 1) for field in other.signature.split("|"))
    before["captions"] = first.data.captions
    after["captions"] = other.data.captions
    lines = []
    for key, value in after.items():
        if before.get(key) != value:
            lines.append(f"{key}: {before.get(key)} -> {value}")
    return lines


def _score_differences(first: Path, other: Path) -> dict[str, Estimate]:
    """Computes the scores of `other` minus those of `first`, with paired bootstrap intervals."""
    before = _read_statistics(first)
    after = _read_statistics(other)
    if before.keys() != after.keys():
        raise UserError(
            f"{plain.line(first / IMAGES)} and {plain.line(other / IMAGES)} "
            "should hold the same images and do not: evaluate both runs again"
        )
    differences = {}
    for name, metric in SCORES.items():
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


def _read_statistics(folder: Path) -> Statistics:
    """Reads what each image adds to each score."""
    file = folder / IMAGES
    statistics = {}
    try:
        # Not splitlines, which also splits where JSON does not: at U+2028 in an image's name.
        for line in file.read_text(encoding="utf-8").split("\n"):
            if line:
                image = json.loads(line)
                statistics[image["image"]] = image["statistics"]
        for metric in SCORES.values():
            rows = np.array([of_image[metric] for of_image in statistics.values()], np.float64)
            if not np.isfinite(rows).all():
                raise ValueError(f"a number of {metric} is none")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(file, error) from error
    return statistics
