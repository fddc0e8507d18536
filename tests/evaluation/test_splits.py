"""The splits that are scored: of other folders, and of data that have moved."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxcap.errors import UserError
from tests.evaluation.runs import (
    evaluation_of,
    of_a_folder,
    photo_folder,
    read,
    run_command,
    train_on,
)

pytestmark = pytest.mark.usefixtures("cache")


def test_another_folder_is_scored_and_its_images_named(made_run, tmp_path):
    folder = photo_folder(tmp_path / "my photos", ["test"] * 3 + ["val"])
    run_command(made_run, "--split", "test", "--data-dir", str(folder))
    scored = evaluation_of(made_run, folder)
    result = read(scored)
    assert (
        result["data"] | {"name": "folder", "dir": str(folder), "images": 3, "references": 6}
        == result["data"]
    )
    assert [pair["image_id"] for pair in read(scored, "captions.json")] == [
        "0.png",
        "1.png",
        "2.png",
    ]
    assert result["scenes"] is None and "pointing" not in result["attention"]
    assert "most common" in [baseline["name"] for baseline in result["baselines"]]


def test_photos_of_another_folder_are_scored_on_their_own_features(tmp_path):
    """Two folders with the same names and sizes of photos: each has its own features, captions and
    evaluation.
    """
    photos = photo_folder(tmp_path / "photos", ["train"] * 3 + ["val"] * 3)
    run = train_on(tmp_path / "run", photos, encoder__rates="*:0")
    other = tmp_path / "more" / "photos"
    shutil.copytree(photos, other)
    for path in (other / "images").iterdir():
        pixels = np.asarray(Image.open(path))
        Image.fromarray(pixels[::-1, ::-1]).save(path)
    for folder in (photos, other):
        run_command(run, "--split", "val", "--data-dir", str(folder))
    first, second = (run / "evaluation").glob("val-beam2-photos-????????")
    log_probs = [
        [
            json.loads(line)["log_prob"]
            for line in (folder / "images.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for folder in (first, second)
    ]
    assert log_probs[0] != log_probs[1]
    assert read(first)["signature"] != read(second)["signature"]


def test_the_runs_own_splits_are_scored_where_its_data_moved(tmp_path):
    """A run on random splits of a file of another name: the moved folder is read and split as it
    was in training.
    """
    photos = photo_folder(tmp_path / "photos", [""] * 12)
    (photos / "captions.csv").rename(photos / "texts.csv")
    run = train_on(tmp_path / "run", photos, data__captions="texts.csv", data__splits="random")
    photos.rename(tmp_path / "moved")
    run_command(run, "--split", "test", "--data-dir", str(tmp_path / "moved"))
    result = read(evaluation_of(run, tmp_path / "moved"))
    assert result["data"]["trained_on"] == 0
    assert read(run, "contents.json")["splits"]["test"]["ids"] == [
        pair["image_id"] for pair in read(evaluation_of(run, tmp_path / "moved"), "captions.json")
    ]


def test_a_split_that_is_not_there_is_said_with_those_that_are(made_run, tmp_path):
    workdir = of_a_folder(
        made_run, tmp_path / "run", photo_folder(tmp_path / "photos", ["train"] * 3 + ["val"])
    )
    with pytest.raises(UserError, match="no split 'test': the files at hand make train and val"):
        run_command(workdir, "--split", "test")
    assert not (workdir / "evaluation").exists()
