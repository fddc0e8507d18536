"""The evaluations that are compared, read from what jaxcap.evaluate has written."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.evaluation import result as results
from jaxcap.evaluation.result import Result
from jaxcap.experiment import config as configs
from jaxcap.experiment import workdir
from jaxcap.io import plain
from jaxcap.training import history

SCORES = {  # the scores that are compared, and the metric whose statistics make them
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


def expand_replicas(path: Path) -> list[Path]:
    """Returns the runs that a folder stands for: its seed_K folders, in order, or itself.

    A run of one seed stands for itself, whatever else lies in it.
    """
    is_single = os.path.isfile(path / "scores.json")
    if os.path.isfile(path / workdir.CONFIG):
        is_single = workdir.load_config(path).train.replicas == 1
    runs = {}
    for child in path.glob("seed_*"):
        number = child.name.removeprefix("seed_")
        if number.isdecimal() and ((child / workdir.CONFIG).is_file() or _is_scored(child)):
            runs[int(number)] = child
    if is_single or not runs:
        return [path]
    return [runs[number] for number in sorted(runs)]


def read_statistics(folder: Path) -> Statistics:
    """Reads what each image adds to each score.

    Raises:
      UserError: the file is not there or damaged, or one of its numbers is not finite.
    """
    file = folder / IMAGES
    statistics = {}
    try:
        # Not splitlines, which also splits where JSON does not: at U+2028 in an image's name.
        for line in file.read_text(encoding="utf-8").split("\n"):
            if line:
                image = json.loads(line)
                statistics[image["image"]] = image["statistics"]
        metrics = {metric for of_image in statistics.values() for metric in of_image}
        for metric in metrics.union(SCORES.values()):
            rows = np.array([of_image[metric] for of_image in statistics.values()], np.float64)
            if not np.isfinite(rows).all():
                raise ValueError(f"a number of {metric} is none")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(file, error) from error
    return statistics


def _is_scored(path: Path) -> bool:
    return any(path.glob("evaluation/*/scores.json"))


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
    # A KeyError is a key that is not there.
    reason = f"no {error}" if isinstance(error, KeyError) else error
    return UserError(f"{plain.line(file)} cannot be read ({reason}): evaluate that run again")
