"""Flickr30k: 31,783 photos with five captions each (Young et al. 2014), laid out as Kaggle has
it.
"""

from functools import partial
from pathlib import Path

from jaxcap.data import locations
from jaxcap.data.parsers import flickr30k_results, numbered_lines, results_header
from jaxcap.data.source import Reading, Source, chosen
from jaxcap.data.splits import Plan, divide, plan
from jaxcap.errors import UserError

RESULTS = "results.csv"
LISTS = {"train": "train_images.txt", "val": "val_images.txt", "test": "test_images.txt"}
KARPATHY = "dataset_flickr30k.json"
_GET = (
    "get hsankesara/flickr-image-dataset from Kaggle, unpack it and name its folder with data.dir"
)


def locate(dir: str, splits: str, seed: int, download: bool) -> Source:
    """Finds results.csv, the photos and the lists, also where Kaggle repeats them one folder
    deeper.

    Args:
      dir: the folder that holds them, at most two folders deep; empty for the usual places.
      splits: published (29,000/1,014/1,000, from lists or from Karpathy's dataset_flickr30k.json)
        or random.
      seed: of random splits.
      download: in vain here, since Kaggle wants an account; what is there already is used.

    Returns:
      The data set, ready to be read.

    Raises:
      UserError: there is no results.csv, or nothing that says how the published splits are.
    """
    roots = locations.roots("flickr30k", dir)
    captions = locations.find(roots, RESULTS, accept=_is_flickr30k)
    if captions is None:
        if dir and (other := locations.find(roots, RESULTS)):
            raise UserError(
                f"flickr30k: {other} does not begin with `image_name| comment_number| comment`, so "
                "it is not "
                f"Flickr30k's: {_GET}"
            )
        vain = "it cannot be downloaded without an account: " if download else ""
        raise locations.not_found("flickr30k", RESULTS, dir, vain + _GET)
    near = locations.root_of(captions, roots)
    how = plan("flickr30k", splits, seed, near, roots, LISTS, KARPATHY)
    return Source("flickr30k", partial(read, captions, near, how))


def read(captions: Path, near: Path, how: Plan) -> Reading:
    """Reads results.csv and splits its images.

    Args:
      captions: results.csv.
      near: the folder in or below which the photos lie.
      how: the plan of the splits.

    Raises:
      UserError: a bad row, or a list of images that are not Flickr30k's.
    """
    by_image, notes = flickr30k_results(captions)
    photos = locations.photo_folder(near, by_image.__contains__) or captions.parent
    splits, said = divide(how, by_image)
    return chosen(splits, by_image, photos.joinpath, notes + said)


def _is_flickr30k(path: Path) -> bool:
    # Many programs write a results.csv, of any encoding.
    try:
        return path.is_file() and results_header(next(numbered_lines(path), (0, ""))[1])
    except UserError:
        return False
