"""The small pieces: their gradients are those that JAX itself would take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.layers import Dense, add_bias


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


def test_a_layer_of_bfloat16_products_keeps_its_bias_in_float32():
    x = jnp.ones((3, 2))
    layer = Dense(4, dtype="bfloat16")
    variables = layer.init(jax.random.key(0), x)
    bias = jnp.full(4, 1 + 2**-20)
    variables["params"]["bias"] = bias
    without = layer.apply({"params": {**variables["params"], "bias": jnp.zeros(4)}}, x)
    np.testing.assert_array_equal(layer.apply(variables, x), without + bias)
