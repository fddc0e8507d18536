"""Lays scored runs side by side: `python -m jaxcap.compare DIR DIR ... [--split val|test] [--beam
K]`.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from jaxcap import errors, flags
from jaxcap.errors import UserError
from jaxcap.evaluation import scoring, tables
from jaxcap.experiment import config as configs
from jaxcap.experiment import workdir
from jaxcap.experiment.ranges import KEYS
from jaxcap.io import plain
from jaxcap.scores import bootstrap
from jaxcap.training import history

DESCRIPTION = """Compare runs by what jaxcap.evaluate wrote: scores with intervals, the validation loss, the keys of the
config that differ, and the difference in BLEU-4 and CIDEr-D to the first run, with a paired bootstrap interval over the
images where both captioned the same ones. Runs that cannot be compared are said to be so.

DIR is a run's folder, or one evaluation: DIR/evaluation/test-beam5, or what evaluate --out named.
An evaluation tells all that is compared, so its run may have moved."""
EXAMPLE = """example, once jaxcap.evaluate has scored both:
  %(prog)s checkpoints/quickstart checkpoints/short --split test"""
SCORES = {
    "BLEU-4": "BLEU",
    "CIDEr-D": "CIDEr-D",
}  # which scores are shown, and the metric whose statistics make them
IMAGES = "images.jsonl"


class Entry(NamedTuple):
    """One line of the table: a run, and one of its evaluations.

    Attributes:
      run: the workdir, as typed.
      folder: of the evaluation, or None where the run has not been scored.
      result: what scores.json holds.
      config: of the run.
      val_loss: of the checkpoint, in nats per word; None before the first validation.
      words: how many the vocabulary holds.
      vocabulary: its fingerprint.
    """

    run: str
    folder: Path | None
    result: Mapping[str, Any] | None
    config: ConfigDict
    val_loss: float | None
    words: int
    vocabulary: str


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    entries = [entry for path in options.runs for entry in read(path, options.split, options.beam)]
    compared = [compare(entries[0], entry) for entry in entries]
    if options.json:
        print(plain.to_json(compared, indent=2, ascii_only=True))
    else:
        print("\n".join(lines(compared, options.split)))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("compare", DESCRIPTION, EXAMPLE)
    parser.add_argument(
        "runs", type=flags.path, nargs="+", metavar="DIR", help="a run or an evaluation"
    )
    parser.add_argument(
        "--split", choices=("val", "test"), default="test", help="whose evaluations are read (test)"
    )
    parser.add_argument(
        "--beam",
        type=flags.within(KEYS["search.beam"]),
        metavar="K",
        help="only evaluations at this beam (all)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser.parse_args(argv)


def read(path: Path, split: str, beam: int | None) -> list[Entry]:
    """Reads the evaluations of a run that are asked for; one entry without scores when there are
    none.

    Raises:
      UserError: `path` is neither a run nor an evaluation, or a file is damaged.
    """
    if os.path.isfile(path / "scores.json"):
        return [_scored(path)]
    scored = [_scored(file.parent) for file in sorted(path.glob("evaluation/*/scores.json"))]
    found = [
        entry._replace(run=str(path)) for entry in scored if _asked_for(entry.result, split, beam)
    ]
    return found or [_not_scored(path)]


def _scored(folder: Path) -> Entry:
    """Reads an evaluation, which tells of its run what is compared."""
    file = folder / "scores.json"
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        about = result["run"]
        _check_whole(result)
        return Entry(
            run=about["workdir"],
            folder=folder,
            result={key: result[key] for key in ("signature", "scores", "data", "search")},
            config=configs.from_json(json.dumps(about["config"])),
            val_loss=about["val_loss"],
            words=about["vocabulary_size"],
            vocabulary=about["vocabulary"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(file, error) from error


def _not_scored(path: Path) -> Entry:
    """Reads what is compared of a run without an evaluation."""
    config, vocabulary = workdir.load_config(path), workdir.load_vocabulary(path)
    return Entry(
        run=str(path),
        folder=None,
        result=None,
        config=config,
        val_loss=history.validation_loss(path / history.METRICS, config.train.select),
        words=len(vocabulary),
        vocabulary=vocabulary.fingerprint,
    )


def _check_whole(result: Mapping[str, Any]) -> None:
    """Raises KeyError where something is not there that is compared."""
    parts = {"data": ("split", "ids", "captions"), "search": ("beam",), "scores": SCORES}
    for section, keys in parts.items():
        for key in keys:
            result[section][key]


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = f"no {error}" if isinstance(error, KeyError) else error
    return UserError(f"{plain.line(file)} cannot be read ({reason}): evaluate that run again")


def _asked_for(result: Mapping[str, Any], split: str, beam: int | None) -> bool:
    return result["data"]["split"] == split and beam in (None, result["search"]["beam"])


def compare(first: Entry, entry: Entry) -> dict[str, Any]:
    """Sets an entry beside the first one.

    Returns:
      run, evaluation (its folder or None), val_loss, vocabulary_size, signature, scores; and
      against the first entry: same_vocabulary, config (the keys that differ), signature_differs
      (its fields that differ), and differences: score -> {"value", "low", "high"}, this entry minus
      the first, or None where the images or their references are not the same.
    """
    scored, both = entry.result or {}, bool(first.result and entry.result) and entry is not first
    same = both and all(
        first.result["data"][key] == entry.result["data"][key] for key in ("ids", "captions")
    )
    return {
        "run": plain.name(entry.run),
        "evaluation": entry.folder and plain.name(entry.folder),
        "val_loss": entry.val_loss,
        "vocabulary_size": entry.words,
        "same_vocabulary": entry.vocabulary == first.vocabulary,
        "signature": scored.get("signature"),
        "scores": scored.get("scores"),
        "config": configs.differences(first.config, entry.config),
        "signature_differs": _fields_that_differ(first.result, entry.result) if both else [],
        "differences": _differences(first.folder, entry.folder) if same else None,
    }


def _fields_that_differ(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    before, after = (
        dict(field.split(":", 1) for field in result["signature"].split("|"))
        for result in (first, other)
    )
    before["captions"], after["captions"] = first["data"]["captions"], other["data"]["captions"]
    return [
        f"{key}: {before.get(key)} -> {value}"
        for key, value in after.items()
        if before.get(key) != value
    ]


def _differences(first: Path, other: Path) -> dict[str, dict[str, float]]:
    """Computes the scores of `other` minus those of `first`, and the interval of the paired
    bootstrap.
    """
    before, after = _statistics(first), _statistics(other)
    if before.keys() != after.keys():
        raise UserError(
            f"{plain.line(first / IMAGES)} and {plain.line(other / IMAGES)} "
            "should hold the same images and do not: evaluate both runs again"
        )
    found = {}
    for name, metric in SCORES.items():
        room = scoring.METRICS[metric]
        paired = np.array(
            [[before[image][metric], after[image][metric]] for image in before]
        )  # [N, 2, S]
        place = room.NAMES.index(name)

        def difference(
            total: np.ndarray, width: int = paired.shape[-1], room: Any = room, place: int = place
        ):
            return (
                room.from_statistics(total[..., width:]) - room.from_statistics(total[..., :width])
            )[..., [place]]

        rows = paired.reshape(len(paired), -1)
        low, high = bootstrap.interval(rows, difference, level=scoring.LEVEL)
        found[name] = {
            "value": float(difference(rows.sum(0))[0]),
            "low": float(low[0]),
            "high": float(high[0]),
        }
    return found


def _statistics(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Reads what each image adds to each score."""
    file = folder / IMAGES
    found = {}
    try:
        # Not splitlines, which also splits where JSON does not: at U+2028 in an image's name.
        for line in file.read_text(encoding="utf-8").split("\n"):
            if line:
                image = json.loads(line)
                found[image["image"]] = image["statistics"]
        for metric in SCORES.values():
            table = np.array(
                [statistics[metric] for statistics in found.values()], np.float64
            )  # [N, S]
            if not np.isfinite(table).all():
                raise ValueError(f"a number of {metric} is none")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(file, error) from error
    return found


