"""Attention pictures and curves."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxcap.figures import attention as figures
from jaxcap.figures import curves as curve_figures
from jaxcap.figures import layout
from jaxcap.figures.attention import Sample, attention_figure, attention_gif, sample_sheet
from jaxcap.figures.curves import curves

WORDS = ["a", "dog", "runs"]


def photo(height=60, width=90, seed=0):
    return np.random.default_rng(seed).integers(60, 200, (height, width, 3), np.uint8)


def on_region(region, regions=49, words=3):
    """Attention that lies on one region for each word. [T, L]"""
    attention = np.zeros((words, regions), np.float32)
    attention[:, region] = 1
    return attention


def lights(attention, size=(140, 70), grid=(7, 7)):
    return figures._lights(np.asarray(attention, np.float32).reshape(-1, *grid), size)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 5), (6, 2)])
def test_the_light_is_brightest_in_the_region_attended_to(row, column):
    (light,) = lights(on_region(7 * row + column, words=1))
    y, x, _ = np.unravel_index(light.argmax(), light.shape)
    assert light.shape == (70, 140, 1)
    assert (y // 10, x // 20) == (row, column)


def test_even_attention_gives_even_dim_light():
    for light in lights(np.full((3, 49), 1 / 49)):
        np.testing.assert_allclose(light, (1 / 4) ** 0.7, atol=1e-5)


def test_words_share_one_scale():
    sharp, flat = on_region(24, words=1)[0], np.full(49, 1 / 49)
    alone, mixed = lights([sharp]), lights([sharp, (sharp + flat) / 2, sharp])
    np.testing.assert_allclose(mixed[0], alone[0])
    np.testing.assert_allclose(mixed[2], mixed[0])
    assert mixed[1].max() < 0.7 * mixed[0].max()


def test_light_grows_with_attention():
    steps = np.linspace(0.1, 1, 7)
    peaks = [light.max() for light in lights(steps[:, None] * on_region(24, words=7))]
    assert np.all(np.diff(peaks) > 0)


def test_full_light_shows_the_photo_and_no_light_a_dim_one():
    plain = Image.fromarray(photo())
    full = np.asarray(figures._lit(plain, np.ones((60, 90, 1))), int)
    none = np.asarray(figures._lit(plain, np.zeros((60, 90, 1))), int)
    original = np.asarray(plain, int)
    assert np.all(full >= original - 1) and np.all(full <= original + figures._GLOW)
    assert none.mean() < 0.5 * original.mean()


def test_the_figure_has_a_picture_for_the_photo_and_each_word_in_rows():
    flat = np.full((20, 49), 1 / 49)
    word = ["word"]
    heights = [
        attention_figure(photo(), word * n, flat, columns=5, title="t").height
        for n in (4, 5, 9, 10)
    ]
    assert heights[0] < heights[1] == heights[2] < heights[3]
    widths = [
        attention_figure(photo(), word * 6, flat, columns=n, title="t").width for n in (2, 3, 4)
    ]
    assert widths[1] - widths[0] == widths[2] - widths[1] > 200


def test_a_picture_keeps_the_aspect_of_its_photo():
    flat = np.full((3, 49), 1 / 49)
    wide, tall = (
        attention_figure(photo(*shape), WORDS, flat, columns=4) for shape in ((60, 120), (120, 60))
    )
    assert wide.width > tall.width


def test_the_photo_is_left_as_it_was():
    before = photo()
    attention_figure(before, WORDS, on_region(0))
    sample_sheet([Sample(before, WORDS, on_region(0))])
    np.testing.assert_array_equal(before, photo())


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_pil_images_of_any_mode_are_drawn(mode):
    picture = Image.fromarray(photo()).convert(mode)
    assert attention_figure(picture, WORDS, on_region(3)).mode == "RGB"


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3)])
def test_photos_of_odd_shapes_are_drawn(shape):
    assert attention_figure(photo(*shape), WORDS, on_region(3)).mode == "RGB"


@pytest.mark.parametrize("attention", [np.ones((2, 49)), np.ones((3, 48)), np.ones(49)])
def test_attention_that_does_not_fit_is_refused(attention):
    with pytest.raises(ValueError, match="attention of shape"):
        attention_figure(photo(), WORDS, attention)


def test_a_grid_that_is_not_square_must_be_said():
    attention_figure(photo(), WORDS, np.full((3, 64), 1 / 64))
    attention_figure(photo(), WORDS, np.full((3, 35), 1 / 35), grid=(5, 7))
    with pytest.raises(ValueError, match="5 x 5 regions"):
        attention_figure(photo(), WORDS, np.full((3, 35), 1 / 35))


def test_a_gif_has_the_photo_and_a_frame_a_word_and_repeats():
    movie = Image.open(io.BytesIO(attention_gif(photo(), WORDS, on_region(10), seconds=0.5)))
    assert movie.n_frames == 4 and movie.info["loop"] == 0
    times, frames = [], []
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
    sheet = sample_sheet(samples)
    assert sheet.width == sample_sheet(samples[:1]).width
    assert sheet.height > sample_sheet(samples[:2]).height > sample_sheet(samples[:1]).height


def test_letters_of_other_alphabets_are_not_drawn_as_empty_boxes():
    face = layout.font(20, True)
    for letter in "éñøßğЖяλ×":
        assert bytes(face.getmask(letter)) != bytes(face.getmask("\uffff")), letter


def test_text_wraps_inside_its_width_and_a_marked_word_stands_out():
    plain = layout.wrapped("a dog runs over the long grass", 20, False, 150, (200, 200, 200))
    marked = layout.wrapped(
        "a dog runs over the long grass", 20, False, 150, (200, 200, 200), marked=1
    )
    assert plain.size == marked.size and plain.width == 150 and plain.height > 2 * 20
    assert np.asarray(plain).min() > 150 > 60 > np.asarray(marked).min()


def records(epochs=6, rate=True):
    for step in range(1, 20 * epochs + 1):
        numbers = {"step": step, "epoch": step / 20, "split": "train", "loss": 2 + 5 / step}
        yield numbers | ({"learning_rate": 1e-3} if rate else {})
        if step % 20 == 0:
            yield {
                "step": step,
                "epoch": step / 20,
                "split": "val",
                "loss": 2.5 + abs(step / 20 - 4) / 10,
            }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "metrics",
    [
        [],
        list(records()),
        list(records(rate=False)),
        list(records())[:3],
        [r for r in records() if r["split"] == "val"][:1],
        [r | {"loss": None} for r in records(2)],
    ],
    ids=["nothing", "whole", "no rate", "cut short", "one validation", "diverged"],
)
def test_curves_are_drawn_of_any_run(tmp_path, metrics):
    curves(metrics, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1200, 750)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_the_lowest_validation_loss_is_marked():
    from matplotlib.figure import Figure

    panel = Figure().subplots()
    metrics = list(records())
    curve_figures._draw_losses(
        panel,
        curve_figures._series(metrics, "train", "loss"),
        curve_figures._series(metrics, "val", "loss"),
    )
    (text,) = panel.texts
    assert text.get_text() == "lowest: 2.500 after epoch 4" and text.xy == (4, 2.5)


def test_drawing_curves_touches_no_state_that_all_of_matplotlib_shares(tmp_path):
    code = f"import sys; from jaxcap.figures.curves import curves; curves([], {str(tmp_path / 'c.png')!r}); "
    code += "print('matplotlib.pyplot' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
        == "False"
    )
