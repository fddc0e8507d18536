"""Flickr30k (Young et al. 2014): 31,783 photos with five captions each, as Kaggle lays it out."""

from functools import partial
from pathlib import Path

from jaxcap.data import locations
from jaxcap.data.parsers import is_results_header, read_flickr30k_results, read_lines
from jaxcap.data.source import Reading, Section, Source, make_reading
from jaxcap.data.splits import Plan, make_splits, plan_splits
from jaxcap.errors import UserError

RESULTS = "results.csv"
LISTS = {"train": "train_images.txt", "val": "val_images.txt", "test": "test_images.txt"}
KARPATHY = "dataset_flickr30k.json"
_ADVICE = (
    "get hsankesara/flickr-image-dataset from Kaggle, unpack it and name its folder with data.dir"
)


def locate(section: Section) -> Source:
    """Finds results.csv, the photos and the lists, also where Kaggle repeats them a folder deeper.

    Args:
      section: the config's section `data`. dir is the folder that holds them, at most two folders
        deep, or empty for the usual places. splits is published (29,000/1,014/1,000, from lists or
        from Karpathy's dataset_flickr30k.json) or random. download changes nothing where the files
        are there, and cannot work where they are not, since Kaggle wants an account.

    Returns:
      The data set, ready to be read.

    Raises:
      UserError: there is no results.csv, or nothing that says how the published splits are.
    """
    directory = section["dir"]
    roots = locations.list_roots("flickr30k", directory)
    captions = locations.find(roots, RESULTS, accept=_is_flickr30k)
    if captions is None:
        other = locations.find(roots, RESULTS) if directory else None
        if other:
            raise UserError(
                f"flickr30k: {other} does not begin with `image_name| comment_number| comment`, so "
                f"it is not Flickr30k's: {_ADVICE}"
            )
        advice = _ADVICE
        if section["download"]:
            advice = f"it cannot be downloaded without an account: {_ADVICE}"
        raise locations.missing_error("flickr30k", RESULTS, directory, advice)
    root = locations.root_of(captions, roots)
    plan = plan_splits(section, root, roots, LISTS, KARPATHY)
    return Source("flickr30k", partial(read, captions, root, plan))


def read(captions: Path, root: Path, plan: Plan) -> Reading:
    """Reads results.csv and splits its images.

    Args:
      captions: results.csv.
      root: the folder in or below which the photos lie.
      plan: of the splits.

    Raises:
      UserError: a bad row, or a list of images that are not Flickr30k's.
    """
    by_image, notes = read_flickr30k_results(captions)
    photos = locations.find_photo_folder(root, by_image.__contains__) or captions.parent
    splits, split_notes = make_splits(plan, by_image)
    return make_reading(splits, by_image, photos.joinpath, notes + split_notes)


def _is_flickr30k(path: Path) -> bool:
    """Tells Flickr30k's results.csv from those of other programs, of any encoding."""
    if not path.is_file():
        return False
    try:
        _, first = next(read_lines(path), (0, ""))
    except UserError:
        return False
    return is_results_header(first)
