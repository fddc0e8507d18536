"""Scores a trained run: `python -m jaxcap.evaluate --workdir DIR --split val|test`."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcap import errors, flags, report
from jaxcap.allocation import keep_freed_memory
from jaxcap.errors import UserError
from jaxcap.evaluation import baselines, result, tables
from jaxcap.evaluation.against_training import compare_with_training
from jaxcap.evaluation.evaluate import Evaluation, evaluate, join_words
from jaxcap.evaluation.result import Result
from jaxcap.experiment import ranges
from jaxcap.experiment.ensembles import restore_ensemble
from jaxcap.experiment.restore import explain_mismatch
from jaxcap.figures.samples import view_photo
from jaxcap.io import plain
from jaxcap.io.compiled import keep_compiled
from jaxcap.io.digests import digest_json
from jaxcap.io.files import check_writable, write_atomically
from jaxcap.training import history

DESCRIPTION = f"""Caption a split with the run's best checkpoint and score it: BLEU, ROUGE-L,
CIDEr-D and, where Java is, METEOR, each with a bootstrap interval; the health of captions and
attention; and what image-agnostic baselines score, the floor for reading scores:
  most common    the most common training caption for every photo
  shuffled       the run's own captions, each given to another photo
  nearest        the first caption of the training photo that looks most like it; by default only
                 where the features of the training photos are cached, or there are at most
                 {baselines.FEW:,} of them: --baselines all computes them
These come last: what fails there is said in a note, and the scores stand.

Several runs are scored as an ensemble, which writes by the mean of their probabilities, beside what
each of them scores alone where it was evaluated before. They must share words, splits and how they
see photos; rules not given are the first run's.

