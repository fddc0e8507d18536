"""A data set before it is prepared: its files, how to read them, and the examples they hold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxcap.errors import UserError
from jaxcap.io.plain import list_some

# Every value of data.name. They stand here because this module imports no TFDS, which takes
# seconds; `datasets.LOCATE` says how each is found.
NAMES = ("flickr30k", "flickr8k", "coco", "folder", "scenes")

# Raise it whenever prepared sets are to be written otherwise than before: they are then made anew.
VERSION = "2.0.0"

Section = Mapping[str, Any]  # the config's section `data`
# How the raw files are split into train, val and test, see `splits`.
SPLITS = ("published", "random", "random_test", "pairs")


def check_section(section: Section) -> None:
    """Makes sure that the data set knows these splits.

    Raises:
      UserError: it does not.
    """
    splits = section["splits"]
    photos = section["photos"]
    if section["name"] == "scenes" and splits not in ("published", "random"):
        raise UserError(
            f"data.splits={splits}: scenes are rendered with splits of their own: set published"
        )
    if section["name"] == "scenes" and photos:
        raise UserError(f"data.photos={photos}: scenes are counted by data.scenes: set it to 0")
    if splits == "published" and photos:
        raise UserError(
            f"data.photos={photos} limits photos that are split here, and data.splits=published "
            "takes the published lists whole: set data.splits=random"
        )


def stays_whole(section: Section) -> bool:
    """Tells whether a data set is prepared as one set, and split when it is loaded."""
    return section["splits"] in ("random_test", "pairs") or section["photos"] > 0


@dataclass(frozen=True)
class Example:
    """A photo with its captions.

    Attributes:
      id: the image's name, unique in the data set.
      photo: the file, or its encoded bytes (JPEG, PNG, ...).
      captions: the captions as their authors wrote them.
      objects: what is in the picture, when it is known: dicts of shape, colour and size (strings)
        and box (y0, x0, y1, x1), each in 0..1.
    """

    id: str
    photo: Path | bytes
    captions: tuple[str, ...]
    objects: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Reading:
    """What was read from a data set's raw files.

    Attributes:
      splits: the examples of each split.
      notes: what the user should know, in plain words.
      left_out: the captions of images that are in no split.
    """

    splits: dict[str, list[Example]]
    notes: list[str]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A data set whose files have been found.

    Attributes:
      name: the data set.
      read: reads the captions and says where each photo lies.
      key: of a set that is rendered and not read: what decides its content, so that it need not be
        rendered to be found again. Empty for sets that are read from files.
    """

    name: str
    read: Callable[[], Reading]
    key: str = ""


def make_reading(
    splits: Mapping[str, Sequence[str]],
    captions: Mapping[str, Sequence[str]],
    find_photo: Callable[[str], Path],
    notes: Sequence[str] = (),
) -> Reading:
    """Makes the examples of the images that the splits name.

    Args:
      splits: image names by split.
      captions: captions by image name.
      find_photo: says where an image's photo lies.
      notes: what reading the files brought to light.

    Returns:
      The examples, with one more note when captioned images are in no split.

    Raises:
      UserError: a split names images that have no captions.
    """
    examples: dict[str, list[Example]] = {}
    for split, names in splits.items():
        without = [name for name in names if not captions.get(name)]
        if without:
            raise UserError(
                f"{len(without):,} of the {len(names):,} images of {split} have no captions "
                f"({list_some(without)}): "
                "the list of images and the file of captions do not belong together"
            )
        examples[split] = [Example(name, find_photo(name), tuple(captions[name])) for name in names]
    in_splits = {example.id for part in examples.values() for example in part}
    others = [name for name in captions if name not in in_splits]
    left_out = tuple(caption for name in others for caption in captions[name])
    all_notes = list(notes)
    if others:
        all_notes.append(f"{len(others):,} captioned images are in no split")
    return Reading(examples, all_notes, left_out)


def photo_sizes(examples: Sequence[Example]) -> list[int]:
    """Returns each photo's size in bytes; 0 for one that is gone, which `read_photo` reports."""
    sizes = []
    for example in examples:
        if isinstance(example.photo, bytes):
            sizes.append(len(example.photo))
        else:
            sizes.append(example.photo.stat().st_size if example.photo.exists() else 0)
    return sizes


def read_photo(example: Example) -> bytes:
    """Returns the encoded bytes of an example's photo.

    Raises:
      UserError: the file cannot be read.
    """
    if isinstance(example.photo, bytes):
        return example.photo
    try:
        return example.photo.read_bytes()
    except OSError as error:
        raise UserError(f"{example.photo}: cannot be read ({error.strerror})") from error
