"""Intervals of the bootstrap."""

import numpy as np
import pytest

from jaxcap.scores import bleu, bootstrap, cider, rouge
from tests.scores.corpora import random_captions


def test_images_that_are_all_alike_leave_no_doubt():
    rows = np.tile(bleu.statistics([list("abcde")], [[list("abcdf")]]), (20, 1))
    low, high = bootstrap.interval(rows, bleu.from_statistics, resamples=50)
    np.testing.assert_allclose(low, bleu.from_statistics(rows.sum(0)), rtol=1e-9)
    np.testing.assert_allclose(high, low, rtol=1e-9)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Of 95 % intervals of the mean of 60 numbers, between 90 and 98 % hold the mean they were
    drawn around.
    """
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        rows = np.stack([rng.gamma(4.0, 0.25, 60), np.ones(60)], axis=1)  # of mean 1
        low, high = bootstrap.interval(rows, rouge.from_statistics, resamples=300, seed=seed)
        held += low[0] <= 1 <= high[0]
    assert 0.90 <= held / 300 <= 0.98


def test_a_wider_level_gives_a_wider_interval():
    rows = cider.statistics(*random_captions(3))
    narrow, wide = (
        bootstrap.interval(rows, cider.from_statistics, level=level) for level in (0.5, 0.99)
    )
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_difference_of_two_runs_has_an_interval_of_its_own():
    """Two runs that differ by a constant differ surely, though the interval of each is wide."""
    rng = np.random.default_rng(0)
    first = np.stack([rng.normal(0, 1, 100), np.ones(100)], axis=1)
    second = first + np.array([0.1, 0])

    def difference(total):
        return rouge.from_statistics(total[..., 2:]) - rouge.from_statistics(total[..., :2])

    low, high = bootstrap.interval(np.concatenate([first, second], axis=1), difference)
    assert low[0] == pytest.approx(0.1) and high[0] == pytest.approx(0.1)


def test_resamples_are_the_same_however_many_are_drawn_at_a_time(monkeypatch):
    rows = cider.statistics(*random_captions(3))
    at_once = bootstrap.interval(rows, cider.from_statistics, resamples=50)
    monkeypatch.setattr(bootstrap, "_CHUNK", 7 * len(rows))
    in_parts = bootstrap.interval(rows, cider.from_statistics, resamples=50)
    np.testing.assert_allclose(in_parts, at_once, rtol=1e-12)
    sizes = [len(c) for c in bootstrap.draw_counts(len(rows), 50, np.random.default_rng(0))]
    assert sizes == [7] * 7 + [1]
