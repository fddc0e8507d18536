"""The gallery: which photos it shows, and the light of their words."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from jaxcap.report import gallery
from tests.report.pages import (
    Parsed,
    photo,
)


def test_of_very_many_photos_the_best_the_middle_and_the_worst_are_shown():
    many = [photo(f"{i:03}.jpg", score=i / 100) for i in range(100)]
    best, middle, worst = (
        [round(100 * each.score) for each in part]
        for part in gallery.split_by_score(many[50:] + many[:50], 12)
    )
    assert best == [99, 98, 97, 96]
    assert middle == [51, 50, 49, 48]
    assert worst == [0, 1, 2, 3]


@pytest.mark.parametrize("count", range(8))
def test_a_small_gallery_shows_every_photo_once(count):
    many = [photo(f"{i}.jpg", score=i % 3) for i in range(count)]
    assert sorted(each.id for part in gallery.split_by_score(many) for each in part) == [
        f"{i}.jpg" for i in range(count)
    ]


def test_photos_are_inlined_as_jpeg_and_never_enlarged():
    for size, expected in ((224, 224), (900, 448)):
        (source,) = Parsed(gallery.draw_card(photo(size=size, seed=1))).attributes("src")
        head, data = source.split(",")
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (head, picture.format, picture.size) == (
            "data:image/jpeg;base64",
            "JPEG",
            (expected, expected),
        )


def test_words_carry_their_attention_on_one_scale_for_the_sentence():
    attention = np.full((2, 49), 1 / 49)
    attention[0] = 0.5 / 48
    attention[0, 8] = 0.5
    drawn = Parsed(gallery.draw_card(photo(words=("a", "dog"))._replace(attention=attention)))
    first, second = (
        np.frombuffer(base64.b64decode(text), np.uint8) for text in drawn.attributes("data-light")
    )
    assert (first.argmax(), first.max(), len(first)) == (8, 255, 49)
    assert set(second) == {round(255 / 49 / 0.5)}
    assert "a: 90 % sure, upper left, 24.5× even" in drawn.attributes("aria-label")


@pytest.mark.parametrize(
    ("region", "place"), [(0, "upper left"), (24, "centre"), (27, "right"), (45, "bottom")]
)
def test_the_place_of_the_attention_is_said(region, place):
    drawn = Parsed(gallery.draw_card(photo(words=("dog",), regions=(region,))))
    assert f"dog: 90 % sure, {place}, 46.6× even" in drawn.attributes("aria-label")


@pytest.mark.parametrize(
    ("region", "place"),
    [(0, "upper left"), (19, "top"), (36, "centre"), (39, "right"), (47, "lower right")],
)
def test_a_grid_of_8_x_8_regions_keeps_each_word_on_its_region(region, place):
    """Also on photos whose size 8 does not divide."""
    card = photo(words=("dog",), regions=(region,), grid=(8, 8), size=299)
    drawn = Parsed(gallery.draw_card(card))
    (text,) = drawn.attributes("data-light")
    light = np.frombuffer(base64.b64decode(text), np.uint8)
    assert (len(light), light.argmax()) == (64, region)
    assert any(f"% sure, {place}" in label for label in drawn.attributes("aria-label"))
