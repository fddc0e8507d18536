"""Photos with their captions: five data sets, prepared once with TFDS, each loaded as splits by one
call.
"""

import difflib
from pathlib import Path
from typing import Any

from jaxcap.data import coco, flickr8k, flickr30k, folder, scene_captions, scenes
from jaxcap.data.prepare import prepare_splits
from jaxcap.data.source import NAMES, Reading, Source
from jaxcap.data.split import Split, summary
from jaxcap.errors import UserError
from jaxcap.io.digests import digest_bytes
from jaxcap.io.files import cache_root

__all__ = ["NAMES", "Split", "all_captions", "detect", "is_layout", "load", "summary"]


def load(
    name: str,
    *,
    dir: str = "",
    captions: str = "",
    download: bool = False,
    prepared_dir: str = "",
    splits: str = "published",
    allow_missing: bool = False,
    year: int = 2014,
    scenes: int = 2400,
    scene_size: int = 112,
    seed: int = 0,
    only: tuple[str, ...] | None = None,
) -> dict[str, Split]:
    """Loads a data set, which is prepared first unless the same photos and captions were prepared
    before.

    What is worth knowing of the raw files is printed on stderr when they are prepared, and kept in
    `Split.notes`.

    Args:
      name: flickr30k, flickr8k, coco, folder or scenes.
      dir: where the raw files lie; empty: the usual places.
      captions: folder: the file of captions, when it is not called captions.*.
      download: fetch what can be had without an account.
      prepared_dir: where prepared sets go; empty: the cache folder.
      splits: published, or random: 80/20 by image, val cut from the 80.
      allow_missing: leave images out whose photos are not there.
      year: coco: 2014 or 2017.
      scenes: scenes: how many pictures.
      scene_size: scenes: pixels a side.
      seed: of random splits and of scenes.
      only: the splits that are needed; the photos of others need not be there. None: all.

    Returns:
      The splits by name, train, val and test, as far as the raw files make them.

    Raises:
      UserError: raw files are missing or wrong, or a wanted split is not there.
    """
    root = Path(prepared_dir).expanduser() if prepared_dir else cache_root() / "prepared"
    drawn = {"scenes": scenes, "scene_size": scene_size, "seed": seed}
    source = _source(
        name, dir=dir, splits=splits, captions=captions, download=download, year=year, **drawn
    )
    return prepare_splits(source, root, allow_missing=allow_missing, only=only)


def all_captions(
    name: str,
    *,
    dir: str = "",
    captions: str = "",
    splits: str = "published",
    year: int = 2014,
    scenes: int = 2400,
    scene_size: int = 112,
    seed: int = 0,
) -> list[str]:
    """Reads every caption of a data set's raw files, also of images that are in no split or have no
    photo.

    Args:
      name: the data set; for the others see `load`.

    Returns:
      The captions, as their authors wrote them.

    Raises:
      UserError: raw files are missing or wrong.
    """
    drawn = {"scenes": scenes, "scene_size": scene_size, "seed": seed}
    reading = _source(name, dir=dir, splits=splits, captions=captions, year=year, **drawn).read()
    examples = [example for part in reading.splits.values() for example in part]
    return [caption for example in examples for caption in example.captions] + list(
        reading.left_out
    )


def detect(dir: str) -> dict[str, Any]:
    """Tells which data set's layout a folder has.

    Args:
      dir: the folder.

    Returns:
      The arguments of `load` that say so: name, and for COCO year.

    Raises:
      UserError: it has none that is known.
    """
    layouts = [{"name": "flickr8k"}, {"name": "flickr30k"}, {"name": "coco", "year": 2014}]
    for layout in (*layouts, {"name": "coco", "year": 2017}, {"name": "folder"}):
        if is_layout(**layout, dir=dir, splits="random"):
            return layout
    raise UserError(
        f"{dir}: no known layout: expected Flickr8k.token.txt or captions.txt, results.csv, "
        "captions_train*.json or captions_val*.json, or captions.csv, .tsv or .jsonl"
    )


def is_layout(name: str, **options: Any) -> bool:
    """Tells whether the raw files of data set `name` are found; for the options see `load`."""
    try:
        _source(name, **options)
    except UserError:
        return False
    return True


def _source(
    name: str,
    *,
    dir: str,
    splits: str,
    captions: str = "",
    download: bool = False,
    year: int = 2014,
    scenes: int = 0,
    scene_size: int = 0,
    seed: int = 0,
) -> Source:
    """Finds the raw files of a data set."""
    if splits not in ("published", "random"):
        raise UserError(f"data.splits={splits} is unknown: choose published or random")
    match name:
        case "flickr30k":
            return flickr30k.locate(dir, splits, seed, download)
        case "flickr8k":
            return flickr8k.locate(dir, splits, seed, download)
        case "coco":
            return coco.locate(dir, splits, year, seed, download)
        case "folder":
            return folder.locate(dir, captions, splits, seed)
        case "scenes":
            return _scenes(scenes, scene_size, seed)
    near = difflib.get_close_matches(name, NAMES, n=1)
    raise UserError(
        f"data.name={name} is unknown: "
        + (f"did you mean {near[0]}?" if near else f"one of {NAMES}")
    )


def _scenes(count: int, size: int, seed: int) -> Source:
    # What draws and words the pictures decides their content, so the code is part of the key.
    code = [digest_bytes(Path(module.__file__).read_bytes()) for module in (scenes, scene_captions)]
    key = f"{count} scenes of {size} pixels, seed {seed}, drawn by {' and '.join(code)}"
    return Source("scenes", lambda: Reading(*scenes.read(count, size, seed)), key)