def lines(compared: Sequence[Mapping[str, Any]], split: str) -> list[str]:
    """Returns the table, and below it what differs between the runs."""
    heads = [head for name in SCORES for head in (name, "95% interval", "to the first")]
    rows = [["x 100", "val loss", "words", *heads]]
    for one in compared:
        loss = "-" if one["val_loss"] is None else f"{one['val_loss']:.3f}"
        rows.append(
            [
                _name(one),
                loss,
                f"{one['vocabulary_size']:,}",
                *(c for name in SCORES for c in _cells(one, name)),
            ]
        )
    return [
        *tables.aligned(rows),
        "",
        *(line for one in compared for line in _remarks(compared[0], one, split)),
    ]


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['run']} ({Path(one['evaluation']).name})" if one["evaluation"] else one["run"]


def _cells(one: Mapping[str, Any], name: str) -> list[str]:
    if one["scores"] is None:
        return ["-", "-", "-"]
    score, difference = one["scores"][name], (one["differences"] or {}).get(name)
    gain = (
        f"{round(100 * difference['value'], 1) + 0.0:+.1f} ({tables.interval(difference)})"
        if difference
        else "-"
    )
    return [tables.percent(score["value"]), tables.interval(score), gain]


def _remarks(first: Mapping[str, Any], one: Mapping[str, Any], split: str) -> list[str]:
    """Says of one run what its line in the table does not."""
    name = _name(one)
    if one["scores"] is None:
        return [
            f"{name}: not scored; run python -m jaxcap.evaluate --workdir {one['run']} --split "
            f"{split}"
        ]
    remarks = [one["signature"]] if one is first else []
    if one["signature_differs"]:
        remarks.append(f"signature differs: {'; '.join(one['signature_differs'])}")
    if one is not first and first["scores"] and one["differences"] is None:
        remarks.append("other images or references than the first: the scores cannot be compared")
    if not one["same_vocabulary"]:
        remarks.append(
            "another vocabulary than the first: the validation losses cannot be compared"
        )
    remarks += [f"config {line}" for line in one["config"]]
    return [f"{name}: {remark}" for remark in remarks]


if __name__ == "__main__":
    errors.exit_with(main)