Written to DIR/evaluation/SPLIT-beamK or SPLIT-sample (with the folder's name for --data-dir, and
any rule, noise or denoiser that is not the run's; for an ensemble under its first run, and with
ensembleN-DIGEST), or to the folder of --out, which jaxcap.compare reads when it is named:
  captions.json  the captions in COCO's result format
  images.jsonl   one line an image: its caption and what it adds to each score
  scores.json    all numbers, and the run's config
  report.html    a page with curves, scores and photos whose words light their regions"""
EXAMPLE = """examples:
  %(prog)s --workdir checkpoints/quickstart --split test --beam 5
  %(prog)s --workdir checkpoints/quickstart --split val --out scores
  %(prog)s --workdir checkpoints/quickstart checkpoints/short --split test"""
GALLERY = 12  # photos of the report from each of the best, the middle and the worst
# Rules as the names of folders have them, where they are not the run's.
_SHORT_NAMES = {"min_length": "min", "length_normalization": "alpha", "no_repeat_ngram": "ngram"}
_SHORT_SAMPLING = {"temperature": "t", "top_k": "k", "top_p": "p", "seed": "seed"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    keep_freed_memory()
    keep_compiled()
    run = restore_ensemble(options.workdir, options.denoiser)
    rules, strategy = flags.read_search(options, run.config)
    check_writable(options.out or run.folder / "evaluation", "name another folder with --out")
    with explain_mismatch(run):
        evaluation = evaluate(
            run,
            options.split,
            data_dir=options.data_dir,
            noise=options.noise,
            rules=rules,
            strategy=strategy,
            batch_size=options.batch_size,
        )
    if not options.json:
        print("\n".join(tables.format_result(evaluation.result)), flush=True)
    folder = options.out or run.folder / "evaluation" / name_folder(evaluation.result)
    printed = evaluation.result.notes
    try:
        # The files are written before the baselines, which may take long or be stopped.
        write_captions(folder, evaluation)
        photos = choose_photos(evaluation)
        write_scores(folder, evaluation.result, photos)
        evaluation = compare_with_training(run, evaluation, options.baselines)
        write_scores(folder, evaluation.result, photos)
    except UserError as error:
        advice = "the scores are printed; --out names another folder for the files"
        raise UserError(f"{error} ({advice})") from error
    finally:
        if options.json:  # once and whole, whatever came after the scores
            print(result.to_json(evaluation.result, ascii_only=True), flush=True)
    if not options.json:
        print("\n".join(["", *tables.format_additions(evaluation.result, printed)]))
    print(f"written to {plain.line(folder)}", file=sys.stderr)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("evaluate", DESCRIPTION, EXAMPLE)
    flags.add_workdirs(parser)
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
        choices=baselines.CHOICES,
        default="cheap",
        help="baselines to score: all; cheap: nearest only where it costs little; none (cheap)",
    )
    parser.add_argument(
        "--noise",
        type=flags.noise,
        metavar="KIND=LEVEL,...",
        help="score on photos with noise: gaussian=0.1 (standard deviation, white is 1), "
        "salt_and_pepper=0.05 (share of pixels), or both",
    )
    flags.add_denoiser(parser)
    flags.add_search(parser)
    parser.add_argument(
        "--json", action="store_true", help="print scores.json instead of the table"
    )
    return parser.parse_args(argv)


def name_folder(result: Result) -> str:
    """Names the folder of an evaluation: another split, data set, search or rule has another."""
    data = result.data
    search = result.search
    parts = [data.split, "sample" if search.sampling else f"beam{search.beam}"]
    members = result.run.members
    if members:
        digest = digest_json(sorted(member.folder for member in members))[:8]
        parts.append(f"ensemble{len(members)}-{digest}")
    if data.dir:
        # Folders of one name may hold other photos, so the content is part of the name.
        name = re.sub(r"[^\w.]+", "_", Path(data.dir).expanduser().resolve().name)
        parts.append(f"{name}-{digest_json([data.ids, data.photos, data.captions])[:8]}")
    usual = result.run.config["search"]
    for key, short in _SHORT_NAMES.items():
        value = getattr(search, key)
        if value != usual[key]:
            parts.append(f"{short}{value:g}")
    if search.unk:
        parts.append("unk")
    if search.sampling:
        for key, short in _SHORT_SAMPLING.items():
            value = getattr(search.sampling, key)
            if value != usual.get(key, 0):  # the seed is no key of a config
                parts.append(f"{short}{value:.15g}")
    for kind, level in (data.noise or {}).items():
        if level:
            parts.append(f"{kind}{level:g}")
    if result.run.other_denoiser:
        parts.append(f"denoiser_{result.run.other_denoiser}")
    return "-".join(parts)


def write_captions(folder: Path, evaluation: Evaluation) -> None:
    """Writes captions.json, the captions, and images.jsonl, what each adds to the scores."""
    data = evaluation.result.data.name
    pairs = []
    lines = []
    texts = join_words(evaluation.captions)
    for row, (image, text) in enumerate(zip(evaluation.split.ids, texts, strict=True)):
        pairs.append({"image_id": coco_image_id(data, image), "caption": text})
        record = {
            "image": image,
            "caption": text,
            "log_prob": round(evaluation.captions[row].log_prob, 5),
            "statistics": {metric: rows[row].tolist() for metric, rows in evaluation.rows.items()},
        }
        lines.append(plain.to_json(record) + "\n")
    write_atomically(folder / "captions.json", plain.to_json(pairs, indent=0) + "\n")
    write_atomically(folder / "images.jsonl", "".join(lines))


def write_scores(folder: Path, scores: Result, photos: Sequence[report.CaptionedPhoto]) -> None:
    """Writes scores.json, the numbers, and report.html, the page that shows them."""
    write_atomically(folder / "scores.json", result.to_json(scores) + "\n")
    # An ensemble has no curves of its own.
    metrics = []
    if not scores.run.members:
        metrics = history.read_lines(Path(scores.run.folder) / history.METRICS)
    report.write(folder / "report.html", scores, metrics, photos)


def coco_image_id(data: str, image: str) -> int | str:
    """Returns an image's id in COCO's result format.

    Args:
      data: the data set's name.
      image: the image's name.

    Returns:
      COCO's number, which its photos' names end in; the name for other data sets.
    """
    number = re.search(r"(\d+)\.\w+$", image) if data == "coco" else None
    return int(number[1]) if number else image


def choose_photos(evaluation: Evaluation) -> list[report.CaptionedPhoto]:
    """Chooses photos for the report: the best captions first, then the middle, then the worst."""
    scores = evaluation.rows["CIDEr-D"][:, 0]
    order = np.argsort(-scores, kind="stable")
    if len(order) > 3 * GALLERY:
        middle = np.linspace(GALLERY, len(order) - GALLERY - 1, GALLERY).round().astype(int)
        order = np.concatenate([order[:GALLERY], order[middle], order[-GALLERY:]])
    size = evaluation.result.run.config["images"]["size"]
    photos = []
    for row in order.tolist():
        caption = evaluation.captions[row]
        photos.append(
            report.CaptionedPhoto(
                id=evaluation.split.ids[row],
                image=view_photo(evaluation.split, row, size, evaluation.noise),
                words=caption.words,
                attention=caption.attention,
                grid=evaluation.grid,
                probabilities=caption.probabilities,
                references=evaluation.split.captions[row],
                score=float(scores[row]),
            )
        )
    return photos


if __name__ == "__main__":
    errors.exit_with(main)
