"""A user's own photos, with a csv, tsv or jsonl file of captions."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from jaxcap.data.caption_tables import SUFFIXES, read_rows
from jaxcap.data.parsers import CaptionsByImage, row_error
from jaxcap.data.photo_folders import PhotoFinder
from jaxcap.data.source import Reading, Section, Source, make_reading
from jaxcap.data.splits import (
    SPLITS,
    WHOLE,
    NamesBySplit,
    describe_random,
    keep_whole,
    random_splits,
)
from jaxcap.errors import UserError
from jaxcap.io.plain import list_some
from jaxcap.text import split_words

_PHOTO_FOLDERS = ("", "images", "Images", "photos")


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
    if section["splits"] == WHOLE:
        splits = keep_whole(captions)
    elif section["splits"] == "random" or not any(split_of.values()):
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


def _find_captions_file(root: Path, captions: str) -> Path:
    """Returns the captions file that the user named, or the only captions.* in the folder."""
    if captions:
        named = Path(captions).expanduser()
        candidates = [root / named, named]
    else:
        candidates = [root / f"captions{suffix}" for suffix in SUFFIXES]
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
    if found[0].suffix not in SUFFIXES:
        raise UserError(f"{found[0]}: a file of captions must be called *{', *'.join(SUFFIXES)}")
    return found[0]
