"""A user's own photos, with a csv, tsv or jsonl file of captions."""

import csv
import json
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jaxcap.data.locations import listed
from jaxcap.data.parsers import bad_row, numbered_lines, opened, sound
from jaxcap.data.photo_folders import Photos
from jaxcap.data.source import Reading, Source, chosen
from jaxcap.data.splits import SPLITS, random_note, random_splits
from jaxcap.errors import UserError
from jaxcap.text import split_words

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SPLIT_NAMES = {
    "": "",
    **{split: split for split in SPLITS},
    "dev": "val",
    "valid": "val",
    "validation": "val",
}
_PHOTO_FOLDERS = ("", "images", "Images", "photos")
# caption, caption_1, caption1, and caption.1, as programs call the second of two columns of one
# name.
_CAPTION = re.compile(r"caption[ _.-]?\d*")


class Row(NamedTuple):
    """One row of a captions file: where it stands, the image, its captions, and its split or ""."""

    number: int
    image: str
    captions: list[str]
    split: str


def locate(dir: str, captions: str, splits: str, seed: int) -> Source:
    """Finds the file of captions; photos lie beside it, in `dir`, or in a folder images or photos
    there.

    Args:
      dir: the user's folder.
      captions: the file of captions, in `dir` or anywhere; empty for the one captions.csv, .tsv or
        .jsonl in `dir`.
      splits: published (the file's column split where it has one, else random) or random.
      seed: of random splits.

    Returns:
      The data set, ready to be read.

    Raises:
      UserError: there is no such folder or file.
    """
    if not dir:
        raise UserError("folder: name the folder of your photos with data.dir")
    root = Path(dir).expanduser()
    if not root.is_dir():
        raise UserError(f"folder: data.dir={dir} is no folder: name the one that holds your photos")
    path = _captions_file(root, captions)
    return Source("folder", partial(read, path, root, splits, seed))


def read(path: Path, root: Path, splits: str, seed: int) -> Reading:
    """Reads a file of captions and splits its images.

    Args:
      path: a csv or tsv file with a header that names the columns image and caption, or several of
        them (caption_1, caption_2, ...); or a jsonl file of objects with image and caption, or
        captions (a list). A column split may name train, val or test.
      root: the folder that the images' names start from.
      splits: published or random, see `locate`.
      seed: of random splits.

    Raises:
      UserError: a bad row, with its number.
    """
    captions: dict[str, list[str]] = {}
    homes: dict[str, str] = {}
    for row in read_rows(path):
        captions.setdefault(row.image, []).extend(row.captions)
        if homes.setdefault(row.image, row.split) != row.split:
            raise bad_row(
                path,
                row.number,
                f"{row.image} is in split {homes[row.image] or 'none'!r} in a row above",
            )
    photos = Photos([root / folder for folder in _PHOTO_FOLDERS], path.parent)
    notes = [*photos.uncaptioned(captions), *_drop_wordless(captions)]
    if not captions:
        raise UserError(f"{path}: no captions in it")
    if splits == "random" or not any(homes.values()):
        if len(captions) < 3:
            raise UserError(
                f"{path}: {len(captions)} photos have captions, and 3 are the least, one each for "
                "train, val and "
                "test: add some"
            )
        return chosen(
            random_splits(captions, seed), captions, photos.find, [*notes, random_note(seed)]
        )
    divided: dict[str, list[str]] = {split: [] for split in SPLITS if split in homes.values()}
    for image in captions:
        divided[homes[image]].append(image)
    said = [*notes, f"splits: the column split of {path.name}"]
    return chosen(divided, captions, photos.find, said)


