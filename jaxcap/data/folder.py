"""A user's own photos, with a csv, tsv or jsonl file of captions."""

import csv
import json
import posixpath
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jaxcap.data.captions_files import bad_row, numbered_lines, opened
from jaxcap.data.source import Reading, Source, chosen
from jaxcap.data.splitting import SPLITS, random_note, random_splits
from jaxcap.errors import UserError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SPLIT_NAMES = {"": "", **{split: split for split in SPLITS}, "dev": "val", "valid": "val", "validation": "val"}
_PHOTO_FOLDERS = ("", "images", "Images", "photos")


class Row(NamedTuple):
    """One row of a captions file: where it stands, the image, its captions, and its split or ""."""

    number: int
    image: str
    captions: list[str]
    split: str


def locate(dir: str, captions: str, splits: str, seed: int) -> Source:
    """Finds the file of captions; photos lie beside it, in `dir`, or in a folder images or photos there.

    Args:
      dir: the user's folder.
      captions: the file of captions, in `dir` or anywhere; empty for the one captions.csv, .tsv or .jsonl in `dir`.
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
      path: a csv or tsv file with a header that names the columns image and caption, one caption a row; or a jsonl
        file of objects with image and caption, or captions (a list). A column split may name train, val or test.
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
            raise bad_row(path, row.number, f"{row.image} is in split {homes[row.image] or 'none'!r} in a row above")
    if not captions:
        raise UserError(f"{path}: no captions in it")
    if splits == "random" or not any(homes.values()):
        return chosen(random_splits(captions, seed), captions, partial(_photo, path, root), [random_note(seed)])
    divided: dict[str, list[str]] = {split: [] for split in SPLITS if split in homes.values()}
    for image, split in homes.items():
        divided[split].append(image)
    return chosen(divided, captions, partial(_photo, path, root), [f"splits: the column split of {path.name}"])


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a captions file; images are named alike however they are written ("./a.jpg" is "a.jpg").

    Raises:
      UserError: a bad row, with its number (a header is row 1), or another kind of file.
    """
    with_split = None
    for number, fields in _json_rows(path) if path.suffix == ".jsonl" else _table_rows(path):
        image, texts, split = fields["image"].strip(), fields["captions"], fields["split"].strip()
        if not image:
            raise bad_row(path, number, "no image")
        if not texts or not all(text.strip() for text in texts):
            raise bad_row(path, number, f"{image} has an empty caption")
        if split not in _SPLIT_NAMES or with_split not in (None, bool(split)):
            raise bad_row(path, number, f"{split!r}, the split of {image}, is none of {', '.join(SPLITS)}")
        with_split = bool(split)
        image = posixpath.normpath(image.replace("\\", "/"))
        yield Row(number, image, [text.strip() for text in texts], _SPLIT_NAMES[split])


def _table_rows(path: Path) -> Iterator[tuple[int, dict]]:
    """Yields the rows below the header of a csv or tsv file, each with the number of its first line."""
    with opened(path) as file:
        reader = csv.reader(file, delimiter=_DELIMITERS[path.suffix], strict=True)
        header, above = [], 0
        try:
            for row in reader:
                number, above = above + 1, reader.line_num
                if not header:
                    header = _header(path, row)
                elif row and len(row) != len(header):
                    raise bad_row(path, number, f"{len(row)} fields under {len(header)} columns (quotes missing?)")
                elif row:
                    fields = dict(zip(header, row, strict=True))
                    yield (
                        number,
                        {"image": fields["image"], "captions": [fields["caption"]], "split": fields.get("split", "")},
                    )
        except csv.Error as error:
            raise bad_row(path, above + 1, str(error)) from error


def _header(path: Path, row: list[str]) -> list[str]:
    columns = [column.strip().lower() for column in row]
    if not {"image", "caption"} <= set(columns):
        raise UserError(f"{path}, row 1: the header must name the columns image and caption; it names {', '.join(row)}")
    return columns


def _json_rows(path: Path) -> Iterator[tuple[int, dict]]:
    for number, line in numbered_lines(path):
        try:
            row = json.loads(line)
            image, split = row["image"], row.get("split") or ""
            captions = row["captions"] if "captions" in row else [row["caption"]]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise bad_row(path, number, f'expected {{"image": ..., "caption": ...}} ({error})') from error
        if not isinstance(captions, list) or not all(isinstance(text, str) for text in (image, split, *captions)):
            raise bad_row(path, number, "image and split must be strings, captions a list of strings")
        yield number, {"image": image, "captions": captions, "split": split}


def _captions_file(root: Path, captions: str) -> Path:
    """Returns the file of captions that the user named, or the only one called captions.* in the folder."""
    suffixes = (*_DELIMITERS, ".jsonl")
    if captions:
        named = Path(captions).expanduser()
        found = [path for path in (root / named, named) if path.is_file()][:1]
    else:
        found = [path for suffix in suffixes if (path := root / f"captions{suffix}").is_file()]
    if len(found) > 1:
        raise UserError(f"{root} holds {' and '.join(path.name for path in found)}: name one with data.captions")
    if not found:
        looked = captions or " or ".join(f"captions{suffix}" for suffix in suffixes)
        raise UserError(f"folder: no file {looked} in {root}: write one, or name it with data.captions")
    if found[0].suffix not in suffixes:
        raise UserError(f"{found[0]}: a file of captions must be called *{', *'.join(suffixes)}")
    return found[0]


def _photo(path: Path, root: Path, image: str) -> Path:
    """Returns where a photo lies: below the user's folder, a folder of photos in it, or beside the captions."""
    places = [*(root / folder / image for folder in _PHOTO_FOLDERS), path.parent / image]
    return next((place for place in places if place.is_file()), places[0])
