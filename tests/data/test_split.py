"""What a split gives: photos, captions and objects as they were."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxcap.data import scenes
from tests.data.raw_files import CAPTIONS, NAMES30K, ids, load, write_flickr30k


def test_a_split_gives_every_photo_as_its_file_was_and_every_caption_as_it_was_written(raw):
    write_flickr30k(raw, NAMES30K)
    splits = load("flickr30k", dir=str(raw))
    assert ids(splits) == {"train": NAMES30K[:4], "val": NAMES30K[4:5], "test": NAMES30K[5:]}
    for split in splits.values():
        for index, name in enumerate(split.ids):
            assert split.photo(index) == (raw / "flickr30k_images" / name).read_bytes()
            assert split.captions[index] == CAPTIONS
            assert split.objects(index) == []
            assert split.records[index]["id"].decode() == name
            assert (
                tuple(caption.decode() for caption in split.records[index]["captions"]) == CAPTIONS
            )


def test_a_split_can_be_pickled_and_read_from_threads(raw):
    split = load("flickr30k", dir=str(write_flickr30k(raw, NAMES30K)))["train"]
    photos = [split.photo(index) for index in range(len(split))]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(split.photo, [0, 1, 2, 3] * 50)) == photos * 50
    again = pickle.loads(pickle.dumps(split))
    assert (again.ids, again.captions, again.photo(3)) == (split.ids, split.captions, photos[3])


def test_scenes_keep_the_box_of_every_object():
    splits = load("scenes", scenes=20, scene_size=32, seed=5)
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 16,
        "val": 2,
        "test": 2,
    }
    drawn = scenes.read(20, 32, 5).splits["val"]
    for index, example in enumerate(drawn):
        assert splits["val"].photo(index) == example.photo
        for found, thing in zip(splits["val"].objects(index), example.objects, strict=True):
            assert found == {**thing, "box": pytest.approx(thing["box"])}
