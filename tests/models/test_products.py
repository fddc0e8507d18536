"""Products: their gradients are those that JAX itself would take."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.products import add_bias, multiply_first, product


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 4, 7)])
def test_the_gradient_of_a_bias_is_the_sum_over_all_rows(shape):
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((2, *shape)).astype(np.float32)
    bias = rng.standard_normal(7).astype(np.float32)

    def weigh(add, x, bias):
        return (jnp.tanh(add(x, bias)) * weights).sum()

    found = jax.grad(lambda *of: weigh(add_bias, *of), argnums=(0, 1))(x, bias)
    expected = jax.grad(lambda *of: weigh(jnp.add, *of), argnums=(0, 1))(x, bias)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 5, 6)])
def test_a_bfloat16_product_rounds_its_factors_and_nothing_else(shape, transposed):
    """Value and gradients equal float32 products of rounded factors, bfloat16's 8 bits away from
    unrounded ones.
    """
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel, weights = (
        jax.random.normal(k, s)
        for k, s in zip(keys, (shape, (6, 4), (*shape[:-1], 4)), strict=True)
    )
    kernel = kernel.T if transposed else kernel
    half = lambda a: a.astype(jnp.bfloat16).astype(jnp.float32)  # noqa: E731
    value, pull = jax.vjp(
        lambda x, kernel: product(x, kernel, "bfloat16", transposed=transposed), x, kernel
    )
    wanted, wanted_pull = jax.vjp(
        lambda x, kernel: product(x, kernel, transposed=transposed), half(x), half(kernel)
    )
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(pull(weights), wanted_pull(half(weights)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    exact = product(x, kernel, transposed=transposed)
    assert 0 < np.abs(value - exact).max() < 0.03 * np.abs(exact).max()


def test_a_bfloat16_product_with_a_transposed_kernel_is_differentiated_when_compiled():
    """As tied weights have it."""
    x = jax.random.normal(jax.random.key(0), (4, 3, 5, 40))
    kernel = jax.random.normal(jax.random.key(1), (70, 40))
    total = lambda dtype, kernel, x: jnp.square(product(x, kernel, dtype, transposed=True)).sum()  # noqa: E731
    ours, exact = (
        jax.jit(jax.grad(functools.partial(total, dtype)))(kernel, x)
        for dtype in ("bfloat16", "float32")
    )
    assert 0 < np.abs(ours - exact).max() < 0.02 * np.abs(exact).max()


ROWS = 40  # of which every eight have a size
COUNTS = [0, 1, 7, 8, 9, 39, 40]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("count", COUNTS)
def test_the_first_rows_are_multiplied_as_all_are(count, dtype):
    """In value and in both gradients, where that of the other rows is zero."""
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel, weights = (
        jax.random.normal(key, shape)
        for key, shape in zip(keys, ((ROWS, 6), (6, 4), (ROWS, 4)), strict=True)
    )
    weights *= (jnp.arange(ROWS) < count)[:, None]
    value, pull = jax.vjp(lambda x, kernel: multiply_first(x, kernel, count, dtype), x, kernel)
    expected, expected_pull = jax.vjp(lambda x, kernel: product(x, kernel, dtype), x, kernel)
    assert value.shape == expected.shape
    np.testing.assert_allclose(value[:count], expected[:count], rtol=1e-6)
    for ours, theirs in zip(pull(weights), expected_pull(weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_rows_beyond_the_next_size_are_not_multiplied():
    """They are zeros, in value and gradient, even where they would not be numbers."""
    x = jnp.ones((ROWS, 6)).at[16:].set(jnp.nan)
    value, pull = jax.vjp(lambda x: multiply_first(x, jnp.ones((6, 4)), 11, "float32"), x)
    np.testing.assert_array_equal(value, [[6.0] * 4] * 16 + [[0.0] * 4] * (ROWS - 16))
    gradient = jnp.ones_like(value).at[16:].set(jnp.nan)
    np.testing.assert_array_equal(pull(gradient)[0], [[4.0] * 6] * 16 + [[0.0] * 6] * (ROWS - 16))
