"""A user's own photos, with a csv, tsv or jsonl file of captions."""

import csv
import json
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxcap.data.parsers import CaptionsByImage, is_clean, open_text, read_lines, row_error
from jaxcap.data.photo_folders import PhotoFinder
from jaxcap.data.source import Reading, Section, Source, make_reading
from jaxcap.data.splits import SPLITS, NamesBySplit, describe_random, random_splits
from jaxcap.errors import UserError
from jaxcap.io.plain import list_some
from jaxcap.text import split_words

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SUFFIXES = (*_DELIMITERS, ".jsonl")
_SPLIT_NAMES = {
    "": "",
    "train": "train",
    "val": "val",
    "test": "test",
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


class _Fields(NamedTuple):
    """A row as it was written."""

    image: str
    captions: list[str]
    split: str


def locate(section: Section) -> Source:
    """Finds the captions file; photos lie beside it, in the folder, or in images or photos there.

    Args:
      section: the config's section `data`. dir is the user's folder. captions is the file of
        captions, in dir or anywhere, or empty for the one captions.csv, .tsv or .jsonl in dir.
        splits is published (the file's column split where it has one, else random) or random.

    Returns:
      The data set, ready to be read.

    Raises:
      UserError: there is no such folder or file.
    """
    directory = section["dir"]
    if not directory:
        raise UserError("folder: name the folder of your photos with data.dir")
    root = Path(directory).expanduser()
    if not root.is_dir():
        raise UserError(
            f"folder: data.dir={directory} is no folder: name the one that holds your photos"
        )
    path = _find_captions_file(root, section["captions"])
    return Source("folder", partial(read, section, path, root))


def read(section: Section, path: Path, root: Path) -> Reading:
    """Reads a file of captions and splits its images.

    Args:
      section: the config's section `data`: splits and seed count here, see `locate`.
      path: a csv or tsv file with a header that names the columns image and caption, or several of
        them (caption_1, caption_2, ...); or a jsonl file of objects with image and caption, or
        captions (a list). A column split may name train, val or test.
      root: the folder that the images' names start from.

    Raises:
      UserError: a bad row, with its number.
    """
    captions: CaptionsByImage = {}
    split_of: dict[str, str] = {}
    for row in read_rows(path):
        captions.setdefault(row.image, []).extend(row.captions)
        above = split_of.setdefault(row.image, row.split)
        if above != row.split:
            raise row_error(
                path, row.number, f"{row.image} is in split {above or 'none'!r} in a row above"
            )
    photos = PhotoFinder([root / folder for folder in _PHOTO_FOLDERS], path.parent)
    notes = [*photos.note_uncaptioned(captions), *_drop_wordless(captions)]
    if not captions:
        raise UserError(f"{path}: no captions in it")
    if section["splits"] == "random" or not any(split_of.values()):
        if len(captions) < 3:
            raise UserError(
                f"{path}: {len(captions)} photos have captions, and 3 are the least, one each for "
                "train, val and test: add some"
            )
        splits = random_splits(captions, section["seed"])
        notes.append(describe_random(section["seed"]))
    else:
        splits = _split_by_column(captions, split_of)
        notes.append(f"splits: the column split of {path.name}")
    return make_reading(splits, captions, photos.find, notes)


def _split_by_column(images: Iterable[str], split_of: dict[str, str]) -> NamesBySplit:
    used = set(split_of.values())
    splits: NamesBySplit = {split: [] for split in SPLITS if split in used}
    for image in images:
        splits[split_of[image]].append(image)
    return splits


def _drop_wordless(captions: CaptionsByImage) -> list[str]:
    """Drops the captions of marks alone, and the images that have no other; notes name them.

    Whatever text.keep_punctuation says, so that the data do not depend on it: "..." describes no
    photo.
    """
    dropped = []
    emptied = []
    for image, texts in list(captions.items()):
        captions[image] = []
        for text in texts:
            if split_words(text):
                captions[image].append(text)
            else:
                dropped.append(f"{text!r} of {image}")
        if not captions[image]:
            del captions[image]
            emptied.append(image)
    notes = []
    if dropped:
        notes.append(f"{len(dropped):,} captions without a word left out: {list_some(dropped)}")
    if emptied:
        notes.append(
            f"{len(emptied):,} photos have no other caption and are left out: {list_some(emptied)}"
        )
    return notes


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a captions file, with images in one spelling ("./a.jpg" is "a.jpg").

    Raises:
      UserError: a bad row, with its number (a header is row 1), or another kind of file.
    """
    rows = _read_json_rows(path) if path.suffix == ".jsonl" else _read_table_rows(path)
    with_split = None
    for number, fields in rows:
        image = fields.image.strip()
        split = fields.split.strip()
        if not all(is_clean(text) for text in (image, *fields.captions)):
            raise row_error(
                path, number, "half a character or a NUL byte in it (UTF-16 or binary?)"
            )
        if not image:
            raise row_error(path, number, "no image")
        captions = [text.strip() for text in fields.captions]
        if not captions or not all(captions):
            raise row_error(path, number, f"{image} has an empty caption")
        # Either every row names its split or none does.
        if split not in _SPLIT_NAMES or with_split not in (None, bool(split)):
            raise row_error(
                path, number, f"{split!r}, the split of {image}, is none of {', '.join(SPLITS)}"
            )
        with_split = bool(split)
        # One name for one photo: "é" may be written as one character or as two.
        image = unicodedata.normalize("NFC", posixpath.normpath(image.replace("\\", "/")))
        yield Row(number, image, captions, _SPLIT_NAMES[split])


def _read_table_rows(path: Path) -> Iterator[tuple[int, _Fields]]:
    """Yields the rows below the header of a csv or tsv file, each with its first line's number."""
    with open_text(path) as file:
        reader = csv.reader(file, delimiter=_DELIMITERS[path.suffix], strict=True)
        header: list[str] = []
        lines_read = 0
        try:
            for row in reader:
                number = lines_read + 1
                lines_read = reader.line_num
                if not header:
                    header = _check_header(path, row)
                elif row and len(row) != len(header):
                    raise row_error(
                        path,
                        number,
                        f"{len(row)} fields under {len(header)} columns (quotes missing?)",
                    )
                elif row:
                    yield number, _gather_fields(header, row)
        except csv.Error as error:
            raise row_error(path, lines_read + 1, str(error)) from error


def _check_header(path: Path, row: list[str]) -> list[str]:
    """Returns the names of the columns, image and caption among them."""
    columns = [column.strip().lower() for column in row]
    if "image" not in columns or not any(_CAPTION.fullmatch(column) for column in columns):
        raise UserError(
            f"{path}, row 1: the header must name the columns image and caption; it names "
            f"{', '.join(row)}"
        )
    for column in ("image", "split"):
        times = columns.count(column)
        if times > 1:
            raise UserError(f"{path}, row 1: the header names {times} columns {column}: keep one")
    return columns


def _gather_fields(header: list[str], row: list[str]) -> _Fields:
    """Gathers the cells of a row; of several captions some may be blank."""
    cells = list(zip(header, row, strict=True))
    captions = [text for column, text in cells if _CAPTION.fullmatch(column)]
    if len(captions) > 1:
        captions = [text for text in captions if text.strip()]
    by_column = dict(cells)
    return _Fields(by_column["image"], captions, by_column.get("split", ""))


def _read_json_rows(path: Path) -> Iterator[tuple[int, _Fields]]:
    """Yields the lines of a jsonl file with their numbers."""
    for number, line in read_lines(path):
        try:
            row = json.loads(line, object_pairs_hook=_refuse_repeated_keys)
            image = row["image"]
            split = row.get("split") or ""
            captions = row["captions"] if "captions" in row else [row["caption"]]
            if "captions" in row and "caption" in row:
                captions = [*captions, row["caption"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise row_error(
                path, number, f'expected {{"image": ..., "caption": ...}} ({error})'
            ) from error
        if not isinstance(captions, list) or not all(
            isinstance(text, str) for text in (image, split, *captions)
        ):
            raise row_error(
                path, number, "image and split must be strings, captions a list of strings"
            )
        yield number, _Fields(image, captions, split)


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes the dict of a JSON object; `json` would keep the last value of a repeated key."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key stands there twice: write a list, captions")
    return members


def _find_captions_file(root: Path, captions: str) -> Path:
    """Returns the captions file that the user named, or the only captions.* in the folder."""
    if captions:
        named = Path(captions).expanduser()
        candidates = [root / named, named]
    else:
        candidates = [root / f"captions{suffix}" for suffix in _SUFFIXES]
    found = [path for path in candidates if path.is_file()]
    if not found:
        looked = captions or " or ".join(path.name for path in candidates)
        raise UserError(
            f"folder: no file {looked} in {root}: write one, or name it with data.captions"
        )
    if len(found) > 1 and not captions:
        raise UserError(
            f"{root} holds {' and '.join(path.name for path in found)}: name one with data.captions"
        )
    if found[0].suffix not in _SUFFIXES:
        raise UserError(f"{found[0]}: a file of captions must be called *{', *'.join(_SUFFIXES)}")
    return found[0]
