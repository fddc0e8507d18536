"""The table of data sets: names, layouts, all captions; and real data where it is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxcap.data import datasets
from jaxcap.data.parsers import read_flickr30k_results
from jaxcap.data.source import NAMES
from jaxcap.data.split import summarize
from jaxcap.errors import UserError
from jaxcap.experiment import datasets as experiment_datasets
from jaxcap.experiment import defaults
from jaxcap.text import Vocabulary, count_words, split_words
from tests.data.raw_files import (
    CAPTIONS,
    NAMES8K,
    NAMES30K,
    load,
    section,
    write_flickr8k,
    write_flickr30k,
)


def test_no_tensorflow_is_imported_even_where_there_is_one(tmp_path):
    trap = tmp_path / "trap" / "tensorflow"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise SystemExit('TensorFlow was imported')")
    code = (
        "import sys; from tests.data.raw_files import load; s = load('scenes', scenes=20, "
        "scene_size=32);"
        "s['val'].photo(0); s['val'].objects(0); assert 'tensorflow' not in sys.modules"
    )
    path = os.pathsep.join([str(trap.parent), str(Path(datasets.__file__).parents[2])])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def test_a_misspelt_name_or_option_is_answered_with_the_right_one():
    with pytest.raises(UserError, match="did you mean flickr30k"):
        load("flikr30k")
    with pytest.raises(UserError, match="published, random, random_test, pairs"):
        load("flickr30k", splits="karpathy")
    with pytest.raises(UserError, match="2014 or 2017"):
        load("coco", year=2015)


def test_the_layout_of_a_folder_is_told_from_its_files(tmp_path):
    assert datasets.detect(str(write_flickr8k(tmp_path / "a", NAMES8K, lists=("test",)))) == {
        "name": "flickr8k"
    }
    assert datasets.detect(str(write_flickr30k(tmp_path / "b", NAMES30K, lists=False))) == {
        "name": "flickr30k"
    }
    for folder, name in (("c", "captions_val2017.json"), ("d", "captions.tsv"), ("e", "notes.txt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("")
    assert datasets.detect(str(tmp_path / "c")) == {"name": "coco", "year": 2017}
    assert datasets.detect(str(tmp_path / "d")) == {"name": "folder"}
    with pytest.raises(UserError, match="no known layout"):
        datasets.detect(str(tmp_path / "e"))


def test_every_name_has_its_module():
    assert tuple(datasets.LOCATE) == NAMES


@pytest.mark.parametrize("name", ["flickr30k", "scenes"])
def test_runs_of_other_seeds_see_the_splits_of_their_data_seed(raw, name):
    write_flickr30k(raw, [f"{number}.jpg" for number in range(30)], lists=False)
    config = defaults.get_config()
    config.data.update({"name": name, "dir": str(raw), "splits": "random"})
    config.data.update({"scenes": 10, "scene_size": 32})
    seen = []
    for seed, data_seed in ((0, 0), (1, 0), (1, 1)):
        config.seed = seed
        config.data.seed = data_seed
        seen.append(
            {
                split: (of.ids, of.photos)
                for split, of in experiment_datasets.load_splits(config).items()
            }
        )
    assert seen[0] == seen[1] != seen[2]


def test_every_caption_is_at_hand_whatever_its_split_or_photo(raw):
    write_flickr30k(raw, NAMES30K)
    (raw / "train_images.txt").write_text(NAMES30K[0])
    (raw / "flickr30k_images" / NAMES30K[0]).unlink()
    assert sorted(datasets.all_captions(section("flickr30k", dir=str(raw)))) == sorted(CAPTIONS * 6)


REAL = os.environ.get("JAXCAP_DATA", "")
real_data = [pytest.mark.real_data, pytest.mark.skipif(not REAL, reason="JAXCAP_DATA is not set")]


@pytest.fixture
def real():
    return Path(REAL)


class TestRealData:
    pytestmark = real_data

    def test_flickr8k_has_its_6000_and_1000(self, real):
        splits = load("flickr8k", dir=str(real / "flickr8k"))
        assert (
            summarize(splits)
            == "train 6,000 images, 30,000 captions; val 1,000 images, 5,000 captions"
        )
        notes = " ".join(splits["train"].notes)
        assert (
            "3 rows have a space for the tab" in notes
            and "5 captions of 2258277193_586949ec62.jpg.1" in notes
        )
        assert "no list of test images" in notes and "two splits" not in notes

    def test_flickr30k_repairs_its_one_row_and_reproduces_the_originals_words(self, real):
        captions, notes = read_flickr30k_results(real / "flickr30k" / "results.csv")
        assert len(captions) == 31783 and {len(of_image) for of_image in captions.values()} == {5}
        assert notes == [
            "results.csv: 1 malformed row repaired: 2199200615.jpg, comment 4 (row 20001)"
        ]
        assert captions["2199200615.jpg"][4] == "A dog runs across the grass ."
        everything = datasets.all_captions(section("flickr30k", dir=str(real / "flickr30k")))
        assert len(everything) == 158915
        assert len(Vocabulary.build(count_words(map(split_words, everything)))) == 20273

    def test_flickr30k_has_its_29000_1014_and_1000_of_which_some_photos_are_here(
        self, real, tmp_path
    ):
        for name in ("results.csv", "train_images.txt", "val_images.txt", "test_images.txt"):
            (tmp_path / name).symlink_to(real / "flickr30k" / name)
        (tmp_path / "images").mkdir()
        for photo in (real / "flickr8k" / "images").iterdir():
            (tmp_path / "images" / f"{photo.name.split('_')[0]}.jpg").symlink_to(photo)
        with pytest.raises(UserError, match="24,552 of 31,014 photos are missing"):
            load("flickr30k", dir=str(tmp_path))
        splits = load("flickr30k", dir=str(tmp_path), allow_missing=True)
        assert {name: len(split) for name, split in splits.items()} == {
            "train": 6043,
            "val": 210,
            "test": 209,
        }
        assert "769 captioned images are in no split" in splits["train"].notes

    def test_coco_has_its_25014_validation_captions(self, real):
        assert (
            len(datasets.all_captions(section("coco", dir=str(real / "coco"), year=2017))) == 25014
        )
