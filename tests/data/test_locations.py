"""Raw files are found in every usual place, and photos in the right folder."""

import pytest

from jaxcap.errors import UserError
from tests.data.raw_files import (
    CAPTIONS,
    NAMES8K,
    NAMES30K,
    draw,
    ids,
    load,
    numbers,
    write_coco,
    write_flickr8k,
    write_flickr30k,
    write_karpathy_coco,
)


def test_kaggles_doubled_folder_is_read_once(tmp_path):
    mount = tmp_path / "kaggle" / "datasets" / "hsankesara" / "flickr-image-dataset"
    write_flickr30k(mount / "flickr30k_images", NAMES30K)
    write_flickr30k(mount / "flickr30k_images" / "flickr30k_images", NAMES30K, lists=False)
    splits = load("flickr30k")
    assert ids(splits)["train"] == NAMES30K[:4]
    assert splits["train"].captions[0] == CAPTIONS


def test_photos_are_taken_from_the_folder_that_holds_the_captioned_ones_not_from_the_fullest(
    tmp_path,
):
    root = tmp_path / "sets"
    write_flickr30k(root / "flickr30k", NAMES30K)
    write_flickr8k(root / "flickr8k", NAMES8K)
    draw(root / "holidays", *(f"IMG_{number}.jpg" for number in range(30)))
    for name, names in (("flickr30k", NAMES30K), ("flickr8k", NAMES8K)):
        assert ids(load(name, dir=str(root)))["train"] == names[:4]
    write_karpathy_coco(write_coco(root / "coco", 2014))
    draw(root / "train2014", *(f"{number}.jpg" for number in range(30)))
    assert numbers(load("coco", dir=str(root)))["test"] == [34, 42]


def test_photos_of_which_only_a_few_are_there_are_still_found(raw):
    write_flickr30k(raw, NAMES30K)
    draw(raw / "others", *(f"IMG_{number}.jpg" for number in range(30)))
    for name in NAMES30K[1:]:
        (raw / "flickr30k_images" / name).unlink()
    assert ids(load("flickr30k", dir=str(raw), allow_missing=True)) == {"train": NAMES30K[:1]}


def test_nothing_found_says_where_it_was_looked_for_and_how_to_get_it(tmp_path):
    with pytest.raises(UserError) as error:
        load("flickr30k", download=True)
    said = str(error.value)
    for part in (
        "kaggle/*",
        "kaggle/datasets/*/*",
        "home/data/flickr30k",
        "cannot be downloaded",
        "hsankesara",
        "data.dir",
    ):
        assert part in said
    with pytest.raises(UserError, match="nowhere, which is no folder.*data.download=True"):
        load("flickr8k", dir=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no results.csv found; looked in .*raw"):
        (tmp_path / "raw").mkdir()
        load("flickr30k", dir=str(tmp_path / "raw"))
