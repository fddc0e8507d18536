"""What a run is made of: which differences are seen and how they are said, and the photos that two
sets share.
"""

import dataclasses
import os
from pathlib import Path

import pytest

from jaxcap.data.split import Split
from jaxcap.experiment import contents
from jaxcap.experiment.contents import Contents, SplitContents
from jaxcap.io.digests import digest_bytes


def split(*ids, photo="p", caption="c"):
    photos = tuple(photo + image for image in ids)
    captions = tuple(caption + image for image in ids)
    return SplitContents(ids, photos, captions)


OLD = Contents("folder", {"train": split("a", "b", "c"), "val": split("d")}, "12-abc", "e", "v")


def changed(**fields):
    return dataclasses.replace(OLD, **fields)


def with_train(train):
    return changed(splits={**OLD.splits, "train": train})


def test_equal_contents_differ_in_nothing():
    assert contents.list_differences(OLD, dataclasses.replace(OLD)) == []


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (with_train(split("a", "b", "c", "x", "y", "z")), "train: 3 photos added (x, y, ...)"),
        (with_train(split("a", "c")), "train: 1 photo removed (b)"),
        (with_train(split("a", "c", "b")), "train: the photos stand in another order"),
        (
            with_train(dataclasses.replace(OLD.splits["train"], photos=("pa", "other", "pc"))),
            "train: 1 photo changed (b)",
        ),
        (
            with_train(dataclasses.replace(OLD.splits["train"], captions=("other", "cb", "new"))),
            "train: captions of 2 photos changed (a, c)",
        ),
        (changed(splits={"train": OLD.splits["train"]}), "val: not there any more"),
        (changed(vocabulary="13-abd"), "vocabulary: 12 words -> 13"),
        (changed(vocabulary="12-abd"), "vocabulary: other words"),
        (changed(encoder="f"), "encoder: other weights"),
        (changed(vectors=""), "embedding: other word vectors"),
    ],
)
def test_every_difference_is_said(new, said):
    assert contents.list_differences(OLD, new) == [said]


def test_the_test_split_decides_nothing_in_training():
    assert contents.list_differences(OLD, changed(splits={**OLD.splits, "test": split("t")})) == []


def test_json_round_trip():
    assert contents.from_json(contents.to_json(OLD)) == OLD


def test_digests_of_a_split_see_ids_photos_and_captions_apart_and_no_order():
    whole = contents.digest_split(split("a", "b"))
    assert whole == contents.digest_split(split("b", "a"))
    other = contents.digest_split(split("a", "b", photo="q"))
    assert [key for key in whole if whole[key] != other[key]] == ["photos"]
    other = contents.digest_split(split("a", "b", caption="d"))
    assert [key for key in whole if whole[key] != other[key]] == ["captions"]
    assert (
        contents.digest_split(split("1", "23"))["ids"]
        != contents.digest_split(split("12", "3"))["ids"]
    )
    # The same captions, each with the other image.
    swapped = SplitContents(("a", "b"), ("pa", "pb"), ("cb", "ca"))
    assert contents.digest_split(swapped)["captions"] != whole["captions"]


def test_an_overlap_is_one_of_bytes_or_of_flickrs_numbers():
    train = SplitContents(("101.jpg", "102.jpg"), ("x", "y"), ("", ""))
    run = Contents("flickr30k", {"train": train}, "", "", "")
    scored = SplitContents(
        ("101_ab.jpg", "other.jpg", "103_cd.jpg"), ("scaled", "y", "z"), ("", "", "")
    )
    assert contents.find_overlap(run, "flickr8k", scored) == ["101_ab.jpg", "other.jpg"]
    # Elsewhere, equal names mean nothing.
    assert contents.find_overlap(run, "folder", scored) == ["other.jpg"]


def test_captions_are_told_apart_image_by_image():
    one = contents.split_contents(Split("val", ("a", "b"), (("x",), ("y", "z")), (), ("1", "2")))
    two = contents.split_contents(Split("val", ("a", "b"), (("x",), ("z", "y")), (), ("1", "2")))
    assert contents.list_split_differences("val", one, two) == [
        "val: captions of 1 photo changed (b)"
    ]


@pytest.mark.real_data
@pytest.mark.skipif("JAXCAP_DATA" not in os.environ, reason="JAXCAP_DATA is not set")
def test_flickr8ks_dev_photos_are_found_among_flickr30ks_training_photos():
    """867 of the 1,000, by their bytes, and by their numbers where the bytes differ."""
    root = Path(os.environ["JAXCAP_DATA"])
    dev = (root / "flickr8k" / "Flickr_8k.devImages.txt").read_text(encoding="utf-8").split()
    train = (root / "flickr30k" / "train_images.txt").read_text(encoding="utf-8").split()
    photos = [digest_bytes((root / "flickr8k" / "images" / name).read_bytes()) for name in dev]
    scored = SplitContents(tuple(dev), tuple(photos), ("",) * len(dev))
    by_number = {name.partition("_")[0]: digest for name, digest in zip(dev, photos, strict=True)}
    for name, digests in (
        ("folder", tuple(by_number.get(name.partition(".")[0], name) for name in train)),
        ("flickr30k", tuple(train)),
    ):
        run = Contents(
            name, {"train": SplitContents(tuple(train), digests, ("",) * len(train))}, "", "", ""
        )
        assert len(contents.find_overlap(run, "flickr8k", scored)) == 867
