"""What is computed at the positions of words alone, against all positions, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.positions import find_positions, take_positions

SHAPE = (2, 3, 5)  # B, C, T


@pytest.fixture(params=[0, 1, 4], ids="{} to spare".format)
def case(request):
    """A mask of which a caption has nothing, and its positions with some to spare."""
    mask = np.random.default_rng(0).random(SHAPE) < 0.6
    mask[1, 1] = False
    return mask, find_positions(jnp.asarray(mask), int(mask.sum()) + request.param)


def draw(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_values_are_taken_in_order_and_zeros_behind_them(case):
    mask, positions = case
    x = draw(*SHAPE, 4)
    expected = np.zeros((len(positions.found), 4), np.float32)
    expected[: mask.sum()] = x[mask]
    taken, pull = jax.vjp(lambda x: take_positions(x, positions), jnp.asarray(x))
    np.testing.assert_array_equal(taken, expected)
    gradient = draw(*taken.shape)
    expected = np.zeros_like(x)
    expected[mask] = gradient[: mask.sum()]
    np.testing.assert_array_equal(pull(gradient)[0], expected)


def test_booleans_are_taken_too(case):
    mask, positions = case
    taken = take_positions(jnp.asarray(mask), positions)
    assert taken.dtype == bool
    np.testing.assert_array_equal(taken, np.arange(len(positions.found)) < mask.sum())


def test_without_positions_all_are_taken():
    x = draw(*SHAPE, 4)
    assert take_positions(x, None) is x
