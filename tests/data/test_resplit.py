"""Splits of photos prepared whole: each as its name says, the same on every machine."""

import pytest

from jaxcap.data import datasets
from jaxcap.errors import UserError
from tests.data.raw_files import load, section, write_flickr8k

NAMES = [f"{n:03}_abc.jpg" for n in range(20)]


@pytest.fixture
def folder(raw):
    return str(write_flickr8k(raw, NAMES, lists=()))


def test_the_test_part_is_also_the_validation(folder):
    splits = load("flickr8k", dir=folder, splits="random_test")
    assert list(splits) == ["train", "test", "val"]
    assert len(splits["train"]) == 16
    assert splits["val"].ids == splits["test"].ids
    assert splits["val"].name == "val"
    assert sorted((*splits["train"].ids, *splits["test"].ids)) == NAMES
    assert any("chooses the best epoch" in note for note in splits["val"].notes)


def test_pairs_lie_on_one_side_each_and_validation_is_on_the_training_part(folder):
    splits = load("flickr8k", dir=folder, splits="pairs")
    counts = {name: sum(map(len, split.captions)) for name, split in splits.items()}
    assert counts == {"train": 80, "test": 20, "val": 80}
    assert splits["val"].ids == splits["train"].ids
    assert splits["val"].captions == splits["train"].captions
    assert set(splits["train"].ids) & set(splits["test"].ids), "photos lie on both sides"
    whole = load("flickr8k", dir=folder, splits="random")
    everything = {}
    for split in whole.values():
        everything |= dict(zip(split.ids, split.captions, strict=True))
    for image in NAMES:
        found = []
        for name in ("train", "test"):
            if image in splits[name].ids:
                found += splits[name].captions[splits[name].ids.index(image)]
        assert sorted(found) == sorted(everything[image])


@pytest.mark.parametrize("how", ["random", "random_test", "pairs"])
def test_a_selection_reads_its_own_photos(folder, how):
    limited = load("flickr8k", dir=folder, splits=how, photos=10)
    whole = load("flickr8k", dir=folder, splits="random")
    photos = {}
    for split in whole.values():
        for row, image in enumerate(split.ids):
            photos[image] = (split.photo(row), split.photos[row])
    seen = set()
    for split in limited.values():
        assert len(split.photos) == len(split.records) == len(split)
        for row, image in enumerate(split.ids):
            assert (split.photo(row), split.photos[row]) == photos[image]
            seen.add(image)
    assert seen == set(NAMES[:10])


def test_splits_follow_the_seed_and_nothing_else(folder):
    first = load("flickr8k", dir=folder, splits="pairs")
    assert load("flickr8k", dir=folder, splits="pairs")["test"].captions == first["test"].captions
    other = load("flickr8k", dir=folder, splits="pairs", seed=1)
    assert other["test"].captions != first["test"].captions


def test_the_first_photos_are_those_that_are_there(raw, folder):
    next(raw.rglob(NAMES[0])).unlink()
    with pytest.raises(UserError, match="missing"):
        load("flickr8k", dir=folder, splits="random_test", photos=5)
    splits = load("flickr8k", dir=folder, splits="random_test", photos=5, allow_missing=True)
    assert sorted((*splits["train"].ids, *splits["test"].ids)) == NAMES[1:6]


def test_only_what_is_asked_for_is_returned(folder):
    assert list(load("flickr8k", only=("val",), dir=folder, splits="pairs")) == ["val"]


def test_all_captions_are_those_of_the_limited_photos_in_the_files_order(folder):
    limited = datasets.all_captions(section("flickr8k", dir=folder, splits="pairs", photos=4))
    everything = datasets.all_captions(section("flickr8k", dir=folder, splits="pairs"))
    assert len(everything) == 100
    assert limited == everything[:20]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("scenes", {"splits": "pairs"}, "splits of their own"),
        ("scenes", {"photos": 5}, "counted by data.scenes"),
        ("flickr8k", {"photos": 5}, "set data.splits=random"),
    ],
)
def test_what_a_data_set_does_not_know_is_one_line(folder, name, options, said):
    with pytest.raises(UserError, match=said):
        load(name, dir=folder, **options)


def test_two_photos_cannot_be_split(folder):
    with pytest.raises(UserError, match="at least 3"):
        load("flickr8k", dir=folder, splits="pairs", photos=2)
