"""Flickr8k: 8,000 photos with five captions each (Hodosh et al. 2013), as published or as Kaggle
has it.
"""

import re
from functools import partial
from itertools import islice
from pathlib import Path

from jaxcap.data import locations
from jaxcap.data.parsers import flickr8k_token, kaggle_captions, named_images, numbered_lines
from jaxcap.data.source import Reading, Source, chosen
from jaxcap.data.splits import Plan, divide, plan
from jaxcap.errors import UserError
from jaxcap.io.archives import fetched

# the published archives, mirrored
URL = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
# of these archives, as the packages that fetch them from here record them (torchvision for R is
# one)
MD5 = {
    "Flickr8k_text.zip": "bf6c1abcb8e4a833b7f922104de18627",
    "Flickr8k_Dataset.zip": "f18a1e2920de5bd84dae7cf08ec78978",
}
TOKEN = "Flickr8k.token.txt"
LISTS = {
    split: f"Flickr_8k.{name}Images.txt"
    for split, name in (("train", "train"), ("val", "dev"), ("test", "test"))
}
KARPATHY = "dataset_flickr8k.json"
_GET = (
    "download it with data.download=True (1.1 GB), or name the folder that holds it with data.dir"
)


def locate(dir: str, splits: str, seed: int, download: bool) -> Source:
    """Finds Flickr8k.token.txt (or Kaggle's captions.txt), the photos and the lists.

    Args:
      dir: the folder that holds them, at most two folders deep; empty for the usual places.
      splits: published (6,000/1,000/1,000, from lists or from Karpathy's dataset_flickr8k.json; dev
        is called val here) or random.
      seed: of random splits.
      download: fetch the two archives when there are no captions or no photos.

    Returns:
      The data set, ready to be read.

    Raises:
      UserError: there are no captions, or nothing that says how the published splits are.
    """
    found = _find(dir)
    if download and (found is None or found[1] is None):
        for archive, md5 in MD5.items():
            fetched(f"{URL}/{archive}", locations.downloads("flickr8k", dir), md5=md5)
        found = _find(dir)
    if found is None:
        raise locations.not_found("flickr8k", f"{TOKEN} or captions.txt", dir, _GET)
    captions, photos, near = found
    how = plan("flickr8k", splits, seed, near, locations.roots("flickr8k", dir), LISTS, KARPATHY)
    photos = photos or captions.parent
    return Source("flickr8k", partial(read, captions, photos, how))


def read(captions: Path, photos: Path, how: Plan) -> Reading:
    """Reads the captions and splits their images.

    Args:
      captions: Flickr8k.token.txt or Kaggle's captions.txt.
      photos: the folder of the photos.
      how: the plan of the splits.

    Raises:
      UserError: a bad row, or a list of images that are not Flickr8k's.
    """
    reader = flickr8k_token if captions.name == TOKEN else kaggle_captions
    by_image, notes = reader(captions)
    splits, said = divide(how, by_image)
    return chosen(splits, by_image, photos.joinpath, notes + said)


def _find(dir: str) -> tuple[Path, Path | None, Path] | None:
    """Returns the captions, the folder of photos if there is one, and the folder that holds it
    all.
    """
    roots = locations.roots("flickr8k", dir)
    accept = Path.is_file if dir else _is_flickr8k
    captions = locations.find(roots, TOKEN) or locations.find(roots, "captions.txt", accept=accept)
    if captions is None:
        return None
    near = locations.root_of(captions, roots)
    named = named_images(captions, "#" if captions.name == TOKEN else ",")
    return captions, locations.photo_folder(near, named.__contains__), near


def _is_flickr8k(path: Path) -> bool:
    # Among Kaggle's mounts, other data sets have a captions.txt: Flickr8k's names are digits, an
    # underscore, a hash.
    try:
        first = list(islice(numbered_lines(path), 2)) if path.is_file() else []
    except UserError:
        return False
    return any(re.match(r"\d+_[0-9a-f]+\.jpg,", line) for _, line in first)
