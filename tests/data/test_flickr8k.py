"""Flickr8k is found in every layout, and told from other data sets."""

import itertools

import pytest

from jaxcap.errors import UserError
from tests.data.raw_files import NAMES8K, draw, ids, load, write_flickr8k, write_karpathy


@pytest.mark.parametrize(
    "layout", [("Flickr8k_text", "Flicker8k_Dataset"), (".", "images"), (".", "Images"), (".", ".")]
)
def test_flickr8k_is_found_in_every_layout(raw, layout):
    text, photos = layout
    write_flickr8k(raw / text, NAMES8K)
    (raw / text / "images").rename(raw / "moved")
    (raw / photos).mkdir(exist_ok=True, parents=True)
    for photo in (raw / "moved").iterdir():
        photo.rename(raw / photos / photo.name)
    assert ids(load("flickr8k", dir=str(raw))) == {
        "train": NAMES8K[:4],
        "val": NAMES8K[4:5],
        "test": NAMES8K[5:],
    }


def test_kaggles_flickr8k_is_told_from_other_captions_txt(tmp_path):
    other = tmp_path / "kaggle" / "a"
    mount = tmp_path / "kaggle" / "flickr8k"
    other.mkdir(parents=True)
    (other / "captions.txt").write_text("image,caption\ncat.jpg,A cat\n")
    draw(mount / "Images", *NAMES8K)
    (mount / "captions.txt").write_text(
        "image,caption\n" + "".join(f"{name},A dog .\n" for name in NAMES8K)
    )
    splits = load("flickr8k", splits="random")
    assert sorted(itertools.chain(*ids(splits).values())) == NAMES8K
    with pytest.raises(
        UserError, match=r"Flickr_8k\.testImages\.txt.*dataset_flickr8k\.json.*data\.splits=random"
    ):
        load("flickr8k")
    write_karpathy(
        mount / "dataset_flickr8k.json", [(NAMES8K[0], None, "train"), (NAMES8K[3], None, "test")]
    )
    assert ids(load("flickr8k")) == {"train": NAMES8K[:1], "test": NAMES8K[3:4]}
