"""Measures of attention maps, on cases whose answer is known."""

import numpy as np
import pytest

from jaxcap.scores import attention
from jaxcap.scores.intervals import estimate_scores
from tests.scores.maps import GRID, even, random_maps, spot


def test_even_attention_is_spread_still_and_without_a_centre():
    maps = even(4)
    np.testing.assert_allclose(attention.entropy(maps), 1)
    np.testing.assert_allclose(attention.change(maps), 0, atol=1e-12)
    np.testing.assert_allclose(attention.center_bias(maps, GRID), 0, atol=1e-12)


def test_attention_on_single_regions_is_sharp_and_moves_wholly():
    maps = np.concatenate([spot(3, 3), spot(0, 0), spot(0, 0)])
    np.testing.assert_allclose(attention.entropy(maps), 0, atol=1e-12)
    np.testing.assert_allclose(attention.change(maps), [1, 0])
    assert attention.center_bias(maps, GRID)[0] == pytest.approx(1)
    assert attention.center_bias(maps, GRID)[1] < -0.5


@pytest.mark.filterwarnings("error")
def test_a_single_region_has_neither_spread_nor_centre():
    attended = np.ones((3, 1))
    assert np.isnan(attention.entropy(attended)).all()
    assert np.isnan(attention.center_bias(attended, (1, 1))).all()
    assert not attention.change(attended).any()


def test_the_measures_stay_in_their_bounds():
    maps = random_maps(50, seed=0)
    assert ((attention.entropy(maps) > 0) & (attention.entropy(maps) < 1)).all()
    assert ((attention.change(maps) > 0) & (attention.change(maps) < 1)).all()


def test_means_are_over_words_not_over_captions():
    rows = attention.statistics([spot(3, 3), even(3)], GRID)
    assert attention.from_statistics(rows.sum(0)) == pytest.approx([0.75, 0, 0.25])


def test_the_measures_have_intervals_like_any_score():
    rows = attention.statistics([random_maps(5, seed) for seed in range(20)], GRID)
    table = estimate_scores(attention.NAMES, rows, attention.from_statistics, resamples=100)
    assert list(table) == ["entropy", "change", "centre_bias"]
    assert all(entry.low < entry.value < entry.high for entry in table.values())
