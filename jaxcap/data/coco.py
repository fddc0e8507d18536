"""COCO captions (Chen et al. 2015, arXiv:1504.00325): 123,287 photos with five captions or a few
more each.

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
from jaxcap.data.parsers import KarpathyImage, coco_annotations, read_karpathy
from jaxcap.data.source import Reading, Source, chosen
from jaxcap.data.splits import cut, karpathy_splits, random_note, random_splits
from jaxcap.errors import UserError
from jaxcap.io.archives import fetched

URL = "http://images.cocodataset.org"
KARPATHY_URL = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
KARPATHY = "dataset_coco.json"
SHA256 = {
    "annotations_trainval2014.zip": "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
    "annotations_trainval2017.zip": "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
    "train2014.zip": "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
    "val2014.zip": "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0",
    "train2017.zip": "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    "val2017.zip": "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    "caption_datasets.zip": "4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817",
}
# How the photos are called in the files of each year.
NAMES = {
    2014: re.compile(r"COCO_(train|val)2014_\d{12}\.jpg"),
    2017: re.compile(r"\d{12}\.jpg"),
}
# photos cut off the training part for COCO's own splits, or a tenth of it where that is less
_VAL = 5000
_GET = "download it with data.download=True (20 GB), or name the folder that holds annotations/ with data.dir"


def locate(dir: str, splits: str, year: int, seed: int, download: bool) -> Source:
    """Finds captions_{train,val}YEAR.json or Karpathy's file, and the folders trainYEAR and
    valYEAR.

    Args:
      dir: the folder that holds them, at most two folders deep; empty for the usual places.
      splits: published (see above) or random.
      year: 2014 or 2017: whose files and photo names.
      seed: of random splits.
      download: fetch what is not there: photos, and Karpathy's file for the published splits of
        2014, else COCO's annotations.

    Returns:
      The data set, ready to be read.

    Raises:
      UserError: another year, or there are no captions.
    """
    if year not in (2014, 2017):
        raise UserError(f"data.year={year}: COCO's captions are of 2014 or 2017")
    if download:
        _download(dir, splits, year)
    roots = locations.roots("coco", dir)
    parts = {
        part: locations.find(roots, f"captions_{part}{year}.json") for part in ("train", "val")
    }
    annotations = {part: path for part, path in parts.items() if path}
    karpathy = locations.find(roots, KARPATHY) if splits == "published" or not annotations else None
    files = [karpathy] if karpathy else list(annotations.values())
    if not files:
        raise locations.not_found(
            "coco", f"captions_train{year}.json, captions_val{year}.json or {KARPATHY}", dir, _GET
        )
    near = locations.root_of(files[0], roots)
    folders = _photo_folders(roots, year) or [
        locations.photo_folder(near, NAMES[year].fullmatch) or files[0].parent
    ]
    return Source("coco", partial(read, annotations, karpathy, folders, splits, year, seed))


def read(
    annotations: Mapping[str, Path],
    karpathy: Path | None,
    folders: Sequence[Path],
    splits: str,
    year: int,
    seed: int,
) -> Reading:
    """Reads the captions and splits their images.

    Args:
      annotations: captions_*.json of the parts train and val, those that are there.
      karpathy: his dataset_coco.json, whose captions are the same; read instead where it is given.
      folders: of photos.
      splits: published or random.
      year: 2014 or 2017, which name their photos differently.
      seed: of random splits.

    Raises:
      UserError: a file is cut off or of another kind.
    """
    if karpathy:
        images = [_named(image, year, karpathy) for image in read_karpathy(karpathy)]
        captions = {image.filename: image.captions for image in images}
        divided, notes = karpathy_splits(images), [f"splits: Karpathy's ({karpathy.name})"]
    else:
        parts = {part: coco_annotations(path) for part, path in annotations.items()}
        captions = {name: texts for part in parts.values() for name, texts in part.items()}
        divided, notes = _own_splits({part: list(of_part) for part, of_part in parts.items()}, year)
    if splits == "random":
        divided, notes = random_splits(captions, seed), [random_note(seed)]
    return chosen(divided, captions, partial(_photo, folders), notes)


def _own_splits(
    parts: Mapping[str, list[str]], year: int
) -> tuple[dict[str, list[str]], list[str]]:
    """Splits by COCO's own parts, whose val becomes test, so that test photos choose nothing in
    training.
    """
    splits: dict[str, list[str]] = {}
    notes = [
        f"splits: COCO's own of {year}, for want of {KARPATHY}: scores do not compare with those "
        "on Karpathy's"
    ]
    if "train" in parts:
        count = min(_VAL, max(1, len(parts["train"]) // 10))
        splits["train"], splits["val"] = cut(parts["train"], count, "coco")
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


def _named(image: KarpathyImage, year: int, path: Path) -> KarpathyImage:
    """Gives an image the name that its photo has in the files of `year`; Karpathy names those of
    2014.
    """
    if image.cocoid is None:
        raise UserError(
            f"{path}: not COCO's splits, since {image.filename} has no cocoid: get it again"
        )
    return image if year == 2014 else image._replace(filename=f"{image.cocoid:012d}.jpg")


def _photo(folders: Sequence[Path], name: str) -> Path:
    """Returns where a photo lies: in whichever folder has it."""
    paths = [folder / name for folder in folders]
    return next((path for path in paths if path.is_file()), paths[0])


def _photo_folders(roots: Sequence[Path], year: int) -> list[Path]:
    found = (_photos_of(roots, f"{part}{year}", year) for part in ("train", "val"))
    return [folder for folder in found if folder]


def _photos_of(roots: Sequence[Path], part: str, year: int) -> Path | None:
    """Returns the folder of this name that holds COCO's photos: other data sets have a train2017 as
    well.
    """
    return locations.find(
        roots, part, accept=partial(locations.holds, belongs=NAMES[year].fullmatch)
    )


def _download(dir: str, splits: str, year: int) -> None:
    """Fetches what is not there yet; the archives' sums are those that TensorFlow Datasets
    records.
    """
    into, roots = locations.downloads("coco", dir), locations.roots("coco", dir)
    if splits == "published" and year == 2014:
        if not locations.find(roots, KARPATHY):
            fetched(
                KARPATHY_URL, into, sha256=SHA256["caption_datasets.zip"], members="dataset_coco"
            )
    elif not locations.find(roots, f"captions_train{year}.json"):
        archive = f"annotations_trainval{year}.zip"
        fetched(f"{URL}/annotations/{archive}", into, sha256=SHA256[archive], members="captions_")
    for archive in (f"train{year}.zip", f"val{year}.zip"):
        if not _photos_of(roots, Path(archive).stem, year):
            fetched(f"{URL}/zips/{archive}", into, sha256=SHA256[archive])
