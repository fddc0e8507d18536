"""COCO captions (Chen et al. 2015, arXiv:1504.00325): 123,287 photos with five captions or more.

Splits "published" are Karpathy's, which papers report (113,287/5,000/5,000, his restval counting as
train), wherever his dataset_coco.json lies beside the data; the files of 2017 hold the same photos
and are split by it as well. Without it they are COCO's own: val is cut off the training photos, the
same for everybody, and COCO's validation photos are the test split.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from jaxcap.data import locations
from jaxcap.data.parsers import KarpathyImage, read_coco_annotations, read_karpathy
from jaxcap.data.source import Reading, Section, Source, make_reading
from jaxcap.data.splits import (
    WHOLE,
    NamesBySplit,
    describe_random,
    karpathy_splits,
    keep_whole,
    random_splits,
    split_off,
)
from jaxcap.errors import UserError
from jaxcap.io.archives import fetch_archive

URL = "http://images.cocodataset.org"
KARPATHY_URL = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
KARPATHY = "dataset_coco.json"
# As TensorFlow Datasets records them.
SHA256 = {
    "annotations_trainval2014.zip": (
        "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009"
    ),
    "annotations_trainval2017.zip": (
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268"
    ),
    "train2014.zip": "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    "val2014.zip": "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    "train2017.zip": "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    "val2017.zip": "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    "caption_datasets.zip": "4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817",
}
# How the photos are called in the files of each year.
PHOTO_NAMES = {
    2014: re.compile(r"COCO_(train|val)2014_\d{12}\.jpg"),
    2017: re.compile(r"\d{12}\.jpg"),
}
PARTS = ("train", "val")  # that COCO published with captions
# Photos cut off the training part for COCO's own splits, or a tenth of it where that is less.
_VAL_PHOTOS = 5000
_ADVICE = (
    "download it with data.download=True (20 GB), or name the folder that holds annotations/ with "
    "data.dir"
)


def locate(section: Section) -> Source:
    """Finds captions_{train,val}YEAR.json or Karpathy's file, and the folders of photos.

    Args:
      section: the config's section `data`. dir is the folder that holds them, at most two folders
        deep, or empty for the usual places. splits is published (see above) or random. year is
        2014 or 2017: whose files and photo names. download fetches what is not there: photos, and
        Karpathy's file for the published splits of 2014, else COCO's annotations.

    Returns:
      The data set, ready to be read.

    Raises:
      UserError: another year, or there are no captions.
    """
    directory = section["dir"]
    year = section["year"]
    if year not in PHOTO_NAMES:
        raise UserError(f"data.year={year}: COCO's captions are of 2014 or 2017")
    if section["download"]:
        _download(section)
    roots = locations.list_roots("coco", directory)
    annotations = {}
    for part in PARTS:
        path = locations.find(roots, f"captions_{part}{year}.json")
        if path:
            annotations[part] = path
    karpathy = None
    if section["splits"] == "published" or not annotations:
        karpathy = locations.find(roots, KARPATHY)
    files = [karpathy] if karpathy else list(annotations.values())
    if not files:
        what = f"captions_train{year}.json, captions_val{year}.json or {KARPATHY}"
        raise locations.missing_error("coco", what, directory, _ADVICE)
    folders = _find_photo_folders(roots, year)
    if not folders:
        root = locations.root_of(files[0], roots)
        photos = locations.find_photo_folder(root, PHOTO_NAMES[year].fullmatch)
        folders = [photos or files[0].parent]
    return Source("coco", partial(read, section, annotations, karpathy, folders))


def read(
    section: Section,
    annotations: Mapping[str, Path],
    karpathy: Path | None,
    folders: Sequence[Path],
) -> Reading:
    """Reads the captions and splits their images.

    Args:
      section: the config's section `data`: splits, seed and year count here.
      annotations: captions_*.json of the parts train and val, those that are there.
      karpathy: his dataset_coco.json, whose captions are the same; read instead where it is given.
      folders: of photos.

    Raises:
      UserError: a file is cut off or of another kind.
    """
    year = section["year"]
    captions: dict[str, list[str]] = {}
    if karpathy:
        images = [_name_as_in(year, image, karpathy) for image in read_karpathy(karpathy)]
        for image in images:
            captions[image.filename] = image.captions
        splits = karpathy_splits(images)
        notes = [f"splits: Karpathy's ({karpathy.name})"]
    else:
        parts = {}
        for part, path in annotations.items():
            of_part = read_coco_annotations(path)
            captions.update(of_part)
            parts[part] = list(of_part)
        splits, notes = _split_by_parts(parts, year)
    if section["splits"] == "random":
        splits = random_splits(captions, section["seed"])
        notes = [describe_random(section["seed"])]
    if section["splits"] == WHOLE:
        splits = keep_whole(captions)
        notes = []
    return make_reading(splits, captions, partial(_find_photo, folders), notes)


def _split_by_parts(parts: Mapping[str, list[str]], year: int) -> tuple[NamesBySplit, list[str]]:
    """Splits by COCO's own parts, whose val becomes test, so that no choice is made by it."""
    splits: NamesBySplit = {}
    why = f"splits: COCO's own of {year}, for want of {KARPATHY}"
    notes = [f"{why}: scores do not compare with those on Karpathy's"]
    if "train" in parts:
        count = min(_VAL_PHOTOS, max(1, len(parts["train"]) // 10))
        splits["train"], splits["val"] = split_off(parts["train"], count, "coco")
        notes.append(
            f"splits: val is {count:,} photos cut off train{year}, the same whatever the seed"
        )
    else:
        notes.append(f"splits: no captions_train{year}.json, so no train and no val")
    if "val" in parts:
        splits["test"] = parts["val"]
        notes.append(f"splits: test is val{year}")
    else:
        notes.append(f"splits: no captions_val{year}.json, so no test")
    return splits, notes


def _name_as_in(year: int, image: KarpathyImage, path: Path) -> KarpathyImage:
    """Names an image as the files of `year` name its photo; Karpathy's names are those of 2014."""
    if image.cocoid is None:
        raise UserError(
            f"{path}: not COCO's splits, since {image.filename} has no cocoid: get it again"
        )
    if year == 2014:
        return image
    return image._replace(filename=f"{image.cocoid:012d}.jpg")


def _find_photo(folders: Sequence[Path], name: str) -> Path:
    """Returns where a photo lies; where it lies nowhere, where it should."""
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    return folders[0] / name


def _find_photo_folders(roots: Sequence[Path], year: int) -> list[Path]:
    folders = [_find_photos_of(roots, f"{part}{year}", year) for part in PARTS]
    return [folder for folder in folders if folder]


def _find_photos_of(roots: Sequence[Path], part: str, year: int) -> Path | None:
    """Returns the folder `part` that holds COCO's photos; other sets have a train2017 as well."""
    has_photo = partial(locations.has_file, belongs=PHOTO_NAMES[year].fullmatch)
    return locations.find(roots, part, accept=has_photo)


def _download(section: Section) -> None:
    """Fetches what is not there yet."""
    year = section["year"]
    into = locations.download_folder("coco", section["dir"])
    roots = locations.list_roots("coco", section["dir"])
    if section["splits"] == "published" and year == 2014:
        if not locations.find(roots, KARPATHY):
            sha256 = SHA256["caption_datasets.zip"]
            fetch_archive(KARPATHY_URL, into, sha256=sha256, members="dataset_coco")
    elif not locations.find(roots, f"captions_train{year}.json"):
        archive = f"annotations_trainval{year}.zip"
        url = f"{URL}/annotations/{archive}"
        fetch_archive(url, into, sha256=SHA256[archive], members="captions_")
    for part in PARTS:
        if not _find_photos_of(roots, f"{part}{year}", year):
            archive = f"{part}{year}.zip"
            fetch_archive(f"{URL}/zips/{archive}", into, sha256=SHA256[archive])
