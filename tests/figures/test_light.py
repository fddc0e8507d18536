"""Attention as light: where it falls, how bright it is, and on which scale."""

import numpy as np
import pytest
from PIL import Image

from jaxcap.figures import light as light_module
from jaxcap.figures.light import light_photo, spread_light
from tests.figures.pictures import on_region, photo


def lights(attention, size=(140, 70), grid=(7, 7)):
    return spread_light(np.asarray(attention, np.float32).reshape(-1, *grid), size)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 5), (6, 2)])
def test_the_light_is_brightest_in_the_region_attended_to(row, column):
    (light,) = lights(on_region(7 * row + column, words=1))
    y, x, _ = np.unravel_index(light.argmax(), light.shape)
    assert light.shape == (70, 140, 1)
    assert (y // 10, x // 20) == (row, column)


@pytest.mark.parametrize(("row", "column"), [(0, 7), (3, 4), (7, 2)])
@pytest.mark.parametrize("size", [(299, 299), (360, 203)])
def test_a_grid_lies_evenly_on_a_photo_that_it_does_not_divide(row, column, size):
    (light,) = lights(on_region(8 * row + column, regions=64, words=1), size, grid=(8, 8))
    y, x, _ = np.unravel_index(light.argmax(), light.shape)
    assert light.shape == (size[1], size[0], 1)
    assert (8 * y // size[1], 8 * x // size[0]) == (row, column)


def test_even_attention_gives_even_dim_light():
    for light in lights(np.full((3, 49), 1 / 49)):
        np.testing.assert_allclose(light, (1 / 4) ** 0.7, atol=1e-5)


def test_words_share_one_scale():
    sharp = on_region(24, words=1)[0]
    flat = np.full(49, 1 / 49)
    alone = lights([sharp])
    mixed = lights([sharp, (sharp + flat) / 2, sharp])
    np.testing.assert_allclose(mixed[0], alone[0])
    np.testing.assert_allclose(mixed[2], mixed[0])
    assert mixed[1].max() < 0.7 * mixed[0].max()


def test_light_grows_with_attention():
    steps = np.linspace(0.1, 1, 7)
    peaks = [light.max() for light in lights(steps[:, None] * on_region(24, words=7))]
    assert np.all(np.diff(peaks) > 0)


def test_full_light_shows_the_photo_and_no_light_a_dim_one():
    plain = Image.fromarray(photo())
    full = np.asarray(light_photo(plain, np.ones((60, 90, 1))), int)
    none = np.asarray(light_photo(plain, np.zeros((60, 90, 1))), int)
    original = np.asarray(plain, int)
    assert np.all(full >= original - 1) and np.all(full <= original + light_module._GLOW)
    assert none.mean() < 0.5 * original.mean()
