"""Scores a trained run: `python -m jaxcap.evaluate --workdir DIR --split val|test [--beam K] [--data-dir DIR]`."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcap import errors, report, run, samples, workdir, writers
from jaxcap.evaluation import Evaluation, evaluate, flags, tables
from jaxcap.files import write_atomically

DESCRIPTION = """Caption a split with the run's best checkpoint and score it: BLEU, ROUGE-L, CIDEr-D and, where Java is,
METEOR, each with a bootstrap interval and blind baselines beside it; the health of captions and attention.

Written to DIR/evaluation/SPLIT-beamK (with the folder's name for --data-dir, and any rule that is not the run's):
  scores.json    all numbers
  captions.json  the captions in COCO's result format
  images.jsonl   one line an image: its caption and what it adds to each score
  report.html    a page with curves, scores and photos whose words light their regions"""
EXAMPLE = """example:
  python -m jaxcap.evaluate --workdir checkpoints/flickr8k --split test --beam 5"""
GALLERY = 12  # photos of the report from each of the best, the middle and the worst


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    trained = run.restore_best(options.workdir)
    rules, beam = flags.rules(options, trained.config)
    found = evaluate(
        trained,
        options.split,
        dir=options.data_dir,
        rules=rules,
        beam=beam,
        batch_size=options.batch_size,
    )
    folder = options.workdir / "evaluation" / folder_name(found.result)
    write(folder, found)
    if options.json:
        print(json.dumps(found.result, indent=2, allow_nan=False))
    else:
        print("\n".join(tables.lines(found.result)))
    print(f"written to {folder}", file=sys.stderr)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("python -m jaxcap.evaluate", DESCRIPTION, EXAMPLE)
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--split", choices=("val", "test"), required=True)
    parser.add_argument("--data-dir", default="", metavar="DIR", help="score on this folder of any known layout")
    flags.add_search(parser)
    parser.add_argument("--json", action="store_true", help="print scores.json instead of the table")
    return parser.parse_args(argv)


def folder_name(result: dict[str, Any]) -> str:
    """Names the folder of an evaluation so that another split, data set, beam or rule than the run's has another."""
    data, how, usual = result["data"], result["search"], result["run"]["config"]["search"]
    parts = [data["split"], f"beam{how['beam']}"]
    if data["dir"]:
        parts.append(re.sub(r"[^\w.]+", "_", Path(data["dir"]).expanduser().resolve().name))
    short = {"min_length": "min", "length_normalisation": "alpha", "no_repeat_ngram": "ngram"}
    parts += [f"{name}{how[key]:g}" for key, name in short.items() if how[key] != usual[key]]
    return "-".join([*parts, *["unk"] * how["unk"]])


def write(folder: Path, found: Evaluation) -> None:
    """Writes the files of an evaluation, scores.json last: where it stands, all of them do."""
    result, split = found.result, found.split
    texts = [" ".join(caption.words) for caption in found.captions]
    pairs = [
        {"image_id": image_id(result["data"]["name"], id), "caption": text}
        for id, text in zip(split.ids, texts, strict=True)
    ]
    images = [
        {
            "image": id,
            "caption": text,
            "log_prob": round(found.captions[row].log_prob, 5),
            "statistics": {metric: rows[row].tolist() for metric, rows in found.rows.items()},
        }
        for row, (id, text) in enumerate(zip(split.ids, texts, strict=True))
    ]
    metrics = writers.read_lines(Path(result["run"]["workdir"]) / workdir.METRICS)
    report.write(folder / "report.html", result, metrics, gallery(found))
    write_atomically(folder / "captions.json", json.dumps(pairs, indent=0, ensure_ascii=False) + "\n")
    lines = (json.dumps(writers.plain(image), ensure_ascii=False, allow_nan=False) + "\n" for image in images)
    write_atomically(folder / "images.jsonl", "".join(lines))
    write_atomically(folder / "scores.json", json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def image_id(data: str, id: str) -> int | str:
    """Returns an image's id in COCO's result format: COCO's number, which its photos' names end in, or the name."""
    number = re.search(r"(\d+)\.\w+$", id) if data == "coco" else None
    return int(number[1]) if number else id


def gallery(found: Evaluation) -> list[report.Photo]:
    """Chooses photos for the report, the best captions first: some of the best, of the middle, and of the worst."""
    scores = found.rows["CIDEr-D"][:, 0]
    order = np.argsort(-scores, kind="stable")
    if len(order) > 3 * GALLERY:
        middle = np.linspace(GALLERY, len(order) - GALLERY - 1, GALLERY).round().astype(int)
        order = order[np.concatenate([np.arange(GALLERY), middle, np.arange(len(order) - GALLERY, len(order))])]
    size = found.result["run"]["config"]["images"]["size"]
    return [
        report.Photo(
            id=found.split.ids[row],
            image=samples.photo(found.split, row, size),
            words=found.captions[row].words,
            attention=found.captions[row].attention,
            probabilities=found.captions[row].probabilities,
            references=found.split.captions[row],
            score=float(scores[row]),
        )
        for row in order.tolist()
    ]


if __name__ == "__main__":
    errors.exit_with(main)
