"""Splits of images that were prepared as one set: random ones, and two that systems published with.

"random_test" and "pairs" are faults on purpose, for results that are to be compared with those of
systems that had them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from jaxcap.data.split import Split, select_images
from jaxcap.data.splits import TEST_SHARE, describe_random, random_splits, split_off
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
    row_of = {image: row for row, image in enumerate(whole.ids)}
    splits = {}
    for name, images in random_splits(whole.ids, seed).items():
        captions = {row_of[image]: whole.captions[row_of[image]] for image in images}
        splits[name] = select_images(whole, name, captions, describe_random(seed))
    return splits


def _split_off_test(whole: Split, seed: int) -> dict[str, Split]:
    note = (
        f"splits: random by image with seed {seed}: test {TEST_SHARE:.0%} of all, which is the "
        "validation as well and chooses the best epoch"
    )
    row_of = {image: row for row, image in enumerate(whole.ids)}
    parts = split_off(whole.ids, round(TEST_SHARE * len(whole)) or 1, f"test/{seed}")
    splits = {}
    for name, images in zip(("train", "test"), parts, strict=True):
        captions = {row_of[image]: whole.captions[row_of[image]] for image in images}
        splits[name] = select_images(whole, name, captions, note)
    return {**splits, "val": replace(splits["test"], name="val")}


def _split_pairs(whole: Split, seed: int) -> dict[str, Split]:
    note = (
        f"splits: random by (photo, caption) pair with seed {seed}: test {TEST_SHARE:.0%} of all, "
        "most of its photos in train as well; validation on the training part"
    )
    pairs = []
    for row, captions in enumerate(whole.captions):
        for number in range(len(captions)):
            pairs.append((row, number))

    def salted_hash(pair: tuple[int, int]) -> bytes:
        row, number = pair
        text = f"pairs/{seed}/{whole.ids[row]}/{number}"
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    in_test = set(sorted(pairs, key=salted_hash)[: round(TEST_SHARE * len(pairs)) or 1])
    train: dict[int, list[str]] = {}
    test: dict[int, list[str]] = {}
    for row, number in pairs:
        part = test if (row, number) in in_test else train
        part.setdefault(row, []).append(whole.captions[row][number])
    training = select_images(whole, "train", train, note)
    return {
        "train": training,
        "test": select_images(whole, "test", test, note),
        "val": replace(training, name="val"),
    }


_RESPLIT: dict[str, Callable[[Split, int], dict[str, Split]]] = {
    "random": _split_randomly,
    "random_test": _split_off_test,
    "pairs": _split_pairs,
}
