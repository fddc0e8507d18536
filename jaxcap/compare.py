"""Lays scored runs side by side: `python -m jaxcap.compare DIR DIR ... [--split val|test] [--beam K]`."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxcap import config as configs
from jaxcap import errors, workdir, writers
from jaxcap.errors import UserError
from jaxcap.evaluation import flags, scoring, tables
from jaxcap.scores import bootstrap
from jaxcap.text import Vocabulary

DESCRIPTION = """Compare runs by what jaxcap.evaluate wrote: scores with intervals, the validation loss, the keys of the
config that differ, and the difference in BLEU-4 and CIDEr-D to the first run, with a paired bootstrap interval over the
images where both captioned the same ones. Runs that cannot be compared are said to be so.

DIR is a run's folder, or one evaluation in it (DIR/evaluation/test-beam5)."""
EXAMPLE = """example:
  python -m jaxcap.compare checkpoints/flickr8k checkpoints/ablation --split val"""
SCORES = {"BLEU-4": "BLEU", "CIDEr-D": "CIDEr-D"}  # which scores are shown, and the metric whose statistics make them


class Entry(NamedTuple):
    """One line of the table: a run, and one of its evaluations.

    Attributes:
      run: the workdir, as typed.
      folder: of the evaluation, or None where the run has not been scored.
      result: what scores.json holds.
      config: of the run, flat.
      val_loss: the best, in nats per word; None before the first validation.
      vocabulary: of the run.
    """

    run: Path
    folder: Path | None
    result: Mapping[str, Any] | None
    config: Any
    val_loss: float | None
    vocabulary: Vocabulary


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    entries = [entry for path in options.runs for entry in read(path, options.split, options.beam)]
    compared = [compare(entries[0], entry) for entry in entries]
    if options.json:
        print(json.dumps(writers.plain(compared), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print("\n".join(lines(compared, options.split)))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("python -m jaxcap.compare", DESCRIPTION, EXAMPLE)
    parser.add_argument("runs", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--split", choices=("val", "test"), default="test", help="whose evaluations are read (test)")
    parser.add_argument("--beam", type=int, metavar="K", help="only evaluations at this beam (all)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser.parse_args(argv)


def read(path: Path, split: str, beam: int | None) -> list[Entry]:
    """Reads the evaluations of a run that are asked for; one entry without scores when there are none.

    Raises:
      UserError: `path` is neither a run nor an evaluation, or a file is damaged.
    """
    if (path / "scores.json").is_file():
        run, wanted = path.resolve().parents[1], {path: _scores(path)}
    else:
        results = {file.parent: _scores(file.parent) for file in sorted(path.glob("evaluation/*/scores.json"))}
        run, wanted = path, {f: r for f, r in results.items() if _asked_for(r, split, beam)}
    config = workdir.load_config(run)
    about = config, workdir.validation_loss(run, config.train.select), workdir.load_vocabulary(run)
    return [Entry(run, folder, result, *about) for folder, result in wanted.items()] or [Entry(run, None, None, *about)]


def _scores(folder: Path) -> dict[str, Any]:
    try:
        result = json.loads((folder / "scores.json").read_text())
        return {key: result[key] for key in ("signature", "scores", "data", "search")}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / 'scores.json'} cannot be read ({error}): evaluate that run again") from error


def _asked_for(result: Mapping[str, Any], split: str, beam: int | None) -> bool:
    return result["data"]["split"] == split and beam in (None, result["search"]["beam"])


def compare(first: Entry, entry: Entry) -> dict[str, Any]:
    """Sets an entry beside the first one.

    Returns:
      run, evaluation (its folder or None), val_loss, vocabulary_size, signature, scores; and against the first entry:
      same_vocabulary, config (the keys that differ), signature_differs (its fields that differ), and differences:
      score -> {"value", "low", "high"}, this entry minus the first, or None where the images or their references are
      not the same.
    """
    scored, both = entry.result or {}, bool(first.result and entry.result) and entry is not first
    same = both and all(first.result["data"][key] == entry.result["data"][key] for key in ("ids", "captions"))
    return {
        "run": str(entry.run),
        "evaluation": entry.folder and str(entry.folder),
        "val_loss": entry.val_loss,
        "vocabulary_size": len(entry.vocabulary),
        "same_vocabulary": entry.vocabulary == first.vocabulary,
        "signature": scored.get("signature"),
        "scores": scored.get("scores"),
        "config": configs.differences(first.config, entry.config),
        "signature_differs": _fields_that_differ(first.result, entry.result) if both else [],
        "differences": _differences(first.folder, entry.folder) if same else None,
    }


def _fields_that_differ(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    before, after = (dict(field.split(":", 1) for field in result["signature"].split("|")) for result in (first, other))
    before["captions"], after["captions"] = first["data"]["captions"], other["data"]["captions"]
    return [f"{key}: {before.get(key)} -> {value}" for key, value in after.items() if before.get(key) != value]


def _differences(first: Path, other: Path) -> dict[str, dict[str, float]]:
    """Computes the scores of `other` minus those of `first`, and the interval of the paired bootstrap."""
    before, after = _statistics(first), _statistics(other)
    found = {}
    for name, metric in SCORES.items():
        room = scoring.METRICS[metric]
        paired = np.array([[before[image][metric], after[image][metric]] for image in before])  # [N, 2, S]
        place = room.NAMES.index(name)

        def difference(total: np.ndarray, width: int = paired.shape[-1], room: Any = room, place: int = place):
            return (room.from_statistics(total[..., width:]) - room.from_statistics(total[..., :width]))[..., [place]]

        rows = paired.reshape(len(paired), -1)
        low, high = bootstrap.interval(rows, difference, level=scoring.LEVEL)
        found[name] = {"value": float(difference(rows.sum(0))[0]), "low": float(low[0]), "high": float(high[0])}
    return found


def _statistics(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Reads what each image adds to each score."""
    try:
        images = [json.loads(line) for line in (folder / "images.jsonl").read_text().splitlines()]
        return {image["image"]: image["statistics"] for image in images}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / 'images.jsonl'} cannot be read ({error}): evaluate that run again") from error


def lines(compared: Sequence[Mapping[str, Any]], split: str) -> list[str]:
    """Returns the table, and below it what differs between the runs."""
    heads = [head for name in SCORES for head in (name, "95% interval", "to the first")]
    rows = [["x 100", "val loss", "words", *heads]]
    for one in compared:
        loss = "-" if one["val_loss"] is None else f"{one['val_loss']:.3f}"
        rows.append(
            [_name(one), loss, f"{one['vocabulary_size']:,}", *(c for name in SCORES for c in _cells(one, name))]
        )
    return [*tables.aligned(rows), "", *(line for one in compared for line in _remarks(compared[0], one, split))]


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['run']} ({Path(one['evaluation']).name})" if one["evaluation"] else one["run"]


def _cells(one: Mapping[str, Any], name: str) -> list[str]:
    if one["scores"] is None:
        return ["-", "-", "-"]
    score, difference = one["scores"][name], (one["differences"] or {}).get(name)
    gain = f"{round(100 * difference['value'], 1) + 0.0:+.1f} ({tables.interval(difference)})" if difference else "-"
    return [tables.hundredfold(score["value"]), tables.interval(score), gain]


def _remarks(first: Mapping[str, Any], one: Mapping[str, Any], split: str) -> list[str]:
    """Says of one run what its line in the table does not."""
    name = _name(one)
    if one["scores"] is None:
        return [f"{name}: not scored; run python -m jaxcap.evaluate --workdir {one['run']} --split {split}"]
    remarks = [one["signature"]] if one is first else []
    if one["signature_differs"]:
        remarks.append(f"signature differs: {'; '.join(one['signature_differs'])}")
    if one is not first and first["scores"] and one["differences"] is None:
        remarks.append("other images or references than the first: the scores cannot be compared")
    if not one["same_vocabulary"]:
        remarks.append("another vocabulary than the first: the validation losses cannot be compared")
    remarks += [f"config {line}" for line in one["config"]]
    return [f"{name}: {remark}" for remark in remarks]


if __name__ == "__main__":
    errors.exit_with(main)
