"""A user's table of captions: csv or tsv with a header, or jsonl, read row by row.

Every row is checked, and the first bad one ends the reading with its number.
"""

import csv
import json
import posixpath
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxcap.data.parsers import is_clean, open_text, read_lines, row_error
from jaxcap.data.splits import SPLITS
from jaxcap.errors import UserError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
SUFFIXES = (*_DELIMITERS, ".jsonl")
_SPLIT_NAMES = {
    "": "",
    "train": "train",
    "val": "val",
    "test": "test",
    "dev": "val",
    "valid": "val",
    "validation": "val",
}
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
