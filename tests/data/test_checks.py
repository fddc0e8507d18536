"""Photos that are missing: counted and named, or left out where that is allowed."""

import pytest

from jaxcap.errors import UserError
from tests.data.raw_files import NAMES30K, ids, load, write_flickr30k


def test_missing_photos_are_counted_and_named_unless_allowed(raw):
    write_flickr30k(raw, NAMES30K)
    for name in (NAMES30K[1], NAMES30K[2], NAMES30K[5]):
        (raw / "flickr30k_images" / name).unlink()
    with pytest.raises(
        UserError,
        match=r"3 of 6 photos are missing, such as .*102.jpg, 103.jpg.*allow_missing=True",
    ):
        load("flickr30k", dir=str(raw))
    splits = load("flickr30k", dir=str(raw), allow_missing=True)
    assert ids(splits) == {"train": [NAMES30K[0], NAMES30K[3]], "val": [NAMES30K[4]]}
    assert any(note.startswith("3 of 6 photos are missing") for note in splits["val"].notes)
    assert "splits: no photo of test is there, so no such split" in splits["val"].notes


def test_a_photo_that_is_a_dangling_link_is_missing(raw):
    write_flickr30k(raw, NAMES30K)
    photo = raw / "flickr30k_images" / NAMES30K[0]
    photo.unlink()
    photo.symlink_to(raw / "nowhere.jpg")
    with pytest.raises(UserError, match="1 of 6 photos are missing"):
        load("flickr30k", dir=str(raw))


def test_captions_without_any_photos_are_an_error_even_when_missing_photos_are_allowed(raw):
    write_flickr30k(raw, NAMES30K)
    for photo in (raw / "flickr30k_images").iterdir():
        photo.unlink()
    with pytest.raises(UserError, match="6 of 6 photos are missing"):
        load("flickr30k", dir=str(raw), allow_missing=True)


def test_only_the_wanted_splits_need_their_photos(raw):
    write_flickr30k(raw, NAMES30K)
    for name in NAMES30K[:5]:
        (raw / "flickr30k_images" / name).unlink()
    assert ids(load("flickr30k", dir=str(raw), only=("test",))) == {"test": NAMES30K[5:]}
