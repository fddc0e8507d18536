"""The two small pieces that every model here is made of."""

import flax.linen as nn
import jax
import jax.numpy as jnp

# Uniform in plus or minus 1 / sqrt(fan_in), as PyTorch's Linear, which the original systems trained with.
uniform_fan_in = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def dense(features: int, *, use_bias: bool = True, name: str | None = None) -> nn.Dense:
    """A linear layer over the last axis, [..., X] -> [..., features]."""
    return nn.Dense(features, use_bias=use_bias, kernel_init=uniform_fan_in, name=name)


def dropout(keys: jax.Array | None, x: jax.Array, rate: float) -> jax.Array:
    """Inverted dropout whose mask belongs to the image, not to its place among the devices.

    Args:
      keys: one random key an image, [B]; None switches dropout off.
      x: [B, ...].
      rate: probability of a zero.

    Returns:
      x, with a fraction `rate` of its values zeroed and the rest scaled by 1 / (1 - rate).
    """
    if keys is None or rate == 0.0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1 - rate), 0.0)
