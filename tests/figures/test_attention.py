"""Attention pictures: figures, animations and sheets."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxcap.figures.attention import Sample, attention_figure, attention_gif, sample_sheet
from tests.figures.pictures import GRID, WORDS, on_region, photo

GREY = np.full((299, 299, 3), 128, np.uint8)


def test_the_figure_has_a_picture_for_the_photo_and_each_word_in_rows():
    flat = np.full((20, 49), 1 / 49)
    word = ["word"]
    heights = [
        attention_figure(photo(), word * n, flat, GRID, columns=5, title="t").height
        for n in (4, 5, 9, 10)
    ]
    assert heights[0] < heights[1] == heights[2] < heights[3]
    widths = [
        attention_figure(photo(), word * 6, flat, GRID, columns=n, title="t").width
        for n in (2, 3, 4)
    ]
    assert widths[1] - widths[0] == widths[2] - widths[1] > 200


def test_a_picture_keeps_the_aspect_of_its_photo():
    flat = np.full((3, 49), 1 / 49)
    wide, tall = (
        attention_figure(photo(*shape), WORDS, flat, GRID, columns=4)
        for shape in ((60, 120), (120, 60))
    )
    assert wide.width > tall.width


def test_the_photo_is_left_as_it_was():
    before = photo()
    attention_figure(before, WORDS, on_region(0), GRID)
    sample_sheet([Sample(before, WORDS, on_region(0))], GRID)
    np.testing.assert_array_equal(before, photo())


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_pil_images_of_any_mode_are_drawn(mode):
    picture = Image.fromarray(photo()).convert(mode)
    assert attention_figure(picture, WORDS, on_region(3), GRID).mode == "RGB"


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3)])
def test_photos_of_odd_shapes_are_drawn(shape):
    assert attention_figure(photo(*shape), WORDS, on_region(3), GRID).mode == "RGB"


@pytest.mark.parametrize("attention", [np.ones((2, 49)), np.ones((3, 48)), np.ones(49)])
def test_attention_that_does_not_fit_is_refused(attention):
    with pytest.raises(ValueError, match="attention of shape"):
        attention_figure(photo(), WORDS, attention, GRID)


def test_a_grid_need_not_be_square_but_must_fit():
    attention_figure(photo(), WORDS, np.full((3, 35), 1 / 35), (5, 7))
    with pytest.raises(ValueError, match="5 x 5 regions"):
        attention_figure(photo(), WORDS, np.full((3, 35), 1 / 35), (5, 5))


def draw_figure(attention, grid):
    return attention_figure(GREY, ["dog"], attention, grid, tile=216)


def draw_gif(attention, grid):
    movie = Image.open(io.BytesIO(attention_gif(GREY, ["dog"], attention, grid, size=299)))
    movie.seek(1)
    return movie.convert("RGB")


def draw_sheet(attention, grid):
    return sample_sheet([(GREY, ["dog"], attention, ())], grid)


@pytest.mark.parametrize(
    ("draw", "side"),
    [(draw_figure, 216), (draw_gif, 299), (draw_sheet, 92)],
    ids=["figure", "gif", "sheet"],
)
def test_light_moves_with_its_region_over_a_grid_of_8_x_8(draw, side):
    """From row 1, column 1 to row 6, column 5: five and four eighths of the photo's side."""
    before, after = (
        np.asarray(draw(on_region(8 * row + column, regions=64, words=1), (8, 8)), np.float64)
        for row, column in ((1, 1), (6, 5))
    )
    change = (after - before).sum(-1)
    places = []
    for light in (np.maximum(-change, 0), np.maximum(change, 0)):
        places.append([np.average(axis, weights=light) for axis in np.indices(light.shape)])
    moved = np.subtract(places[1], places[0])
    np.testing.assert_allclose(moved, [5 * side / 8, 4 * side / 8], atol=1)


def test_a_gif_has_the_photo_and_a_frame_a_word_and_repeats():
    movie = Image.open(io.BytesIO(attention_gif(photo(), WORDS, on_region(10), GRID, seconds=0.5)))
    assert movie.n_frames == 4 and movie.info["loop"] == 0
    times = []
    frames = []
    for t in range(4):
        movie.seek(t)
        times.append(movie.info["duration"])
        frames.append(np.asarray(movie.convert("RGB"), int))
    assert times == [1000, 500, 500, 1000]
    assert frames[0].mean() > frames[1].mean()


def test_a_sheet_takes_plain_tuples_captions_without_words_and_any_number_of_references():
    samples = [
        (
            photo(),
            WORDS,
            on_region(2),
            ("a dog .", "a brown dog runs over the long grass of a meadow " * 5),
        ),
        Sample(photo(90, 60), [], np.zeros((0, 49))),
        (photo(), ["word"] * 18, on_region(2, words=20), []),
    ]
    sheet = sample_sheet(samples, GRID)
    assert sheet.width == sample_sheet(samples[:1], GRID).width
    assert (
        sheet.height
        > sample_sheet(samples[:2], GRID).height
        > sample_sheet(samples[:1], GRID).height
    )
