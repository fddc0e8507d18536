"""Captions photos with a trained run: `python -m jaxcap.caption --workdir DIR PHOTO_OR_FOLDER ...`."""

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jaxcap import errors, figures, images, run, samples, writers
from jaxcap.data.pipeline import ahead
from jaxcap.errors import UserError
from jaxcap.evaluation import flags
from jaxcap.files import write_atomically
from jaxcap.progress import Progress
from jaxcap.run import Run

DESCRIPTION = """Write a caption for every photo, of any size and kind; folders are searched for photos, also below.
A photo that cannot be read is named on stderr and the others go on; the exit code is then 2."""
EXAMPLE = """examples:
  python -m jaxcap.caption --workdir checkpoints/flickr8k photo.jpg folder/ --attention out/
  python -m jaxcap.caption --workdir checkpoints/flickr8k photo.jpg --sample --temperature 0.7 --top-p 0.9 --seed 1"""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SAMPLING = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 0}


class Photo(NamedTuple):
    """A photo to caption: its place among all, where it lies, and uint8 [H, W, 3] or what is wrong with it."""

    place: int
    path: Path
    pixels: np.ndarray | UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    trained = run.restore_best(options.workdir)
    caption = searched(trained, options)
    paths = list(found(options.photos))
    drawings = Drawings(options.attention) if options.attention else None
    answers, bad = [], 0
    with Progress(len(paths), "captions", "photos") as progress:
        for photo, written in captioned(trained, caption, paths, options.batch_size):
            if isinstance(photo.pixels, UserError):
                progress.say(f"error: {photo.pixels}")
                bad += 1
            elif options.json:
                answers.append(described(photo, written))
            else:
                tqdm.write(f"{photo.path}: {' '.join(written.words)}", file=sys.stdout)
            if drawings and written:
                drawings.add(photo, written)
            progress.update()
    if options.json:
        print(json.dumps(writers.plain(answers), indent=2, ensure_ascii=False, allow_nan=False))
    return 2 if bad else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("python -m jaxcap.caption", DESCRIPTION, EXAMPLE)
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO_OR_FOLDER")
    parser.add_argument("--workdir", type=Path, required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--attention", type=Path, metavar="OUT", help="draw the words' attention here (.png, .gif)")
    parser.add_argument("--json", action="store_true", help="print words, probabilities and attention as JSON")
    flags.add_search(parser)
    parser.add_argument("--sample", action="store_true", help="draw the words at random instead of searching")
    parser.add_argument("--temperature", type=float, metavar="T", help="below 1: more probable words more often (1)")
    parser.add_argument("--top-k", type=int, metavar="N", help="draw among the N most probable words; 0: all (0)")
    parser.add_argument("--top-p", type=float, metavar="P", help="draw among the words that hold the part P (1)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the draws (0)")
    options = parser.parse_args(argv)
    typed = [f"--{name.replace('_', '-')}" for name in SAMPLING if getattr(options, name) is not None]
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
        return run.sampling(trained, rules, **{name: SAMPLING[name] if x is None else x for name, x in typed.items()})
    return run.searching(trained, rules, beam)


def found(paths: Sequence[Path]) -> Iterator[Path]:
    """Yields the files among `paths`, and in the place of each folder the photos in and below it, sorted."""
    for path in paths:
        inside = [file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
        yield from sorted(inside) if inside else [path]


def captioned(
    trained: Run, caption: Callable, paths: Sequence[Path], batch_size: int
) -> Iterator[tuple[Photo, samples.Caption | None]]:
    """Yields each photo with its caption, in order; one that cannot be read comes with None."""
    size = min(batch_size, len(paths))
    with ThreadPoolExecutor(trained.config.images.workers) as pool:

        def load(batch: int) -> list[Photo]:
            places = range(len(paths))[batch * size : (batch + 1) * size]
            return list(pool.map(lambda place: Photo(place, paths[place], decoded(paths[place])), places))

        for photos in ahead(load, range(-(-len(paths) // size))):
            good = [photo for photo in photos if not isinstance(photo.pixels, UserError)]
            captions = iter(write(trained, caption, good, size) if good else [])
            yield from ((photo, next(captions) if isinstance(photo.pixels, np.ndarray) else None) for photo in photos)


def decoded(path: Path) -> np.ndarray | UserError:
    """Reads a photo, or says what is wrong with it."""
    try:
        if path.is_dir():
            return UserError(f"there is no photo in the folder {path}")
        return images.decode(path.read_bytes(), str(path))
    except OSError as error:
        return UserError(f"photo {path} cannot be read ({error.strerror})")
    except UserError as error:
        return error


def write(trained: Run, caption: Callable, photos: Sequence[Photo], size: int) -> list[samples.Caption]:
    """Captions at most `size` photos in one call, filled up so that every call has the same shape."""
    side = trained.config.images.size
    views = [images.test_view(photo.pixels, size=side) for photo in photos]
    places = [photo.place for photo in photos]
    missing = size - len(photos)
    batch = {
        "images": np.stack(views + views[:1] * missing),  # [B, S, S, 3]
        "draw": np.array(places + places[:1] * missing, np.int32),  # [B]
    }
    return samples.read(caption(trained.params, batch), trained.vocabulary)[: len(photos)]


def described(photo: Photo, caption: samples.Caption) -> dict[str, Any]:
    """Returns all that is known of a caption, for JSON."""
    return {
        "path": str(photo.path),
        "caption": " ".join(caption.words),
        "words": caption.words,
        "probabilities": [round(p, 4) for p in caption.probabilities.tolist()],
        "log_prob": round(caption.log_prob, 4),
        "attention": [[round(weight, 5) for weight in row] for row in caption.attention.tolist()],
    }


class Drawings:
    """Writes NAME.png and NAME.gif of each photo into a folder; of two photos of one name, the second is NAME-2."""

    def __init__(self, folder: Path):
        self.folder, self._taken = folder, set()
        if folder.exists() and not folder.is_dir():
            raise UserError(f"--attention {folder} is a file: name a folder, which is made if it is not there")

    def add(self, photo: Photo, caption: samples.Caption) -> None:
        """Draws the photo under each word's attention."""
        name, number = photo.path.stem, 1
        while name in self._taken:
            number += 1
            name = f"{photo.path.stem}-{number}"
        self._taken.add(name)
        file = io.BytesIO()
        figures.attention_figure(photo.pixels, caption.words, caption.attention).save(file, "PNG")
        write_atomically(self.folder / f"{name}.png", file.getvalue())
        write_atomically(
            self.folder / f"{name}.gif", figures.attention_gif(photo.pixels, caption.words, caption.attention)
        )


if __name__ == "__main__":
    errors.exit_with(main)
