"""Splits of images that were prepared as one set: random ones, and two that systems published with.

"random_test" and "pairs" are faults on purpose, for results that are to be compared with those of
systems that had them.
"""

from collections.abc import Callable
from dataclasses import replace

from jaxcap.data.split import Split, select_images
from jaxcap.data.splits import (
    TEST_SHARE,
    NamesBySplit,
    describe_random,
    random_splits,
    split_off,
)
from jaxcap.errors import UserError


def resplit(whole: Split, how: str, seed: int) -> dict[str, Split]:
    """Splits images that stand in one set.

    Args:
      whole: the set.
      how: "random" (see `splits.random_splits`); "random_test": 80/20 by image, and the test part
        is also the validation that chooses the best epoch; "pairs": 80/20 by (photo, caption)
        pair, so that a photo's captions lie on both sides, and validation on the training part.
      seed: another seed, another split.

    Returns:
      train, val and test.

    Raises:
      UserError: there are too few images.
    """
    if len(whole) < 3:
        raise UserError(f"{len(whole)} images cannot be split: at least 3 are needed")
    return _RESPLIT[how](whole, seed)


def _split_randomly(whole: Split, seed: int) -> dict[str, Split]:
    return _select(whole, random_splits(whole.ids, seed), describe_random(seed))


def _split_off_test(whole: Split, seed: int) -> dict[str, Split]:
    note = (
        f"splits: random by image with seed {seed}: test {TEST_SHARE:.0%} of all, which is the "
        "validation as well and chooses the best epoch"
    )
    train, test = split_off(whole.ids, _count_test(len(whole)), f"test/{seed}")
    splits = _select(whole, {"train": train, "test": test}, note)
    return {**splits, "val": replace(splits["test"], name="val")}


def _split_pairs(whole: Split, seed: int) -> dict[str, Split]:
    note = (
        f"splits: random by (photo, caption) pair with seed {seed}: test {TEST_SHARE:.0%} of all, "
        "most of its photos in train as well; validation on the training part"
    )
    pairs = {}
    for row, captions in enumerate(whole.captions):
        for number, caption in enumerate(captions):
            pairs[f"{whole.ids[row]}/{number}"] = (row, caption)
    parts = split_off(tuple(pairs), _count_test(len(pairs)), f"pairs/{seed}")
    splits = {}
    for name, part in zip(("train", "test"), parts, strict=True):
        kept: dict[int, list[str]] = {}
        for pair in part:
            row, caption = pairs[pair]
            kept.setdefault(row, []).append(caption)
        splits[name] = select_images(whole, name, kept, note)
    return {**splits, "val": replace(splits["train"], name="val")}


def _select(whole: Split, images_by_split: NamesBySplit, note: str) -> dict[str, Split]:
    """Returns the splits of these images, with all of their captions."""
    row_of = {image: row for row, image in enumerate(whole.ids)}
    splits = {}
    for name, images in images_by_split.items():
        captions = {row_of[image]: whole.captions[row_of[image]] for image in images}
        splits[name] = select_images(whole, name, captions, note)
    return splits


def _count_test(entries: int) -> int:
    return max(1, round(TEST_SHARE * entries))


_RESPLIT: dict[str, Callable[[Split, int], dict[str, Split]]] = {
    "random": _split_randomly,
    "random_test": _split_off_test,
    "pairs": _split_pairs,
}
