"""The data sets: each is found by its own module, prepared once with TFDS, and loaded as splits.

A further data set is a module with `locate(section) -> Source`, a line in `LOCATE`, and its name in
`source.NAMES`.
"""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxcap.data import coco, flickr8k, flickr30k, folder, scenes
from jaxcap.data.checks import select_splits
from jaxcap.data.prepare import prepare_splits
from jaxcap.data.resplit import resplit
from jaxcap.data.source import NAMES, SPLITS, Section, Source, check_section, stays_whole
from jaxcap.data.split import Split
from jaxcap.data.splits import WHOLE
from jaxcap.errors import UserError
from jaxcap.io.files import cache_root

LOCATE: dict[str, Callable[[Section], Source]] = {
    "flickr30k": flickr30k.locate,
    "flickr8k": flickr8k.locate,
    "coco": coco.locate,
    "folder": folder.locate,
    "scenes": scenes.locate,
}
# In the order in which `detect` tries them; the last one takes any file called captions.*.
_LAYOUTS: tuple[dict[str, Any], ...] = (
    {"name": "flickr8k"},
    {"name": "flickr30k"},
    {"name": "coco", "year": 2014},
    {"name": "coco", "year": 2017},
    {"name": "folder"},
)


def load(section: Section, *, only: Sequence[str] | None = None) -> dict[str, Split]:
    """Loads a data set, preparing it first unless the same photos and captions were before.

    What is worth knowing of the raw files is printed on stderr when they are prepared, and kept in
    `Split.notes`.

    Args:
      section: the config's section `data`, with all of its keys.
      only: the splits that are needed; the photos of others need not be there. None: all.

    Returns:
      The splits by name, train, val and test, as far as the raw files make them.

    Raises:
      UserError: raw files are missing or wrong, or a wanted split is not there.
    """
    check_section(section)
    if stays_whole(section):
        splits = resplit(_load_whole(section), section["splits"], section["seed"])
        return select_splits(section["name"], splits, only)
    return prepare_splits(
        _locate(section), _root(section), allow_missing=section["allow_missing"], only=only
    )


def all_captions(section: Section) -> list[str]:
    """Reads every caption of the raw files, also of images in no split or without a photo.

    Where data.photos limits the photos, those of the others are left out. Nothing is downloaded.

    Args:
      section: the config's section `data`.

    Returns:
      The captions, as their authors wrote them.

    Raises:
      UserError: raw files are missing or wrong.
    """
    if section["photos"]:
        return [caption for of_image in _load_whole(section).captions for caption in of_image]
    if stays_whole(section):
        section = {**section, "splits": WHOLE}
    reading = _locate({**section, "download": False}).read()
    captions: list[str] = []
    for examples in reading.splits.values():
        for example in examples:
            captions.extend(example.captions)
    captions.extend(reading.left_out)
    return captions


def detect(directory: str) -> dict[str, Any]:
    """Tells which data set's layout a folder has.

    Args:
      directory: the folder.

    Returns:
      The keys of the section `data` that say so: name, and for COCO year.

    Raises:
      UserError: it has none that is known.
    """
    # Random splits, so that a folder counts that lacks the published lists.
    defaults = {
        "dir": directory,
        "captions": "",
        "splits": "random",
        "photos": 0,
        "seed": 0,
        "year": 2014,
    }
    for layout in _LAYOUTS:
        if is_layout({**defaults, **layout}):
            return layout
    raise UserError(
        f"{directory}: no known layout: expected Flickr8k.token.txt or captions.txt, results.csv, "
        "captions_train*.json or captions_val*.json, or captions.csv, .tsv or .jsonl"
    )


def is_layout(section: Section) -> bool:
    """Tells whether the raw files that a section `data` describes are there; downloads nothing."""
    try:
        _locate({**section, "download": False})
    except UserError:
        return False
    return True


def _load_whole(section: Section) -> Split:
    """Prepares and opens all images as one split, or the first `data.photos` of them."""
    source = _locate({**section, "splits": WHOLE})
    return prepare_splits(
        source,
        _root(section),
        allow_missing=section["allow_missing"],
        only=None,
        most=section["photos"],
    )[WHOLE]


def _root(section: Section) -> Path:
    """Returns the folder of all prepared sets."""
    return Path(section["prepared_dir"] or cache_root() / "prepared").expanduser()


def _locate(section: Section) -> Source:
    """Finds the raw files of a data set."""
    name = section["name"]
    splits = section["splits"]
    if splits not in (*SPLITS, WHOLE):
        raise UserError(f"data.splits={splits} is unknown: choose one of {', '.join(SPLITS)}")
    if name not in LOCATE:
        near = difflib.get_close_matches(name, NAMES, n=1)
        advice = f"did you mean {near[0]}?" if near else f"one of {NAMES}"
        raise UserError(f"data.name={name} is unknown: {advice}")
    return LOCATE[name](section)
