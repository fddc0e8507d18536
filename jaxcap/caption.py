"""Captions photos with a trained run: `python -m jaxcap.caption --workdir DIR PHOTO_OR_FOLDER
...`.
"""

import argparse
import contextlib
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jaxcap import errors, flags, parallel
from jaxcap.decoding import captions
from jaxcap.errors import UserError
from jaxcap.experiment import ranges, restore
from jaxcap.experiment.restore import Run
from jaxcap.figures import attention
from jaxcap.inputs import photo_files
from jaxcap.inputs.prefetch import prefetch
from jaxcap.io import plain
from jaxcap.io.files import check_writable, write_atomically
from jaxcap.io.progress import Progress

DESCRIPTION = """Write a caption for every photo, of any size and kind; folders are searched for photos, also below.
A photo or folder that cannot be read is named on stderr and the others go on; the exit code is
then 2."""
EXAMPLE = """examples:
  %(prog)s --workdir checkpoints/quickstart photo.jpg folder/ --attention out/
  %(prog)s --workdir checkpoints/quickstart photo.jpg --sample --temperature 0.7 --top-p 0.9 --seed 1"""
SAMPLING = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 0}
LONGEST_NAME = 200  # bytes of a drawing's name before its number and kind; a name may have 255


class Photo(NamedTuple):
    """A photo to caption: its number among all, where it lies, and what is seen or wrong."""

    place: int
    path: Path | None
    seen: photo_files.Seen | UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    if options.attention:
        check_writable(options.attention, "name another folder with --attention")
    trained = restore.restore_best(options.workdir)
    caption = searched(trained, options)
    paths = photo_files.found(options.photos)
    drawings = Drawings(options.attention, paths) if options.attention else None
    answers = json_array() if options.json else contextlib.nullcontext(say)
    at_once = options.batch_size or parallel.photos_at_once()
    bad = 0
    with answers as answer, Progress(len(paths), "captions", "photos") as progress:
        for photo, written in captioned(trained, caption, paths, at_once, bool(drawings)):
            if written is None:
                progress.say(f"error: {photo.seen}")
                bad += 1
            else:
                answer(photo.path, written)
                if drawings:
                    drawings.add(photo, written)
            progress.update()
    return 2 if bad else 0


def say(path: Path, caption: captions.Caption) -> None:
    """Prints a caption in a line."""
    tqdm.write(f"{plain.line(path)}: {' '.join(caption.words)}", file=sys.stdout)


@contextlib.contextmanager
def json_array() -> Iterator[Callable[[Path, captions.Caption], None]]:
    """Prints captions as one JSON array, each as it comes, so that memory never holds all."""
    before = "[\n  "

    def add(path: Path, caption: captions.Caption) -> None:
        nonlocal before
        item = plain.to_json(described(path, caption), indent=2, ascii_only=True)
        tqdm.write(before + item.replace("\n", "\n  "), file=sys.stdout, end="")
        before = ",\n  "

    try:
        yield add
    finally:
        print("[]" if before.startswith("[") else "\n]")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("caption", DESCRIPTION, EXAMPLE)
    parser.add_argument(
        "photos", type=Path, nargs="+", metavar="PHOTO_OR_FOLDER", help="what to caption"
    )
    parser.add_argument(
        "--workdir",
        type=flags.path,
        required=True,
        metavar="DIR",
        help="the run's folder, as checkpoints/quickstart",
    )
    parser.add_argument(
        "--attention",
        type=flags.path,
        metavar="OUT",
        help="draw the words' attention here (.png, .gif)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print words, probabilities and attention as JSON"
    )
    flags.add_search(parser, batch_size=None)
    add = parser.add_argument_group(
        "sampling", "drawing the words at random instead of searching"
    ).add_argument
    add("--sample", action="store_true", help="do so; the flags below belong to it")
    add(
        "--temperature",
        type=flags.within(ranges.TEMPERATURE),
        metavar="T",
        help="below 1: more probable words more often (1)",
    )
    add(
        "--top-k",
        type=flags.within(ranges.TOP_K),
        metavar="N",
        help="draw among the N most probable words; 0: all (0)",
    )
    add(
        "--top-p",
        type=flags.within(ranges.TOP_P),
        metavar="P",
        help="draw among the fewest words that together have probability P; 1: all (1)",
    )
    add("--seed", type=flags.within(ranges.SEED), metavar="N", help="of the draws (0)")
    options = parser.parse_args(argv)
    typed = [
        f"--{name.replace('_', '-')}" for name in SAMPLING if getattr(options, name) is not None
    ]
    if typed and not options.sample:
        parser.error(f"{typed[0]} belongs to --sample, which is not there")
    if options.beam and options.sample:
        parser.error("--beam and --sample are two ways of writing a caption: choose one")
    return options


