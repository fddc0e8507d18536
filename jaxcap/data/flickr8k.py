"""Flickr8k (Hodosh et al. 2013): 8,000 photos with five captions each, also as on Kaggle."""

import re
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from jaxcap.data import locations
from jaxcap.data.parsers import (
    read_flickr8k_token,
    read_image_names,
    read_kaggle_captions,
    read_lines,
)
from jaxcap.data.source import Reading, Section, Source, make_reading
from jaxcap.data.splits import Plan, make_splits, plan_splits
from jaxcap.errors import UserError
from jaxcap.io.archives import fetch_archive

# the published archives, mirrored
URL = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
# As the packages that fetch these archives from here record them (torchvision for R is one).
MD5 = {
    "Flickr8k_text.zip": "bf6c1abcb8e4a833b7f922104de18627",
    "Flickr8k_Dataset.zip": "f18a1e2920de5bd84dae7cf08ec78978",
}
TOKEN = "Flickr8k.token.txt"
LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
KARPATHY = "dataset_flickr8k.json"
_ADVICE = (
    "download it with data.download=True (1.1 GB), or name the folder that holds it with data.dir"
)


class _Files(NamedTuple):
    """Where the files lie.

    Attributes:
      captions: Flickr8k.token.txt or Kaggle's captions.txt.
      photos: the folder of photos, if there is one.
      root: the folder that holds it all.
    """

    captions: Path
    photos: Path | None
    root: Path


def locate(section: Section) -> Source:
    """Finds Flickr8k.token.txt (or Kaggle's captions.txt), the photos and the lists.

    Args:
      section: the config's section `data`. dir is the folder that holds them, at most two folders
        deep, or empty for the usual places. splits is published (6,000/1,000/1,000, from lists or
        from Karpathy's dataset_flickr8k.json; dev is called val here) or random. download fetches
        the two archives when there are no captions or no photos.

    Returns:
      The data set, ready to be read.

    Raises:
      UserError: there are no captions, or nothing that says how the published splits are.
    """
    directory = section["dir"]
    found = _find(directory)
    if section["download"] and (found is None or found.photos is None):
        for archive, md5 in MD5.items():
            into = locations.download_folder("flickr8k", directory)
            fetch_archive(f"{URL}/{archive}", into, md5=md5)
        found = _find(directory)
    if found is None:
        raise locations.missing_error("flickr8k", f"{TOKEN} or captions.txt", directory, _ADVICE)
    roots = locations.list_roots("flickr8k", directory)
    plan = plan_splits(section, found.root, roots, LISTS, KARPATHY)
    photos = found.photos or found.captions.parent
    return Source("flickr8k", partial(read, found.captions, photos, plan))


def read(captions: Path, photos: Path, plan: Plan) -> Reading:
    """Reads the captions and splits their images.

    Args:
      captions: Flickr8k.token.txt or Kaggle's captions.txt.
      photos: the folder of the photos.
      plan: of the splits.

    Raises:
      UserError: a bad row, or a list of images that are not Flickr8k's.
    """
    if captions.name == TOKEN:
        by_image, notes = read_flickr8k_token(captions)
    else:
        by_image, notes = read_kaggle_captions(captions)
    splits, split_notes = make_splits(plan, by_image)
    return make_reading(splits, by_image, photos.joinpath, notes + split_notes)


def _find(directory: str) -> _Files | None:
    roots = locations.list_roots("flickr8k", directory)
    captions = locations.find(roots, TOKEN)
    separator = "#"
    if captions is None:
        # Of a folder that the user names, its captions.txt is meant whatever it looks like.
        accept = Path.is_file if directory else _is_flickr8k
        captions = locations.find(roots, "captions.txt", accept=accept)
        separator = ","
    if captions is None:
        return None
    root = locations.root_of(captions, roots)
    names = read_image_names(captions, separator)
    return _Files(captions, locations.find_photo_folder(root, names.__contains__), root)


def _is_flickr8k(path: Path) -> bool:
    """Tells Kaggle's captions.txt of Flickr8k from those of other data sets."""
    try:
        first = list(islice(read_lines(path), 2)) if path.is_file() else []
    except UserError:
        return False
    # Flickr8k's names are digits, an underscore, a hash.
    return any(re.match(r"\d+_[0-9a-f]+\.jpg,", line) for _, line in first)
