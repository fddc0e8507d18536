"""The order of captions: the longest come first, and everything finds back to its caption."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.order import order_captions
from jaxcap.models.positions import find_positions, take_positions

B, C, T = SHAPE = (2, 3, 5)
LENGTHS = np.array([[2, 5, 0], [3, 2, 4]])
MASK = np.arange(T) < LENGTHS[..., None]
SORTED = np.sort(LENGTHS.ravel())[::-1]


@pytest.fixture(params=[0, 1, 4], ids="{} to spare".format)
def positions(request):
    return find_positions(jnp.asarray(MASK), int(MASK.sum()) + request.param)


@pytest.fixture(params=[True, False], ids=["by length", "as they are"])
def order(request, positions):
    return order_captions(positions, T, by_length=request.param)


def draw(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_the_longest_come_first(positions):
    order = order_captions(positions, T, by_length=True)
    np.testing.assert_array_equal(LENGTHS.ravel()[order.captions], SORTED)
    np.testing.assert_array_equal(order.captions[order.places], np.arange(B * C))
    np.testing.assert_array_equal(order.live, MASK.sum(axis=(0, 1)))


def test_without_an_order_captions_stay_and_all_are_live(positions):
    order = order_captions(positions, T, by_length=False)
    assert order.captions is None and order.places is None and order.live is None
    x = draw(B, C, 4)
    np.testing.assert_array_equal(order.sort(x), x.reshape(B * C, 4))


def test_what_is_sorted_is_restored(order):
    x = draw(B, C, 4)
    np.testing.assert_array_equal(order.restore(order.sort(x), B), x)


def test_the_gradient_of_sorting_restores(order):
    x = draw(B, C, 4)
    sorted_, pull = jax.vjp(order.sort, x)
    gradient = draw(*sorted_.shape)
    np.testing.assert_array_equal(pull(gradient)[0], order.restore(gradient, B))


def test_what_is_put_into_a_scan_belongs_to_the_captions_in_their_order(positions, order):
    """And it is taken from there again; the gradient of the one is the other."""
    x = draw(B, C, T, 4)
    values = take_positions(x, positions)
    put, pull = jax.vjp(order.put, values)
    expected = order.sort(np.where(MASK[..., None], x, 0)).swapaxes(0, 1)  # [T, R, 4]
    scanned = put.reshape(T, B * C, 4)
    np.testing.assert_array_equal(scanned, expected)
    np.testing.assert_array_equal(order.take(scanned), values)
    gradient = draw(*put.shape)
    np.testing.assert_array_equal(pull(gradient)[0], order.take(gradient.reshape(scanned.shape)))


def test_of_batches_side_by_side_the_most_captions_are_live():
    """One number for all, on which a branch can depend."""
    masks = jnp.stack([jnp.asarray(MASK), jnp.asarray(MASK) & (jnp.arange(T) < 2)])
    size = int(MASK.sum())

    def count(mask):
        return order_captions(find_positions(mask, size), T, by_length=True).live

    live = jax.vmap(count, out_axes=None)(masks)
    np.testing.assert_array_equal(live, MASK.sum(axis=(0, 1)))
