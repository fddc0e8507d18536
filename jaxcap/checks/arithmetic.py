"""The self-test of the arithmetic: compiled operations beside NumPy's in float64.

XLA can be wrong in silence. jaxlib 0.10.2 and 0.12.0.1 on CPUs compute the maximum of a product
with a constant as garbage from some hundreds of rows on; nothing but a comparison shows it.
"""

import functools
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcap import devices
from jaxcap.checks.finding import Finding

NAME = "arithmetic"
# Versions of jaxlib that were seen to be wrong on CPUs, and the flag that mends them.
_BAD_VERSIONS = ("0.10.2", "0.12.0.1")
_FLAG = "--xla_cpu_experimental_ynn_fusion_type=-reduce"
# Relative to the largest value: some hundred numbers summed in float32 differ by less.
_TOLERANCE = 1e-5
_LEARNING_RATE = 0.5

Shapes = tuple[tuple[int, ...], ...]


class Operation(NamedTuple):
    """Something to compute twice.

    Attributes:
      name: what it is, for messages.
      compute: takes float32 arrays of `shapes`; is compiled.
      expect: the same by NumPy, on float64 arrays.
      shapes: of the arguments.
    """

    name: str
    compute: Callable[..., Any]
    expect: Callable[..., np.ndarray]
    shapes: Shapes


def check_arithmetic(compile_function: Callable = jax.jit) -> list[Finding]:
    """Compares every operation of `OPERATIONS` with NumPy.

    Args:
      compile_function: takes a function to its compiled form.

    Returns:
      A finding that names the operations that are wrong; none where all are right.
    """
    wrong = []
    for operation in OPERATIONS:
        error = measure_error(operation, compile_function)
        if not error <= _tolerate():  # NaN is wrong too
            wrong.append(f"{operation.name} (off by {error:.1g} of the largest value)")
    if not wrong:
        return []
    version = metadata.version("jaxlib")
    finding = Finding(
        NAME,
        f"jaxlib {version} on {devices.describe()} computes wrongly: {', '.join(wrong)}",
        "losses, captions and scores may be wrong without any error",
        _advise(version),
    )
    return [finding]


@functools.cache
def check_arithmetic_once() -> tuple[Finding, ...]:
    """Returns the findings of `check_arithmetic`, computed once a process."""
    return tuple(check_arithmetic())


def measure_error(operation: Operation, compile_function: Callable = jax.jit) -> float:
    """Returns the largest difference to NumPy, over the largest value."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape, np.float32) for shape in operation.shapes]
    expected = operation.expect(*(array.astype(np.float64) for array in inputs))
    computed = np.asarray(compile_function(operation.compute)(*inputs), np.float64)
    return float(np.abs(computed - expected).max() / np.abs(expected).max())


def _tolerate() -> float:
    """Returns the largest error that rounding explains."""
    return max(_TOLERANCE, 10 * devices.factor_rounding())


def _advise(version: str) -> str:
    if version in _BAD_VERSIONS:
        return (
            f"this version is known for it: set XLA_FLAGS={_FLAG} before the start (normalization "
            "and softmax take up to twice as long on CPUs), or install another jaxlib"
        )
    return "install another version of jax and jaxlib, and run python -m jaxcap.doctor again"


def _expect_product_with_ones(x: np.ndarray) -> np.ndarray:
    return (x @ np.ones((24, 8))).max(-1)


def _compute_reductions(x: jax.Array) -> jax.Array:
    return jnp.stack([x.sum(-1), (x * x).mean(-1), x.max(-1)])


def _expect_reductions(x: np.ndarray) -> np.ndarray:
    return np.stack([x.sum(-1), (x * x).mean(-1), x.max(-1)])


def _expect_softmax(x: np.ndarray) -> np.ndarray:
    exponentials = np.exp(x - x.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def _compute_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _expect_convolution(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.tensordot(windows, kernel, ((4, 5, 3), (0, 1, 2)))


def _compute_step(x: jax.Array, hidden: jax.Array, output: jax.Array) -> jax.Array:
    """Returns all parameters of a network of two layers after one step of gradient descent."""
    classes = output.shape[-1]

    def loss(params: Sequence[jax.Array]) -> jax.Array:
        logits = jnp.tanh(x @ params[0] / x.shape[-1]) @ params[1]
        labels = np.eye(classes, dtype=np.float32)[np.arange(len(x)) % classes]
        return -(jax.nn.log_softmax(logits) * labels).sum() / len(x)

    params = [hidden, output]
    gradients = jax.grad(loss)(params)
    moved = jax.tree.map(lambda p, g: p - _LEARNING_RATE * g, params, gradients)
    return jnp.concatenate([leaf.ravel() for leaf in moved])


def _expect_step(x: np.ndarray, hidden: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Returns the same by the chain rule, written out."""
    activations = np.tanh(x @ hidden / x.shape[-1])
    labels = np.eye(output.shape[-1])[np.arange(len(x)) % output.shape[-1]]
    of_logits = (_expect_softmax(activations @ output) - labels) / len(x)
    of_sums = of_logits @ output.T * (1 - activations**2) / x.shape[-1]
    moved = [hidden - _LEARNING_RATE * x.T @ of_sums]
    moved.append(output - _LEARNING_RATE * activations.T @ of_logits)
    return np.concatenate([leaf.ravel() for leaf in moved])


# Hundreds of rows, for XLA takes other paths below.
OPERATIONS = (
    Operation("a matrix product", jnp.matmul, np.matmul, ((640, 96), (96, 300))),
    Operation(
        "the maximum of a product with a constant",
        lambda x: jnp.max(x @ jnp.ones((24, 8)), -1),
        _expect_product_with_ones,
        ((640, 24),),
    ),
    Operation(
        "the sums of more than 32,768 products",  # jax#39103
        jax.vmap(lambda matrix, vector: (matrix @ vector).sum()),
        lambda matrix, vector: np.einsum("nij,nj->n", matrix, vector),
        ((40_000, 4, 4), (40_000, 4)),
    ),
    Operation("reductions", _compute_reductions, _expect_reductions, ((640, 512),)),
    Operation("softmax", jax.nn.softmax, _expect_softmax, ((640, 300),)),
    Operation(
        "a convolution",
        _compute_convolution,
        _expect_convolution,
        ((4, 14, 14, 32), (3, 3, 32, 32)),
    ),
    Operation("a training step", _compute_step, _expect_step, ((640, 24), (24, 32), (32, 40))),
)