def searched(trained: Run, options: argparse.Namespace) -> Callable:
    """Returns the compiled function (params, batch) -> hypotheses that the flags ask for."""
    rules, beam = flags.rules(options, trained.config)
    if options.sample:
        typed = {name: getattr(options, name) for name in SAMPLING}
        return restore.sampling(
            trained,
            rules,
            **{name: SAMPLING[name] if x is None else x for name, x in typed.items()},
        )
    return restore.searching(trained, rules, beam)


def captioned(
    trained: Run, caption: Callable, paths: Sequence[Path | UserError], batch_size: int, drawn: bool
) -> Iterator[tuple[Photo, captions.Caption | None]]:
    """Yields each photo with its caption, in order; one that cannot be read comes with None."""
    size = min(batch_size, len(paths))
    reader = photo_files.Reader(trained.config.images.size, drawn)
    with ThreadPoolExecutor(trained.config.images.workers) as pool:

        def load(batch: int) -> list[Photo]:
            places = range(len(paths))[batch * size : (batch + 1) * size]
            return list(pool.map(lambda place: read(reader, place, paths[place]), places))

        for loaded in prefetch(load, range(-(-len(paths) // size))):
            good = [photo for photo in loaded if isinstance(photo.seen, photo_files.Seen)]
            captions = iter(write(trained, caption, good, size) if good else [])
            for photo in loaded:
                yield photo, next(captions) if isinstance(photo.seen, photo_files.Seen) else None


def read(reader: photo_files.Reader, place: int, path: Path | UserError) -> Photo:
    """Reads a photo, or keeps what is wrong with it."""
    if isinstance(path, UserError):
        return Photo(place, None, path)
    try:
        return Photo(place, path, reader(path))
    except UserError as error:
        return Photo(place, path, error)


def write(
    trained: Run, caption: Callable, good: Sequence[Photo], size: int
) -> list[captions.Caption]:
    """Captions at most `size` photos in one call, filled up so that every call has the same
    shape.
    """
    views = [photo.seen.view for photo in good]
    places = [photo.place for photo in good]
    missing = size - len(good)
    batch = {
        "images": np.stack(views + views[:1] * missing),  # [B, S, S, 3]
        "draw": np.array(places + places[:1] * missing, np.int32),  # [B]
    }
    return captions.read(caption(trained.params, batch), trained.vocabulary)[: len(good)]


def described(path: Path, caption: captions.Caption) -> dict[str, Any]:
    """Returns all that is known of a caption, for JSON."""
    return {
        "path": plain.name(path),
        "caption": " ".join(caption.words),
        "words": caption.words,
        "probabilities": [round(p, 4) for p in caption.probabilities.tolist()],
        "log_prob": round(caption.log_prob, 4),
        "attention": [[round(weight, 5) for weight in row] for row in caption.attention.tolist()],
    }


class Drawings:
    """Writes NAME.png and NAME.gif of each photo into a folder; the second NAME is NAME-2.

    Args:
      folder: made if it is not there.
      paths: of all photos; one of them that lies in the folder is not drawn over.
    """

    def __init__(self, folder: Path, paths: Sequence[Path | UserError]):
        self.folder = folder
        files = [path for path in paths if isinstance(path, Path)]
        pictures = [path for path in files if path.suffix.lower() in (".png", ".gif")]
        homes = {parent: parent.resolve() for parent in {path.parent for path in pictures}}
        inside = [path for path in pictures if homes[path.parent] == folder.resolve()]
        # Some file systems take A.png and a.png for one.
        self._taken = {_short(path).casefold() for path in inside}

    def add(self, photo: Photo, caption: captions.Caption) -> None:
        """Draws the photo under each word's attention."""
        name = self._free(_short(photo.path))
        picture = photo.seen.picture
        file = io.BytesIO()
        attention.attention_figure(picture, caption.words, caption.attention).save(file, "PNG")
        write_atomically(self.folder / f"{name}.png", file.getvalue())
        animation = attention.attention_gif(
            picture, caption.words, caption.attention, size=photo_files.PICTURE
        )
        write_atomically(self.folder / f"{name}.gif", animation)

    def _free(self, name: str) -> str:
        """Returns the name, numbered if it is taken, and takes it."""
        free, number = name, 1
        while free.casefold() in self._taken:
            number += 1
            free = f"{name}-{number}"
        self._taken.add(free.casefold())
        return free


def _short(path: Path) -> str:
    """Returns a photo's name without its kind, short enough to be numbered."""
    return plain.name(path.stem).encode()[:LONGEST_NAME].decode(errors="ignore")


if __name__ == "__main__":
    errors.exit_with(main)
