"""Matrix products in float32 or bfloat16, and of the first rows alone, with their gradients."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

DTYPES = ("float32", "bfloat16")

# Of `multiply_first`: how many sizes there are up to all rows, and the fewest rows between two.
_PARTS = 8
_LEAST = 8


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def multiply_first(x: jax.Array, kernel: jax.Array, count: jax.Array, dtype: str) -> jax.Array:
    """Multiplies the first rows of [R, X] by [X, Y]: `product`, where the other rows do not matter.

    There is a branch for each of a few sizes, of which one is run.

    Args:
      x: float32 [R, X].
      kernel: float32 [X, Y].
      count: int32 [], how many rows matter. The gradient of the others' products has to be zero.
      dtype: see `product`.

    Returns:
      float32 [R, Y]; what the other rows are is not said.
    """
    return _multiply_first_forward(x, kernel, count, dtype)[0]


def _multiply_first_forward(
    x: jax.Array, kernel: jax.Array, count: jax.Array, dtype: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    # Outside of the branches, so that a loop around them rounds the kernel once.
    x = x.astype(dtype)
    kernel = kernel.astype(dtype)
    y = _apply_to_first(lambda rows: _sum_in_float32(rows, kernel), x, count)
    return y, (x, kernel, count)


def _multiply_first_backward(
    dtype: str, residuals: tuple[jax.Array, jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    x, kernel, count = residuals
    grad = grad.astype(dtype)
    of_x = _apply_to_first(lambda rows: _sum_in_float32(rows, kernel.T), grad, count)
    return of_x, _sum_in_float32(x.T, grad), None


multiply_first.defvjp(_multiply_first_forward, _multiply_first_backward)


def _apply_to_first(
    function: Callable[[jax.Array], jax.Array], x: jax.Array, count: jax.Array
) -> jax.Array:
    """Applies a function of rows to at least `count` rows of x [R, ...]; the rest becomes zeros."""
    rows = len(x)
    part = max(-(-rows // _PARTS), _LEAST)

    def make_branch(size: int) -> Callable[[jax.Array], jax.Array]:
        def apply(x: jax.Array) -> jax.Array:
            return jnp.pad(function(x[:size]), ((0, rows - size), (0, 0)))

        return apply

    branches = [make_branch(min(size, rows)) for size in range(part, rows + part, part)]
    return jax.lax.switch((count - 1) // part, branches, x)


def _sum_in_float32(x: jax.Array, y: jax.Array) -> jax.Array:
    """Multiplies [..., X] by [X, Y], both bfloat16 or both float32."""
    if x.dtype == jnp.bfloat16 and not multiplies_bfloat16():
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
