"""Reads the caption files that data sets were published in, tolerant of their known defects.

Every reader returns the captions by image name, in the file's order, as their authors wrote them.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from jaxcap.errors import UserError

CaptionsByImage = dict[str, list[str]]

_RESULTS_HEADER = ["image_name", "comment_number", "comment"]
# Flickr30k's one malformed row: a separator is missing between the number 4 and its comment.
_MALFORMED = re.compile(r"(?P<image>2199200615\.jpg)\|?\s*(?P<number>4)[\s|]\s*(?P<caption>.*\S)")
_SURROGATES = re.compile(r"[\ud800-\udfff]")  # half a character, which JSON may spell out
_TOKEN_ROW = re.compile(r"(?P<image>\S+)#\d+(?P<gap>[\t ])\s*(?P<caption>.*\S)")
# Flickr8k.token.txt has captions of a photo called NAME.jpg.1, which was never published.
_UNPUBLISHED = re.compile(r"\.\w+\.\d+$")


class KarpathyImage(NamedTuple):
    """One image of a `dataset_NAME.json`; `split` is train (also for restval), val or test."""

    filename: str
    cocoid: int | None
    split: str
    captions: list[str]


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Opens a text file, with or without a byte order mark, line ends kept as they are.

    Raises:
      UserError: the file cannot be read or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason}): save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the number (from 1) and text of each line that is not blank, without line ends.

    Raises:
      UserError: the file is not UTF-8, or a row holds a NUL byte.
    """
    with open_text(path) as file:
        for row, line in enumerate(file, start=1):
            if "\0" in line:
                raise row_error(path, row, "a NUL byte in it (UTF-16 or binary?)")
            if line.strip():
                yield row, line.rstrip("\r\n")


def is_clean(text: str) -> bool:
    """Tells whether text can be written as UTF-8: no NUL bytes and no surrogates."""
    return "\0" not in text and not _SURROGATES.search(text)


def row_error(path: Path, row: int, why: str) -> UserError:
    """Returns the one line for a row that cannot be read."""
    return UserError(f"{path}, row {row}: {why}: correct or remove the row")


def read_image_names(path: Path, separator: str) -> set[str]:
    """Returns the names of the captioned images: what stands before `separator` in each row.

    Much faster than to read the captions, and enough to tell where the photos lie.
    """
    return {line.partition(separator)[0].strip() for _, line in read_lines(path)}


def is_results_header(line: str) -> bool:
    """Tells whether `line` is the header of Flickr30k's results.csv."""
    return [column.strip() for column in line.split("|")] == _RESULTS_HEADER


def read_flickr30k_results(path: Path) -> tuple[CaptionsByImage, list[str]]:
    """Reads Flickr30k's results.csv: `image_name| comment_number| comment`, without quoting.

    Args:
      path: the file.

    Returns:
      The captions, and a note on the one malformed row of the published file when it is met and
      repaired.

    Raises:
      UserError: any other bad row, with its number.
    """
    captions: CaptionsByImage = {}
    notes = []
    for row, line in read_lines(path):
        if row == 1 and is_results_header(line):
            continue
        fields = [field.strip() for field in line.split("|", 2)]
        repaired = _MALFORMED.fullmatch(line.strip()) if len(fields) != 3 else None
        if repaired:
            fields = [repaired["image"], repaired["number"], repaired["caption"]]
            notes.append(
                f"{path.name}: 1 malformed row repaired: {fields[0]}, comment {fields[1]} (row "
                f"{row})"
            )
        if len(fields) != 3 or not fields[0] or not fields[1].isdecimal() or not fields[2]:
            raise row_error(
                path, row, f"expected `image| number| comment`, found {line.strip()[:80]!r}"
            )
        captions.setdefault(fields[0], []).append(fields[2])
    return captions, notes


