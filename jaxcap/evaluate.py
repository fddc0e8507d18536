"""Scores a trained run: `python -m jaxcap.evaluate --workdir DIR --split val|test [--beam K]
[--data-dir DIR]`.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcap import errors, flags, report
from jaxcap.decoding.captions import photo
from jaxcap.errors import UserError
from jaxcap.evaluation import baselines, tables
from jaxcap.evaluation.evaluate import BASELINES, Evaluation, beside_training, evaluate
from jaxcap.experiment import ranges, restore, workdir
from jaxcap.io import plain
from jaxcap.io.digests import digest_json
from jaxcap.io.files import check_writable, write_atomically
from jaxcap.training import history

DESCRIPTION = f"""Caption a split with the run's best checkpoint and score it: BLEU, ROUGE-L, CIDEr-D and,
where Java is, METEOR, each with a bootstrap interval; the health of captions and attention; and
what captions score that are blind to the photo:
  most common    the most common training caption for every photo
  shuffled       the run's own captions, each given to another photo
  nearest        the first caption of the training photo that looks most like it; by default only
                 where the features of the training photos are cached, or these are {baselines.FEW:,}
                 at most: --baselines all computes them
These come last: what fails there is said in a note, and the scores stand.

Written to DIR/evaluation/SPLIT-beamK (with the folder's name for --data-dir, and any rule that is
not the run's), or to the folder of --out, which jaxcap.compare reads when it is named:
  captions.json  the captions in COCO's result format
  images.jsonl   one line an image: its caption and what it adds to each score
  scores.json    all numbers, and the run's config
  report.html    a page with curves, scores and photos whose words light their regions"""
EXAMPLE = """examples:
  %(prog)s --workdir checkpoints/quickstart --split test --beam 5
  %(prog)s --workdir checkpoints/quickstart --split val --out scores"""
GALLERY = 12  # photos of the report from each of the best, the middle and the worst


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    trained = restore.restore_best(options.workdir)
    rules, beam = flags.rules(options, trained.config)
    check_writable(options.out or options.workdir / "evaluation", "name another folder with --out")
    found = evaluate(
        trained,
        options.split,
        dir=options.data_dir,
        rules=rules,
        beam=beam,
        batch_size=options.batch_size,
    )
    if not options.json:
        print("\n".join(tables.lines(found.result)), flush=True)
    folder = options.out or options.workdir / "evaluation" / folder_name(found.result)
    try:
        write_captions(folder, found)
        photos = gallery(found)
        write_scores(folder, found.result, photos)
        said = found.result["notes"]
        found = beside_training(trained, found, options.baselines)
        write_scores(folder, found.result, photos)
    except UserError as error:
        advice = "the scores are printed; --out names another folder for the files"
        raise UserError(f"{error} ({advice})") from error
    finally:
        if options.json:  # once and whole, whatever came after the scores
            print(plain.to_json(found.result, indent=2, ascii_only=True), flush=True)
    if not options.json:
        print("\n".join(["", *tables.beside(found.result, said)]))
    print(f"written to {plain.line(folder)}", file=sys.stderr)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("evaluate", DESCRIPTION, EXAMPLE)
    parser.add_argument(
        "--workdir",
        type=flags.path,
        required=True,
        metavar="DIR",
        help="the run's folder, as checkpoints/quickstart",
    )
    parser.add_argument(
        "--split", choices=("val", "test"), required=True, help="which photos are scored"
    )
    parser.add_argument(
        "--data-dir",
        type=flags.within(ranges.Place()),
        default="",
        metavar="DIR",
        help="score on this folder of any known layout instead of the run's own data",
    )
    parser.add_argument(
        "--out", type=flags.path, metavar="OUT", help="write here instead of DIR/evaluation/..."
    )
    parser.add_argument(
        "--baselines",
        choices=BASELINES,
        default="cheap",
        help="blind captions to score: all; cheap: nearest only where it costs little; none (cheap)",
    )
    flags.add_search(parser)
    parser.add_argument(
        "--json", action="store_true", help="print scores.json instead of the table"
    )
    return parser.parse_args(argv)


def folder_name(result: dict[str, Any]) -> str:
    """Names the folder of an evaluation so that another split, data set, beam or rule than the
    run's has another.
    """
    data, how, usual = result["data"], result["search"], result["run"]["config"]["search"]
    parts = [data["split"], f"beam{how['beam']}"]
    if data["dir"]:
        # Folders of one name may hold other photos, so the content is part of the name.
        place = re.sub(r"[^\w.]+", "_", Path(data["dir"]).expanduser().resolve().name)
        parts.append(
            f"{place}-{digest_json([data[key] for key in ('ids', 'photos', 'captions')])[:8]}"
        )
    short = {"min_length": "min", "length_normalization": "alpha", "no_repeat_ngram": "ngram"}
    parts += [f"{name}{how[key]:g}" for key, name in short.items() if how[key] != usual[key]]
    return "-".join([*parts, *["unk"] * how["unk"]])


def write_captions(folder: Path, found: Evaluation) -> None:
    """Writes the captions, and what each adds to the scores."""
    data, ids = found.result["data"]["name"], found.split.ids
    texts = [" ".join(caption.words) for caption in found.captions]
    pairs = []
    for id, text in zip(ids, texts, strict=True):
        pairs.append({"image_id": image_id(data, id), "caption": text})
    write_atomically(folder / "captions.json", plain.to_json(pairs, indent=0) + "\n")
    lines = []
    for row, (id, text) in enumerate(zip(ids, texts, strict=True)):
        image = {
            "image": id,
            "caption": text,
            "log_prob": round(found.captions[row].log_prob, 5),
            "statistics": {metric: rows[row].tolist() for metric, rows in found.rows.items()},
        }
        lines.append(plain.to_json(image) + "\n")
    write_atomically(folder / "images.jsonl", "".join(lines))


def write_scores(folder: Path, result: dict[str, Any], photos: Sequence[report.Photo]) -> None:
    """Writes the numbers, and the report of them."""
    write_atomically(folder / "scores.json", plain.to_json(result, indent=2) + "\n")
    metrics = history.read_lines(Path(result["run"]["folder"]) / workdir.METRICS)
    report.write(folder / "report.html", result, metrics, photos)


def image_id(data: str, id: str) -> int | str:
    """Returns an image's id in COCO's result format: COCO's number, which its photos' names end in,
    or the name.
    """
    number = re.search(r"(\d+)\.\w+$", id) if data == "coco" else None
    return int(number[1]) if number else id


def gallery(found: Evaluation) -> list[report.Photo]:
    """Chooses photos for the report, the best captions first: some of the best, of the middle, and
    of the worst.
    """
    scores = found.rows["CIDEr-D"][:, 0]
    order = np.argsort(-scores, kind="stable")
    if len(order) > 3 * GALLERY:
        middle = np.linspace(GALLERY, len(order) - GALLERY - 1, GALLERY).round().astype(int)
        order = order[
            np.concatenate(
                [np.arange(GALLERY), middle, np.arange(len(order) - GALLERY, len(order))]
            )
        ]
    size = found.result["run"]["config"]["images"]["size"]
    return [
        report.Photo(
            id=found.split.ids[row],
            image=photo(found.split, row, size),
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
