"""Which image is in which split, and that none is in two."""

import itertools

import pytest

from jaxcap.data.splits import random_splits
from jaxcap.errors import UserError
from tests.data.raw_files import (
    NAMES8K,
    NAMES30K,
    ids,
    load,
    write_flickr8k,
    write_flickr30k,
    write_karpathy,
)


def test_lists_of_a_read_only_mount_may_lie_at_home_or_be_karpathys(tmp_path):
    write_flickr30k(tmp_path / "kaggle" / "flickr", NAMES30K, lists=False)
    other = tmp_path / "kaggle" / "splits"
    other.mkdir()
    write_karpathy(
        other / "dataset_flickr30k.json", [(name, None, "train") for name in NAMES30K[:2]]
    )
    assert ids(load("flickr30k")) == {"train": NAMES30K[:2]}
    home = tmp_path / "home" / "data" / "flickr30k"
    home.mkdir(parents=True)
    (home / "val_images.txt").write_text(NAMES30K[3])
    assert ids(load("flickr30k")) == {"val": NAMES30K[3:4]}


def test_random_splits_are_80_20_by_image_with_val_cut_from_the_80():
    images = [f"{number}.jpg" for number in range(1000)]
    rows = [image for image in images for _ in range(5)]
    splits = random_splits(rows, seed=0)
    assert {name: len(part) for name, part in splits.items()} == {
        "train": 720,
        "val": 80,
        "test": 200,
    }
    assert sorted(itertools.chain(*splits.values())) == sorted(images)
    assert splits == random_splits(images, seed=0)
    assert all(
        part == [image for image in images if image in set(part)] for part in splits.values()
    )


def test_a_random_split_depends_on_seed_and_name_but_not_on_the_order_of_the_images():
    images = [f"{number}.jpg" for number in range(300)]
    splits = random_splits(images, seed=1)
    assert set(splits["test"]) == set(random_splits(images[::-1], seed=1)["test"])
    other = random_splits(images, seed=2)
    assert set(splits["test"]) != set(other["test"]) and set(splits["val"]) != set(other["val"])
    # A golden value: a change here would move images between the splits of earlier runs.
    assert random_splits("abcdefghij", seed=0) == {
        "train": ["a", "c", "d", "e", "f", "i", "j"],
        "val": ["h"],
        "test": ["b", "g"],
    }


def test_random_splits_never_leave_a_split_empty():
    for count in (3, 4, 5, 9):
        assert all(random_splits([str(number) for number in range(count)], seed=0).values())
    with pytest.raises(UserError, match="2 images cannot be split"):
        random_splits(["a", "b", "a"], seed=0)


def test_an_image_listed_in_two_splits_is_an_error_that_names_it(raw):
    write_flickr30k(raw, NAMES30K)
    with (raw / "test_images.txt").open("a") as file:
        file.write(f"{NAMES30K[0]}\n")
    with pytest.raises(UserError, match=r"1 images stand in two splits: 101.jpg \(train, test\)"):
        load("flickr30k", dir=str(raw))
    # Also when the split that is asked for seems sound by itself.
    with pytest.raises(UserError, match="two splits"):
        load("flickr30k", dir=str(raw), only=("val",))


def test_an_image_listed_twice_in_one_split_counts_once(raw):
    write_flickr30k(raw, NAMES30K)
    with (raw / "train_images.txt").open("a") as file:
        file.write(f"{NAMES30K[0]}\n")
    splits = load("flickr30k", dir=str(raw))
    assert ids(splits)["train"] == NAMES30K[:4]
    assert "train_images.txt: 1 names listed twice count once" in splits["train"].notes


def test_a_list_that_is_absent_means_a_split_that_is_absent(raw):
    write_flickr8k(raw, NAMES8K, lists=("test",))
    for name in NAMES8K[:-1]:
        (raw / "images" / name).unlink()  # only the listed photos have to be there
    splits = load("flickr8k", dir=str(raw))
    assert ids(splits) == {"test": NAMES8K[-1:]}
    assert "splits: no list of train images, so no such split" in splits["test"].notes
    assert "5 captioned images are in no split" in splits["test"].notes
    with pytest.raises(UserError, match="there is no split 'val': the files at hand make test"):
        load("flickr8k", dir=str(raw), only=("val",))


def test_a_list_of_images_without_captions_is_an_error(raw):
    write_flickr8k(raw, NAMES8K)
    (raw / "Flickr_8k.devImages.txt").write_text("a_1.jpg\nb_2.jpg\n")
    with pytest.raises(
        UserError, match=r"2 of the 2 images of val have no captions \(a_1.jpg, b_2.jpg\)"
    ):
        load("flickr8k", dir=str(raw))
