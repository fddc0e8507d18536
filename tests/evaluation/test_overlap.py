"""Scored photos that a run was trained on, and data that have changed since."""

import re
import shutil

import pytest
from PIL import Image

from tests.evaluation.runs import evaluation_of, photo_folder, read, run_command, train_on

pytestmark = pytest.mark.usefixtures("cache")


def test_scored_photos_that_were_trained_on_are_said_under_any_name(
    tmp_path,
):
    """The training folder is gone, and its photos have other names: they are known by their
    bytes.
    """
    photos = photo_folder(tmp_path / "photos", ["train"] * 3 + ["val"])
    run = train_on(tmp_path / "run", photos)
    again = photo_folder(tmp_path / "again", ["val"] * 5)
    for number in range(5):
        (again / "images" / f"{number}.png").rename(again / "images" / f"{9 - number}.png")
    text = (again / "captions.csv").read_text(encoding="utf-8")
    (again / "captions.csv").write_text(
        re.sub(r"(?m)^\d", lambda m: str(9 - int(m[0])), text), encoding="utf-8"
    )
    shutil.rmtree(photos)
    run_command(run, "--split", "val", "--data-dir", str(again))
    result = read(evaluation_of(run, again, "val-beam2"))
    assert result["data"]["trained_on"] == 3
    said = "3 of the 5 scored photos are among the training photos (9.png, 8.png, 7.png)"
    assert any(note.startswith(said) for note in result["notes"])


def test_other_photos_under_the_names_of_training_photos_are_no_overlap(made_run, tmp_path):
    photos = photo_folder(tmp_path / "photos", ["train"] * 3 + ["val"])
    run = train_on(tmp_path / "run", photos)
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    for path in (other / "images").iterdir():
        Image.new("RGB", (20, 20), int(path.stem)).save(path)
    run_command(run, "--split", "val", "--data-dir", str(other))
    result = read(evaluation_of(run, other, "val-beam2"))
    assert result["data"]["trained_on"] == 0
    assert not any("training photos" in note for note in result["notes"])


def test_a_grown_folder_moves_photos_between_splits_and_that_is_said(tmp_path):
    photos = photo_folder(tmp_path / "photos", [""] * 12)
    run = train_on(tmp_path / "run", photos, data__splits="random")
    shutil.rmtree(photos)
    photo_folder(photos, [""] * 15)
    run_command(run, "--split", "test")
    result = read(run / "evaluation" / "test-beam2")
    assert result["data"]["trained_on"] > 0
    assert any("among the training photos" in note for note in result["notes"])
    assert any(
        "the data have changed since the run was trained: test: " in note
        for note in result["notes"]
    )
