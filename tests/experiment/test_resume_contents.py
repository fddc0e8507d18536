"""Resuming looks at what a run is made of: a changed caption, photo, word or weight is named, a
moved folder is not.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from jaxcap import train
from jaxcap.errors import UserError
from jaxcap.experiment import workdir
from jaxcap.models.resnet import ResNet
from jaxcap.training import history
from tests import small_run
from tests.encoders import randomised, torch_arrays

QUICKSTART = Path(__file__).parents[2] / "experiments" / "quickstart.py"
SMALL = small_run.SMALL | {
    "data.name": "folder",
    "train.epochs": 1,
    "train.batch_size": 8,
    "encoder.levels": 1,
    "encoder.rates": "*:0",
    "show.captions": 0,
}
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def photos(tmp_path):
    """A folder of 20 photos: 16 for training, 4 for validation."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(20):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    write_captions(folder, rows())
    return folder


def rows():
    return [
        [f"{n}.png", f"a {'red' if n % 2 else 'blue'} dog", "train" if n < 16 else "val"]
        for n in range(20)
    ]


def write_captions(folder, lines):
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "caption", "split"], *lines])


def run(workdir, photos, **overrides):
    values = (
        SMALL
        | {"data.dir": photos}
        | {key.replace("__", "."): value for key, value in overrides.items()}
    )
    settings = [f"--config.{key}={value}" for key, value in values.items()]
    return train.main(["--config", str(QUICKSTART), "--workdir", str(workdir), *settings])


def refusal(folder, photos, **overrides):
    """What is said when the run is not resumed; nothing in the workdir may change."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as refused:
        run(folder, photos, **overrides)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_captions_of_known_words_that_renumber_the_vocabulary_are_named(tmp_path, photos):
    assert run(tmp_path / "run", photos) == 0
    write_captions(photos, [*rows(), *[["3.png", "a red red dog", "train"]] * 5])
    said = refusal(tmp_path / "run", photos)
    assert "train: captions of 1 photo changed (3.png); vocabulary: other words" in said


def test_a_new_word_is_named(tmp_path, photos):
    assert run(tmp_path / "run", photos) == 0
    write_captions(photos, [*rows(), ["3.png", "a cat", "train"]])
    assert "vocabulary: 8 words -> 9" in refusal(tmp_path / "run", photos)


def test_an_overwritten_photo_is_named(tmp_path, photos):
    assert run(tmp_path / "run", photos) == 0
    Image.new("RGB", (32, 32)).save(photos / "17.png")
    assert "val: 1 photo changed (17.png)" in refusal(tmp_path / "run", photos)


def write_weights(path, seed):
    save_file(torch_arrays(randomised(ResNet((1, 1), 4, folded=False), seed=seed)), path)


def test_replaced_weights_are_named_and_moved_ones_are_the_same(tmp_path, photos):
    weights = tmp_path / "a.safetensors"
    write_weights(weights, 0)
    assert run(tmp_path / "run", photos, encoder__weights=weights) == 0
    weights.rename(tmp_path / "b.safetensors")
    assert run(tmp_path / "run", photos, encoder__weights=tmp_path / "b.safetensors") == 0
    write_weights(weights, 1)
    assert "encoder: other weights" in refusal(tmp_path / "run", photos, encoder__weights=weights)


def test_replaced_word_vectors_are_named_and_moved_ones_are_the_same(tmp_path, photos):
    def write(path, number):
        path.write_text(
            f"2 6\nred {' '.join(['0.5'] * 6)}\ndog {' '.join([str(number)] * 6)}\n",
            encoding="utf-8",
        )
        return {"embedding__kind": "word2vec", "embedding__path": path}

    first = write(tmp_path / "vectors.txt", 1)
    assert run(tmp_path / "run", photos, **first) == 0
    assert run(tmp_path / "run", photos, **write(tmp_path / "moved.txt", 1)) == 0
    said = refusal(tmp_path / "run", photos, **write(tmp_path / "moved.txt", 2))
    assert "embedding: other word vectors" in said


def test_places_and_speeds_may_change(tmp_path, photos, capsys):
    """A moved folder and keys that change no result: the run goes on, and its config says so from
    then on.
    """
    folder = tmp_path / "run"
    assert run(folder, photos) == 0
    metrics = history.read_lines(folder / workdir.METRICS)
    photos.rename(tmp_path / "moved")
    changes = {
        "data__prepared_dir": tmp_path / "prepared",
        "images__cache_dir": tmp_path / "features",
        "images__workers": 2,
        "encoder__batch_size": 3,
        "train__checkpoint_every": 7,
        "search__beam": 3,
        "show__captions": 1,
        "show__tensorboard_every": 2,
        "data__download": True,
        "data__allow_missing": True,
    }
    capsys.readouterr()
    assert run(folder, tmp_path / "moved", **changes) == 0
    out = capsys.readouterr().out
    assert f"resuming with data.dir: {photos} -> {tmp_path / 'moved'}" in out
    kept = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (kept["data"]["dir"], kept["search"]["beam"]) == (str(tmp_path / "moved"), 3)
    assert history.read_lines(folder / workdir.METRICS) == metrics
    capsys.readouterr()
    assert run(folder, tmp_path / "moved", **changes) == 0
    assert "resuming with" not in capsys.readouterr().out


def test_a_run_without_contents_is_refused_in_one_line(tmp_path, photos):
    assert run(tmp_path / "run", photos) == 0
    (tmp_path / "run" / "contents.json").unlink()
    assert "holds no contents.json: it is damaged or of an older jaxcap" in refusal(
        tmp_path / "run", photos
    )


def test_the_pool_of_a_random_encoder_is_part_of_what_it_is(tmp_path, photos):
    """Two random encoders that differ in their pool alone have features of their own."""
    for pool in ("padded", "ceil"):
        values = {"encoder__pool": pool, "images__cache_dir": tmp_path / "features"}
        assert run(tmp_path / pool, photos, **values) == 0
    plain = sorted((tmp_path / "features").glob("*/features.npy"))
    assert len(plain) == 4  # train and val of each
    shutil.rmtree(tmp_path / "features")


def test_keys_that_change_results_are_refused(tmp_path, photos):
    assert run(tmp_path / "run", photos) == 0
    said = refusal(tmp_path / "run", photos, train__epochs=2, decoder__hidden=9, seed=3)
    assert "decoder.hidden: 8 -> 9; seed: 5 -> 3; train.epochs: 1 -> 2" in said
