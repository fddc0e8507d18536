"""Pools over windows, against each window by itself, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.pooling import average_pool, max_pool
from tests.encoders import windows

MARGINS = [(0, 0), (1, 1), (0, 1)]


def pad(x, margins, value):
    return np.pad(x, ((0, 0), margins, margins, (0, 0)), constant_values=value)


@pytest.mark.parametrize("margins", MARGINS)
@pytest.mark.parametrize("size", range(3, 9))
def test_a_maximum_is_that_of_its_window(size, margins):
    x = -np.random.default_rng(size).random((2, size, size, 3), np.float32)  # below any zero
    expected = windows(pad(x, margins, -np.inf), 3, 2).max((4, 5))
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), margins), expected)


@pytest.mark.parametrize("margins", MARGINS)
@pytest.mark.parametrize("size", [5, 6])
def test_a_maximum_sends_its_gradient_to_the_largest_cell(size, margins):
    rng = np.random.default_rng(size)
    x = rng.permutation(2 * size * size * 3).reshape(2, size, size, 3).astype(np.float32)
    y, pull = jax.vjp(lambda x: max_pool(x, margins), jnp.asarray(x))
    gradient = rng.normal(size=y.shape).astype(np.float32)
    expected = np.zeros(x.shape)
    for place in np.ndindex(*y.shape):  # no number occurs twice
        expected[x == float(y[place])] += gradient[place]
    np.testing.assert_allclose(pull(gradient)[0], expected, atol=1e-6)


def test_equal_cells_share_the_gradient_of_a_maximum():
    gradient = jax.grad(lambda x: max_pool(x).sum())(jnp.ones((1, 7, 7, 2)))
    assert float(gradient.min()) >= 0
    np.testing.assert_allclose(gradient.sum((1, 2)), [[9, 9]], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_an_average_counts_the_zeros_around_the_grid_or_not(size):
    x = np.random.default_rng(size).normal(size=(2, size, size, 3)).astype(np.float32)
    counted = average_pool(jnp.asarray(x), "counted")
    uncounted = average_pool(jnp.asarray(x), "uncounted")
    zeros = windows(pad(x, (1, 1), 0), 3, 1)
    nothing = windows(pad(x, (1, 1), np.nan), 3, 1)
    np.testing.assert_allclose(counted, zeros.mean((4, 5)), atol=1e-6)
    np.testing.assert_allclose(uncounted, np.nanmean(nothing, (4, 5)), atol=1e-6)
    inside = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_array_equal(counted[inside], uncounted[inside])