def read_flickr8k_token(path: Path) -> tuple[CaptionsByImage, list[str]]:
    """Reads Flickr8k.token.txt: `image#number`, a tab, the caption.

    Args:
      path: the file.

    Returns:
      The captions, and notes on the rows that have a space for the tab and on the rows of a photo
      that was never published (its name ends in .jpg.1), which are left out.

    Raises:
      UserError: a row of another form, with its number.
    """
    captions: CaptionsByImage = {}
    unpublished: CaptionsByImage = {}
    spaced = 0
    for row, line in read_lines(path):
        found = _TOKEN_ROW.fullmatch(line)
        if not found:
            raise row_error(
                path, row, f"expected `image#number<tab>caption`, found {line.strip()[:80]!r}"
            )
        if found["gap"] == " ":
            spaced += 1
        into = unpublished if _UNPUBLISHED.search(found["image"]) else captions
        into.setdefault(found["image"], []).append(found["caption"])
    notes = []
    if spaced:
        notes.append(f"{path.name}: {spaced:,} rows have a space for the tab")
    for image, rows in unpublished.items():
        notes.append(
            f"{path.name}: {len(rows)} captions of {image} left out: there is no such photo"
        )
    return captions, notes


def read_kaggle_captions(path: Path) -> tuple[CaptionsByImage, list[str]]:
    """Reads Kaggle's captions.txt of Flickr8k: `image,caption`, quoted where it holds a comma.

    Each line is a row: a quotation mark that is never closed cannot swallow the rows after it.

    Raises:
      UserError: a row without a comma, a name or a caption, with its number.
    """
    captions: CaptionsByImage = {}
    for row, line in read_lines(path):
        image, _, caption = (field.strip() for field in line.partition(","))
        if row == 1 and (image, caption) == ("image", "caption"):
            continue
        caption = _unquote(caption)
        if not image or not caption:
            raise row_error(path, row, f"expected `image,caption`, found {line.strip()[:80]!r}")
        captions.setdefault(image, []).append(caption)
    return captions, []


def read_coco_annotations(path: Path) -> CaptionsByImage:
    """Reads COCO's captions_*.json; images without captions do not appear.

    Images stand in the order in which their first annotations come, for "the first 2,000 photos" of
    systems that read the file so.

    Raises:
      UserError: the file is cut off, or is not a COCO captions file.
    """
    content = _read_json(path)
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        captions: CaptionsByImage = {}
        for annotation in content["annotations"]:
            text = _check_text(annotation["caption"])
            captions.setdefault(names[annotation["image_id"]], []).append(text)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path}: not a file of COCO captions ({error!r}): get captions_*.json again"
        ) from error
    return captions


def read_karpathy(path: Path) -> list[KarpathyImage]:
    """Reads a dataset_NAME.json of Karpathy and Li 2015 (arXiv:1412.2306).

    Raises:
      UserError: the file is cut off, or is not one of theirs.
    """
    content = _read_json(path)
    try:
        return [_parse_karpathy(image) for image in content["images"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path}: not a file of Karpathy's splits ({error!r}): get it again"
        ) from error


def _parse_karpathy(image: dict[str, Any]) -> KarpathyImage:
    captions = [_check_text(sentence["raw"]) for sentence in image["sentences"]]
    # restval: COCO's validation photos that Karpathy adds to the training ones.
    split = "train" if image["split"] == "restval" else image["split"]
    return KarpathyImage(image["filename"], image.get("cocoid"), split, captions)


def _check_text(caption: str) -> str:
    if not is_clean(caption):
        raise ValueError("half a character or a NUL byte in a caption")
    return caption.strip()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON, perhaps cut off ({error}): get it again") from error


def _unquote(field: str) -> str:
    """Undoes a csv writer's quoting of one field; other quotation marks stay."""
    if len(field) > 1 and field[0] == field[-1] == '"' and '"' not in field[1:-1].replace('""', ""):
        return field[1:-1].replace('""', '"').strip()
    return field
