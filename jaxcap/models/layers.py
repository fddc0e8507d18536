"""The small pieces that every model here is made of."""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.params import Params
from jaxcap.models.products import add_bias, multiply_first, product

# Collections of variables that `recurrence` alone fills and reads: what layers have read, and what
# is added to their outputs. Of flax's own names the first is left out by `nn.Module.init`.
KEPT = "intermediates"
ADDED = "perturbations"

# Uniform in plus or minus 1 / sqrt(fan_in), as PyTorch's Linear, which the original systems trained
# with.
uniform_fan_in = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Affine(NamedTuple):
    """A scale and a shift [X] of the channels of [..., X]."""

    scale: jax.Array
    shift: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        """Scales and shifts."""
        return x * self.scale + self.shift

    def fold_into(self, params: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Returns the parameters of a linear layer that reads x as if it read `self(x)`."""
        kernel = params["kernel"]
        # Accelerators would round the factors of a product by default.
        bias = jnp.matmul(self.shift, kernel, precision=jax.lax.Precision.HIGHEST)
        return {"kernel": self.scale[:, None] * kernel, "bias": bias + params.get("bias", 0)}


class LayerNorm(Params, nn.Module):
    """LayerNorm over the channels (Ba et al. 2016), whose scale and shift come apart."""

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, Affine]:
        """Normalizes [..., X] and returns it with what is still to be applied."""
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        shift = self.param("bias", nn.initializers.zeros, channels)
        return nn.LayerNorm(use_scale=False, use_bias=False)(x), Affine(scale, shift)


class Dense(Params, nn.Module):
    """A linear layer, [..., X] -> [..., features].

    Attributes:
      features: of the output.
      use_bias: adds a bias.
      dtype: of the product, see `product`.
    """

    features: int
    use_bias: bool = True
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, x: jax.Array, affine: Affine | None = None, live: jax.Array | None = None
    ) -> jax.Array:
        """Multiplies by the kernel and adds the bias.

        Args:
          x: [..., X].
          affine: of x, applied first. It is folded into kernel and bias, so that its gradient needs
            none of x: for an x that nothing learns that saves a product.
          live: of rows x [R, X] the first so many matter, int32 []; None: all.

        Returns:
          [..., features].
        """
        params = {"kernel": self.param("kernel", uniform_fan_in, (x.shape[-1], self.features))}
        if self.use_bias:
            params["bias"] = self.param("bias", nn.initializers.zeros, (self.features,))
        if affine is not None:
            params = affine.fold_into(params)
        y = compute_dense(params, x, self.dtype, live)
        self.sow(KEPT, "input", x)
        if self.has_variable(ADDED, "output"):
            y = _add_nothing(y, self.get_variable(ADDED, "output"))
        return y


def compute_dense(
    params: Mapping[str, jax.Array], x: jax.Array, dtype: str, live: jax.Array | None = None
) -> jax.Array:
    """Computes what `Dense` does.

    Args:
      params: "kernel" [X, Y] and, as an option, "bias" [Y].
      x: [..., X].
      dtype: of the product, see `product`.
      live: of rows x [R, X] the first so many matter; None: all.

    Returns:
      [..., Y].
    """
    if live is None:
        y = product(x, params["kernel"], dtype)
    else:
        y = multiply_first(x, params["kernel"], live, dtype)
    return add_bias(y, params["bias"]) if "bias" in params else y


@jax.custom_vjp
def _add_nothing(y: jax.Array, zeros: jax.Array) -> jax.Array:
    """Adds zeros, which are there for their gradient alone: they need not be in memory."""
    del zeros
    return y


_add_nothing.defvjp(lambda y, _: (y, None), lambda _, grad: (grad, grad))


def dropout(
    keys: jax.Array | None, x: jax.Array, rate: float, *, shared: int | None = None
) -> jax.Array:
    """Inverted dropout whose mask belongs to the image, not to its place among the devices.

    Args:
      keys: one random key an image, [B]; None switches dropout off.
      x: [B, ...].
      rate: probability of a zero.
      shared: an axis of x, not the first, along which all values live or die together.

    Returns:
      x, with a fraction `rate` of its values zeroed and the rest scaled by 1 / (1 - rate).
    """
    if keys is None or rate == 0.0:
        return x
    shape = tuple(1 if axis == shared else size for axis, size in enumerate(x.shape))
    return scale_kept(draw_kept(keys, shape, rate), x, rate)


def draw_kept(keys: jax.Array, shape: tuple[int, ...], rate: float) -> jax.Array:
    """Draws what `dropout` keeps of an array [B, ...] of this shape, as booleans."""
    return jax.vmap(lambda key: jax.random.bernoulli(key, 1 - rate, shape[1:]))(keys)


def scale_kept(keep: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Zeroes what is not kept and scales the rest by 1 / (1 - rate)."""
    return jnp.where(keep, x / (1 - rate), 0.0)
