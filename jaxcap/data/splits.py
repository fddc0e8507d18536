"""Who is in which split: published lists, or a seeded random split by image, and the checks that
nothing leaks.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxcap.data import locations
from jaxcap.data.locations import listed
from jaxcap.data.parsers import KarpathyImage, numbered_lines, read_karpathy
from jaxcap.errors import UserError

SPLITS = ("train", "val", "test")
TEST_SHARE = 0.2  # of all images, as in the original systems
VAL_SHARE = 0.1  # of the training part


def random_splits(ids: Iterable[str], seed: int) -> dict[str, list[str]]:
    """Splits images 80/20 into a training part and test, and cuts 10 % of the training part off as
    val.

    An image's place follows from a hash of the seed and its name, so it is the same on every
    machine and version.

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
    training, test = cut(images, max(1, round(TEST_SHARE * len(images))), f"test/{seed}")
    train, val = cut(training, max(1, round(VAL_SHARE * len(training))), f"val/{seed}")
    return {"train": train, "val": val, "test": test}


def cut(ids: Sequence[str], count: int, salt: str) -> tuple[list[str], list[str]]:
    """Cuts `count` of the images off, those whose salted hash comes first; both parts keep the
    order of `ids`.
    """
    off = set(
        sorted(
            ids, key=lambda id: hashlib.blake2b(f"{salt}/{id}".encode(), digest_size=16).digest()
        )[:count]
    )
    return [id for id in ids if id not in off], [id for id in ids if id in off]


def random_note(seed: int) -> str:
    """Returns the note that says how `random_splits` split."""
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
      seed: of random splits.
    """

    lists: Mapping[str, Path]
    karpathy: Path | None
    seed: int


def plan(
    name: str,
    splits: str,
    seed: int,
    near: Path,
    roots: Sequence[Path],
    lists: Mapping[str, str],
    karpathy: str,
) -> Plan:
    """Finds the files that say how a data set was split when it was published, unless splits are
    random.

    Args:
      name: the data set.
      splits: published or random.
      seed: of random splits.
      near: the folder where lists are looked for, and two deeper.
      roots: the folders where Karpathy's file is looked for, and two deeper; of them ~/data/NAME
        may hold lists too.
      lists: the name of each split's list.
      karpathy: the name of Karpathy's file, which counts only where there are no lists.

    Raises:
      UserError: splits are to be as published, and no file says how.
    """
    if splits == "random":
        return Plan({}, None, seed)
    # Not in every root: other data sets have a train_images.txt as well.
    beside = [near, *(root for root in roots if root == locations.home(name))]
    if found := {
        split: path for split, file in lists.items() if (path := locations.find(beside, file))
    }:
        return Plan(found, None, seed)
    if split_file := locations.find(roots, karpathy):
        return Plan({}, split_file, seed)
    raise UserError(
        f"{name}: nothing in {' or '.join(map(str, beside))} says how the published splits are: "
        "add the lists "
        f"{', '.join(lists.values())} or the file {karpathy}, or split at random with "
        "data.splits=random"
    )


def divide(plan: Plan, ids: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Splits as the plan says.

    Args:
      plan: how.
      ids: all images, for random splits.

    Returns:
      The names by split, and notes: how it was split, names listed twice, splits without a list.
    """
    if plan.lists:
        return _listed_splits(plan.lists)
    if plan.karpathy:
        return karpathy_splits(read_karpathy(plan.karpathy)), [
            f"splits: Karpathy's ({plan.karpathy.name})"
        ]
    return random_splits(ids, plan.seed), [random_note(plan.seed)]


def karpathy_splits(images: Iterable[KarpathyImage]) -> dict[str, list[str]]:
    """Returns the image names by split as Karpathy and Li 2015 split them."""
    splits: dict[str, list[str]] = {}
    for image in images:
        splits.setdefault(image.split, []).append(image.filename)
    return splits


def _listed_splits(lists: Mapping[str, Path]) -> tuple[dict[str, list[str]], list[str]]:
    splits, notes = (
        {},
        [f"splits: the published lists ({', '.join(path.name for path in lists.values())})"],
    )
    for split, path in lists.items():
        names = [line.strip() for _, line in numbered_lines(path)]
        splits[split] = list(dict.fromkeys(names))
        if twice := len(names) - len(splits[split]):
            notes.append(f"{path.name}: {twice:,} names listed twice count once")
    notes += [
        f"splits: no list of {split} images, so no such split"
        for split in SPLITS
        if split not in lists
    ]
    return splits, notes


def check_leaks(splits: Mapping[str, Sequence[str]]) -> None:
    """Makes sure that no image stands in two splits.

    Raises:
      UserError: some do; they are counted and the first few are named.
    """
    home: dict[str, str] = {}
    leaks = []
    for split, ids in splits.items():
        leaks += [
            f"{id} ({home[id]}, {split})" for id in ids if home.setdefault(id, split) != split
        ]
    if leaks:
        raise UserError(
            f"{len(leaks):,} images stand in two splits: {listed(leaks)}: correct the lists of "
            "images"
        )
