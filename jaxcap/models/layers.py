"""The small pieces that every model here is made of."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcap.models.params import Params

DTYPES = ("float32", "bfloat16")

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
    def __call__(self, x: jax.Array, affine: Affine | None = None) -> jax.Array:
        """Multiplies by the kernel and adds the bias.

        Args:
          x: [..., X].
          affine: of x, applied first. It is folded into kernel and bias, so that its gradient needs
            none of x: for an x that nothing learns that saves a product.

        Returns:
          [..., features].
        """
        params = {"kernel": self.param("kernel", uniform_fan_in, (x.shape[-1], self.features))}
        if self.use_bias:
            params["bias"] = self.param("bias", nn.initializers.zeros, (self.features,))
        if affine is not None:
            params = affine.fold_into(params)
        y = compute_dense(params, x, self.dtype)
        self.sow(KEPT, "input", x)
        if self.has_variable(ADDED, "output"):
            y += self.get_variable(ADDED, "output")
        return y


def compute_dense(params: Mapping[str, jax.Array], x: jax.Array, dtype: str) -> jax.Array:
    """Computes what `Dense` does.

    Args:
      params: "kernel" [X, Y] and, as an option, "bias" [Y].
      x: [..., X].
      dtype: of the product, see `product`.

    Returns:
      [..., Y].
    """
    y = product(x, params["kernel"], dtype)
    return add_bias(y, params["bias"]) if "bias" in params else y


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds a bias [X] to float32 [..., X].

    Its gradient, a sum over the rows, is a product with ones: XLA sums columns on processors 20
    times as slowly as it multiplies, which took a twelfth of a step with 20,000 words.
    """
    return x + bias


def _add_bias_forward(x: jax.Array, bias: jax.Array) -> tuple[jax.Array, None]:
    return x + bias, None


def _add_bias_backward(_: None, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows = grad.reshape(-1, grad.shape[-1])
    # Accelerators would round the factors of a product by default.
    ones = jnp.ones(len(rows), grad.dtype)
    return grad, jnp.matmul(ones, rows, precision=jax.lax.Precision.HIGHEST)


add_bias.defvjp(_add_bias_forward, _add_bias_backward)


def product(
    x: jax.Array, kernel: jax.Array, dtype: str = "float32", *, transposed: bool = False
) -> jax.Array:
    """Multiplies [..., X] by [X, Y], summing in float32.

    Args:
      x: float32 [..., X].
      kernel: float32 [X, Y].
      dtype: "float32", or "bfloat16" to round both factors first, here and in the gradient
        (Micikevicius et al. 2018; the range is float32's, so no loss scaling). Processors with
        matrix units multiply those several times as fast.
      transposed: the kernel comes as [Y, X].

    Returns:
      float32 [..., Y].
    """
    if dtype == "bfloat16":
        return _rounded_product(x, kernel, transposed)
    return x @ (kernel.T if transposed else kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _rounded_product(x: jax.Array, kernel: jax.Array, transposed: bool) -> jax.Array:
    return _rounded_product_forward(x, kernel, transposed)[0]


def _rounded_product_forward(
    x: jax.Array, kernel: jax.Array, transposed: bool
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    x = x.astype(jnp.bfloat16)
    kernel = kernel.astype(jnp.bfloat16)
    return _sum_in_float32(x, kernel.T if transposed else kernel), (x, kernel)


def _rounded_product_backward(
    transposed: bool, factors: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    # By hand, because JAX's own rule would multiply the float32 gradient as it is.
    x, kernel = factors
    grad = grad.astype(jnp.bfloat16)
    # Two axes a factor, in the kernel's own order: of more, or transposed, XLA's CPU compiler makes
    # products that it cannot run.
    rows = x.reshape(-1, x.shape[-1])
    grads = grad.reshape(-1, grad.shape[-1])
    if transposed:
        return _sum_in_float32(grad, kernel), _sum_in_float32(grads.T, rows)
    return _sum_in_float32(grad, kernel.T), _sum_in_float32(rows.T, grads)


_rounded_product.defvjp(_rounded_product_forward, _rounded_product_backward)


def _sum_in_float32(x: jax.Array, y: jax.Array) -> jax.Array:
    """Multiplies [..., X] by [X, Y], both bfloat16."""
    if not multiplies_bfloat16():
        # The same, only slower. reduce_precision, because XLA may elide a bf16 round trip.
        x = jax.lax.reduce_precision(x.astype(jnp.float32), 8, 7)
        y = jax.lax.reduce_precision(y.astype(jnp.float32), 8, 7)
    return jnp.matmul(x, y, preferred_element_type=jnp.float32)


@functools.cache
def multiplies_bfloat16() -> bool:
    """Tells whether the devices multiply bfloat16 and sum in float32; jax 0.7 on CPUs does not."""
    x = np.ones((2, 30, 40), np.float32)
    y = np.ones((70, 40), np.float32)

    def multiply(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.matmul(
            x.astype(jnp.bfloat16), y.astype(jnp.bfloat16).T, preferred_element_type=jnp.float32
        )

    try:
        with jax.ensure_compile_time_eval():
            jax.jit(multiply)(x, y).block_until_ready()
    except jax.errors.JaxRuntimeError:
        return False
    return True


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