def _drop_wordless(captions: dict[str, list[str]]) -> list[str]:
    """Takes out the captions of marks alone, and the images that have no other; returns notes that
    name them.

    Whatever text.keep_punctuation says, so that the data do not depend on it: "..." describes no
    photo.
    """
    dropped, emptied = [], []
    for image, texts in list(captions.items()):
        captions[image] = [text for text in texts if split_words(text)]
        dropped += [f"{text!r} of {image}" for text in texts if not split_words(text)]
        if not captions[image]:
            del captions[image]
            emptied.append(image)
    notes = (
        [f"{len(dropped):,} captions without a word left out: {listed(dropped)}"] if dropped else []
    )
    if emptied:
        notes.append(
            f"{len(emptied):,} photos have no other caption and are left out: {listed(emptied)}"
        )
    return notes


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a captions file; images are named alike however they are written
    ("./a.jpg" is "a.jpg").

    Raises:
      UserError: a bad row, with its number (a header is row 1), or another kind of file.
    """
    with_split = None
    for number, fields in _json_rows(path) if path.suffix == ".jsonl" else _table_rows(path):
        image, texts, split = fields["image"].strip(), fields["captions"], fields["split"].strip()
        if not all(map(sound, (image, *texts))):
            raise bad_row(path, number, "half a character or a NUL byte in it (UTF-16 or binary?)")
        if not image:
            raise bad_row(path, number, "no image")
        if not texts or not all(text.strip() for text in texts):
            raise bad_row(path, number, f"{image} has an empty caption")
        if split not in _SPLIT_NAMES or with_split not in (None, bool(split)):
            raise bad_row(
                path, number, f"{split!r}, the split of {image}, is none of {', '.join(SPLITS)}"
            )
        with_split = bool(split)
        # One name for one photo: "é" may be written as one character or as two.
        image = unicodedata.normalize("NFC", posixpath.normpath(image.replace("\\", "/")))
        yield Row(number, image, [text.strip() for text in texts], _SPLIT_NAMES[split])


def _table_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """Yields the rows below the header of a csv or tsv file, each with the number of its first
    line.
    """
    with opened(path) as file:
        reader = csv.reader(file, delimiter=_DELIMITERS[path.suffix], strict=True)
        header, above = [], 0
        try:
            for row in reader:
                number, above = above + 1, reader.line_num
                if not header:
                    header = _header(path, row)
                elif row and len(row) != len(header):
                    raise bad_row(
                        path,
                        number,
                        f"{len(row)} fields under {len(header)} columns (quotes missing?)",
                    )
                elif row:
                    yield number, _fields(zip(header, row, strict=True))
        except csv.Error as error:
            raise bad_row(path, above + 1, str(error)) from error


def _header(path: Path, row: list[str]) -> list[str]:
    columns = [column.strip().lower() for column in row]
    if "image" not in columns or not any(map(_CAPTION.fullmatch, columns)):
        raise UserError(
            f"{path}, row 1: the header must name the columns image and caption; it names "
            f"{', '.join(row)}"
        )
    for column in ("image", "split"):
        if (times := columns.count(column)) > 1:
            raise UserError(f"{path}, row 1: the header names {times} columns {column}: keep one")
    return columns


def _fields(cells: Iterable[tuple[str, str]]) -> dict:
    """Gathers the cells of a row, given with their columns; of several captions some may be
    blank.
    """
    cells = list(cells)
    texts = [text for column, text in cells if _CAPTION.fullmatch(column)]
    named = dict(cells)
    written = [text for text in texts if text.strip()] if len(texts) > 1 else texts
    return {"image": named["image"], "captions": written, "split": named.get("split", "")}


def _json_rows(path: Path) -> Iterator[tuple[int, dict]]:
    for number, line in numbered_lines(path):
        try:
            row = json.loads(line, object_pairs_hook=_once)
            image, split = row["image"], row.get("split") or ""
            captions = row["captions"] if "captions" in row else [row["caption"]]
            if "captions" in row and "caption" in row:
                captions = [*captions, row["caption"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise bad_row(
                path, number, f'expected {{"image": ..., "caption": ...}} ({error})'
            ) from error
        if not isinstance(captions, list) or not all(
            isinstance(text, str) for text in (image, split, *captions)
        ):
            raise bad_row(
                path, number, "image and split must be strings, captions a list of strings"
            )
        yield number, {"image": image, "captions": captions, "split": split}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Makes the dictionary of a JSON object, of which `json` would keep the last value of a
    repeated key only.
    """
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key stands there twice: write a list, captions")
    return members


def _captions_file(root: Path, captions: str) -> Path:
    """Returns the file of captions that the user named, or the only one called captions.* in the
    folder.
    """
    suffixes = (*_DELIMITERS, ".jsonl")
    if captions:
        named = Path(captions).expanduser()
        found = [path for path in (root / named, named) if path.is_file()][:1]
    else:
        found = [path for suffix in suffixes if (path := root / f"captions{suffix}").is_file()]
    if len(found) > 1:
        raise UserError(
            f"{root} holds {' and '.join(path.name for path in found)}: name one with data.captions"
        )
    if not found:
        looked = captions or " or ".join(f"captions{suffix}" for suffix in suffixes)
        raise UserError(
            f"folder: no file {looked} in {root}: write one, or name it with data.captions"
        )
    if found[0].suffix not in suffixes:
        raise UserError(f"{found[0]}: a file of captions must be called *{', *'.join(suffixes)}")
    return found[0]
