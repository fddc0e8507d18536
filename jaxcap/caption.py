"""Captions photos with a trained run: `python -m jaxcap.caption --workdir DIR PHOTO ...`."""

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jaxcap import devices, errors, flags, parallel
from jaxcap.allocation import keep_freed_memory
from jaxcap.decoding.captions import Caption, read_captions
from jaxcap.errors import UserError
from jaxcap.experiment import ranges, restore, workdir
from jaxcap.experiment.ensembles import restore_ensemble
from jaxcap.experiment.run import Run
from jaxcap.figures.drawings import Drawings
from jaxcap.inputs.photo_files import LoadedPhoto, Reader, find_photos
from jaxcap.inputs.prefetch import prefetch
from jaxcap.io import plain
from jaxcap.io.compiled import keep_compiled
from jaxcap.io.files import check_writable
from jaxcap.io.progress import Progress

DESCRIPTION = """Write a caption for every photo, of any size and kind; folders are searched for
photos, also below. A photo or folder that cannot be read is named on stderr and the others go on;
the exit code is then 2. Several runs caption as an ensemble, by the mean of their probabilities."""
EXAMPLE = """examples:
  %(prog)s --workdir checkpoints/quickstart photo.jpg folder/ --attention out/
  %(prog)s --workdir checkpoints/quickstart photo.jpg --search sample --top-p 0.9 --seed 1
  %(prog)s --workdir checkpoints/quickstart checkpoints/short photo.jpg"""

Write = Callable[[Path, Caption], None]


@dataclasses.dataclass(frozen=True)
class Item:
    """A photo to caption.

    Attributes:
      number: its index among all, which decides its random draws.
      path: its file.
      photo: what was read of it.
    """

    number: int
    path: Path
    photo: LoadedPhoto


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    keep_freed_memory()
    keep_compiled()
    if options.attention:
        check_writable(options.attention, "name another folder with --attention")
    run = restore_ensemble(options.workdir, options.denoiser)
    rules, strategy = flags.read_search(options, run.config)
    search = restore.compile_search(run, rules, strategy)
    found = find_photos(options.photos)
    drawings = None
    if options.attention:
        files = [path for path in found if isinstance(path, Path)]
        drawings = Drawings(options.attention, files, run.grid)
    batch_size = options.batch_size or devices.photos_at_once()
    writer = open_json_array() if options.json else contextlib.nullcontext(print_caption)
    failed = 0
    with (
        restore.explain_mismatch(run),
        writer as write,
        Progress(len(found), "captions", "photos") as progress,
    ):
        for item, caption in caption_photos(run, search, found, batch_size, bool(drawings)):
            if isinstance(item, UserError):
                progress.say(f"error: {item}")
                failed += 1
            else:
                assert caption  # as for every photo that could be read
                write(item.path, caption)
                if drawings and item.photo.picture is not None:
                    picture = item.photo.picture
                    drawings.add(item.path, picture, caption.words, caption.attention)
            progress.update()
    return 2 if failed else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("caption", DESCRIPTION, EXAMPLE)
    parser.add_argument(
        "photos", type=Path, nargs="+", metavar="PHOTO_OR_FOLDER", help="what to caption"
    )
    flags.add_workdirs(parser, nargs=1)
    parser.add_argument(
        "--attention",
        type=flags.path,
        metavar="OUT",
        help="draw the words' attention here (.png, .gif)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print words, probabilities and attention as JSON"
    )
    flags.add_denoiser(parser)
    flags.add_search(parser, batch_size=None)
    return parser.parse_args(_repeat_workdir(sys.argv[1:] if argv is None else argv))


def _repeat_workdir(arguments: Sequence[str]) -> list[str]:
    """Writes `--workdir A B photo.jpg` as `--workdir A --workdir B photo.jpg`.

    The parser cannot tell where the runs of an ensemble end and the photos begin. After the first
    run, folders that hold runs belong to the ensemble, up to what is none.
    """
    repeated = []
    wants_run = False
    takes_runs = False
    for argument in arguments:
        if wants_run:
            wants_run = False
            takes_runs = True
        elif argument == "--workdir":
            wants_run = True
        elif argument.startswith("--workdir="):
            takes_runs = True
        elif takes_runs and _holds_run(argument):
            repeated.append("--workdir")
        else:
            takes_runs = False
        repeated.append(argument)
    return repeated


def _holds_run(text: str) -> bool:
    return ranges.Place().holds(text) and workdir.holds_run(Path(text).expanduser())


def caption_photos(
    run: Run, search: Callable, found: Sequence[Path | UserError], batch_size: int, drawn: bool
) -> Iterator[tuple[Item, Caption] | tuple[UserError, None]]:
    """Yields each photo with its caption, in order, and the error of each that cannot be read.

    Args:
      run: the run.
      search: from `restore.compile_search`.
      found: the photos' files, and errors in the place of others.
      batch_size: photos at a time.
      drawn: whether pictures to draw on are wanted.
    """
    size = min(batch_size, len(found))
    reader = Reader(run.config.images.size, drawn)
    with ThreadPoolExecutor(run.config.images.workers) as pool:

        def read(number: int) -> Item | UserError:
            path = found[number]
            if isinstance(path, UserError):
                return path
            try:
                return Item(number, path, reader(path))
            except UserError as error:
                return error

        def load(batch: int) -> list[Item | UserError]:
            numbers = range(len(found))[batch * size : (batch + 1) * size]
            return list(pool.map(read, numbers))

        # The next batch is read while the device captions this one.
        for loaded in prefetch(load, range(-(-len(found) // size))):
            items = [item for item in loaded if isinstance(item, Item)]
            written = iter(caption_batch(run, search, items, size) if items else [])
            for item in loaded:
                if isinstance(item, Item):
                    yield item, next(written)
                else:
                    yield item, None


def caption_batch(run: Run, search: Callable, items: Sequence[Item], size: int) -> list[Caption]:
    """Captions at most `size` photos in one call.

    The batch is filled up with the first photo, so that every call has the same shape.
    """
    batch = {
        "images": np.stack([item.photo.view for item in items]),  # [B, S, S, 3]
        "draw": np.array([item.number for item in items], np.int32),  # [B]
    }
    hypotheses = search(run.params, parallel.pad_batch(batch, size))
    return read_captions(hypotheses, run.vocabulary)[: len(items)]


def print_caption(path: Path, caption: Caption) -> None:
    """Prints a caption in a line."""
    tqdm.write(f"{plain.line(path)}: {' '.join(caption.words)}", file=sys.stdout)


@contextlib.contextmanager
def open_json_array() -> Iterator[Write]:
    """Prints captions as one JSON array, each as it comes, so that memory never holds all."""
    count = 0

    def write(path: Path, caption: Caption) -> None:
        nonlocal count
        item = plain.to_json(describe(path, caption), indent=2, ascii_only=True)
        separator = ",\n  " if count else "[\n  "
        tqdm.write(separator + item.replace("\n", "\n  "), file=sys.stdout, end="")
        count += 1

    try:
        yield write
    finally:  # a whole array, whatever has stopped it
        print("\n]" if count else "[]")


def describe(path: Path, caption: Caption) -> dict[str, Any]:
    """Returns all that is known of a caption, for JSON."""
    return {
        "path": plain.name(path),
        "caption": " ".join(caption.words),
        "words": caption.words,
        "probabilities": [round(p, 4) for p in caption.probabilities.tolist()],
        "log_prob": round(caption.log_prob, 4),
        "attention": [[round(weight, 5) for weight in row] for row in caption.attention.tolist()],
    }


if __name__ == "__main__":
    errors.exit_with(main)
