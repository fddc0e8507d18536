"""Which image is in which split: published lists or a seeded random split, and no image in two."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxcap.data import locations
from jaxcap.data.parsers import KarpathyImage, read_karpathy, read_lines
from jaxcap.data.source import Section
from jaxcap.errors import UserError
from jaxcap.io.plain import list_some

SPLITS = ("train", "val", "test")
WHOLE = "whole"  # the one split of images that are not split yet
TEST_SHARE = 0.2  # of all images, as in the original systems
VAL_SHARE = 0.1  # of the training part

NamesBySplit = dict[str, list[str]]


def random_splits(ids: Iterable[str], seed: int) -> NamesBySplit:
    """Splits images 80/20 into training and test, and cuts 10 % of the training part off as val.

    A hash of the seed and the image's name decides, so the split is the same on every machine and
    with every version.

    Args:
      ids: the image ids; repeats (one a caption) count once.
      seed: another seed, another split.

    Returns:
      train, val and test, each in the order of `ids`, each with at least one image.

    Raises:
      UserError: there are fewer than three images.
    """
    images = list(dict.fromkeys(ids))
    if len(images) < 3:
        raise UserError(
            f"{len(images)} images cannot be split into train, val and test: at least 3 are needed"
        )
    # At least one image each, which rounding would not give to small sets.
    test_count = max(1, round(TEST_SHARE * len(images)))
    training, test = split_off(images, test_count, f"test/{seed}")
    val_count = max(1, round(VAL_SHARE * len(training)))
    train, val = split_off(training, val_count, f"val/{seed}")
    return {"train": train, "val": val, "test": test}


def split_off(ids: Sequence[str], count: int, salt: str) -> tuple[list[str], list[str]]:
    """Splits `count` images off, those whose salted hash comes first; both parts keep the order."""

    def salted_hash(image: str) -> bytes:
        return hashlib.blake2b(f"{salt}/{image}".encode(), digest_size=16).digest()

    off = set(sorted(ids, key=salted_hash)[:count])
    rest = [image for image in ids if image not in off]
    return rest, [image for image in ids if image in off]


def describe_random(seed: int) -> str:
    """Returns the note that says how `random_splits` splits."""
    return (
        f"splits: random by image with seed {seed}: test {TEST_SHARE:.0%} of all, "
        f"val {VAL_SHARE:.0%} of the rest, train what remains"
    )


@dataclass(frozen=True)
class Plan:
    """How a data set is to be split: by lists, else by Karpathy's file, else at random.

    Attributes:
      lists: the file of image names of each split that has one.
      karpathy: a dataset_NAME.json.
      seed: of random splits; None leaves all images in the one split `WHOLE`.
    """

    lists: Mapping[str, Path]
    karpathy: Path | None
    seed: int | None


def plan_splits(
    section: Section, root: Path, roots: Sequence[Path], lists: Mapping[str, str], karpathy: str
) -> Plan:
    """Finds the files that say how a data set was published, unless splits are random.

    Args:
      section: the config's section `data`.
      root: the folder where lists are looked for, and two deeper.
      roots: the folders where Karpathy's file is looked for, and two deeper; of them ~/data/NAME
        may hold lists too.
      lists: the name of each split's list.
      karpathy: the name of Karpathy's file, which counts only where there are no lists.

    Raises:
      UserError: splits are to be as published, and no file says how.
    """
    name = section["name"]
    seed = section["seed"]
    if section["splits"] == "random":
        return Plan({}, None, seed)
    if section["splits"] == WHOLE:
        return Plan({}, None, None)
    # Not in every root: other data sets have a train_images.txt as well.
    folders = [root, *(other for other in roots if other == locations.home_folder(name))]
    found = {}
    for split, file in lists.items():
        path = locations.find(folders, file)
        if path:
            found[split] = path
    if found:
        return Plan(found, None, seed)
    split_file = locations.find(roots, karpathy)
    if split_file:
        return Plan({}, split_file, seed)
    raise UserError(
        f"{name}: nothing in {' or '.join(map(str, folders))} says how the published splits are: "
        f"add the lists {', '.join(lists.values())} or the file {karpathy}, or split at random "
        "with data.splits=random"
    )


def make_splits(plan: Plan, ids: Iterable[str]) -> tuple[NamesBySplit, list[str]]:
    """Splits as the plan says.

    Args:
      plan: how.
      ids: all images, for random splits.

    Returns:
      The names by split, and notes: how it was split, names listed twice, splits without a list.
    """
    if plan.lists:
        return _read_lists(plan.lists)
    if plan.karpathy:
        splits = karpathy_splits(read_karpathy(plan.karpathy))
        return splits, [f"splits: Karpathy's ({plan.karpathy.name})"]
    if plan.seed is None:
        return keep_whole(ids), []
    return random_splits(ids, plan.seed), [describe_random(plan.seed)]


def keep_whole(ids: Iterable[str]) -> NamesBySplit:
    """Returns the one split of all images, in their order, for `resplit`."""
    return {WHOLE: list(dict.fromkeys(ids))}


def karpathy_splits(images: Iterable[KarpathyImage]) -> NamesBySplit:
    """Returns the image names by split as Karpathy and Li 2015 split them."""
    splits: NamesBySplit = {}
    for image in images:
        splits.setdefault(image.split, []).append(image.filename)
    return splits


def _read_lists(lists: Mapping[str, Path]) -> tuple[NamesBySplit, list[str]]:
    """Reads the list of images of each split."""
    splits: NamesBySplit = {}
    files = ", ".join(path.name for path in lists.values())
    notes = [f"splits: the published lists ({files})"]
    for split, path in lists.items():
        names = [line.strip() for _, line in read_lines(path)]
        splits[split] = list(dict.fromkeys(names))
        repeated = len(names) - len(splits[split])
        if repeated:
            notes.append(f"{path.name}: {repeated:,} names listed twice count once")
    for split in SPLITS:
        if split not in lists:
            notes.append(f"splits: no list of {split} images, so no such split")
    return splits, notes


def check_leaks(splits: Mapping[str, Sequence[str]]) -> None:
    """Makes sure that no image is in two splits.

    Raises:
      UserError: some are; they are counted and the first few are named.
    """
    split_of: dict[str, str] = {}
    leaks = []
    for split, ids in splits.items():
        for image in ids:
            first = split_of.setdefault(image, split)
            if first != split:
                leaks.append(f"{image} ({first}, {split})")
    if leaks:
        raise UserError(
            f"{len(leaks):,} images stand in two splits: {list_some(leaks)}: correct the lists of "
            "images"
        )
