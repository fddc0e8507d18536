"""The small pieces: their gradients are those that JAX itself would take."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.layers import Affine, Dense, LayerNorm


def test_a_layer_of_bfloat16_products_keeps_its_bias_in_float32():
    x = jnp.ones((3, 2))
    layer = Dense(4, dtype="bfloat16")
    variables = layer.init(jax.random.key(0), x)
    bias = jnp.full(4, 1 + 2**-20)
    variables["params"]["bias"] = bias
    without = layer.apply({"params": {**variables["params"], "bias": jnp.zeros(4)}}, x)
    np.testing.assert_array_equal(layer.apply(variables, x), without + bias)


def test_a_layer_norm_is_that_of_flax():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 7)).astype(np.float32)
    scale, shift = rng.standard_normal((2, 7)).astype(np.float32)
    variables = {"params": {"scale": scale, "bias": shift}}
    normalized, affine = LayerNorm().apply(variables, x)
    expected = nn.LayerNorm().apply(variables, x)
    np.testing.assert_allclose(affine(normalized), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("use_bias", [True, False])
def test_an_affine_is_folded_into_the_layer_that_reads_it(use_bias):
    """Values and gradients are the same, and those of the affine need no product more."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 7)).astype(np.float32)
    affine = Affine(*rng.standard_normal((2, 7)).astype(np.float32))
    layer = Dense(4, use_bias=use_bias)
    variables = layer.init(jax.random.key(0), x)

    def folded(variables, affine):
        return jnp.tanh(layer.apply(variables, x, affine)).sum()

    def applied(variables, affine):
        return jnp.tanh(layer.apply(variables, affine(x))).sum()

    found = jax.value_and_grad(folded, (0, 1))(variables, affine)
    expected = jax.value_and_grad(applied, (0, 1))(variables, affine)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    products = []
    for function in (folded, applied):
        jaxpr = jax.make_jaxpr(jax.grad(function, (0, 1)))(variables, affine)
        products.append(
            str(jaxpr).count(f"f32[{x.shape[0]},{x.shape[1]},{x.shape[2]}] = dot_general")
        )
    assert products == [0, 1]
