"""Flickr30k is found, and told from the files of other programs."""

import pytest

from jaxcap.data import datasets
from jaxcap.errors import UserError
from tests.data.raw_files import NAMES30K, draw, ids, load, write_flickr30k


@pytest.mark.parametrize(
    "place",
    ["kaggle/flickr-image-dataset", "kaggle/datasets/some.one/flickr30k", "home/data/flickr30k"],
)
def test_flickr30k_is_found_on_kaggles_old_and_new_mounts_and_at_home(tmp_path, place):
    (tmp_path / "kaggle" / "another" / "deep").mkdir(parents=True)
    (tmp_path / "kaggle" / "another" / "results.csv").write_text("epoch,loss\n1,2\n")
    write_flickr30k(tmp_path / place, NAMES30K)
    assert ids(load("flickr30k"))["train"] == NAMES30K[:4]


@pytest.mark.parametrize("content", [b"epoch,loss\n1,2\n", b"", "caf\xe9|x\n".encode("latin-1")])
def test_a_results_csv_of_another_program_is_not_flickr30ks(tmp_path, content):
    mine = tmp_path / "mine"
    draw(mine, "a.jpg")
    (mine / "results.csv").write_bytes(content)
    (mine / "captions.csv").write_text("image,caption\na.jpg,a dog\n")
    assert datasets.detect(str(mine)) == {"name": "folder"}
    with pytest.raises(
        UserError,
        match=r"mine/results.csv does not begin with `image_name\| comment_number\| comment`",
    ):
        load("flickr30k", dir=str(mine))
    (tmp_path / "kaggle").mkdir()
    mine.rename(tmp_path / "kaggle" / "another")
    write_flickr30k(tmp_path / "kaggle" / "flickr30k", NAMES30K)
    assert ids(load("flickr30k"))["train"] == NAMES30K[:4]
