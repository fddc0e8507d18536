"""The forms in which a convolution is computed: XLA's own, or matrix products on processors.

Accelerators have convolutions of their own. On processors XLA computes most of them more slowly
than products, and none of them in bfloat16; `python -m tests.bench convolutions` measures it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcap.models.products import product

Margins = tuple[tuple[int, int], tuple[int, int]]  # zeros before and after, of rows and of columns
Multiply = Callable[[jax.Array, jax.Array], jax.Array]  # [..., C] by [C, D], in float32

_FEW_CELLS = 8 * 8  # of a grid up to which all that the weights see is laid side by side
_FEW_CELLS_ROUNDED = 14 * 14  # the same of bfloat16, for which there are no tiles
_TILED_CHANNELS = 32  # from so many on tiles save more than it costs to make them
_FEW_CHANNELS = 16  # up to so many, as of photos, products are too thin


class Arithmetic(NamedTuple):
    """How a network computes its convolutions.

    Attributes:
      dtype: "float32", or "bfloat16" to round both factors of each product first. Sums are float32,
        and so is all between two convolutions; accelerators round the results of convolutions too.
      as_products: as matrix products wherever these are faster, as on processors.
    """

    dtype: str = "float32"
    as_products: bool = False


FLOAT32 = Arithmetic()


@functools.partial(jax.jit, static_argnames=("stride", "margins", "arithmetic"))
def apply_kernel(
    x: jax.Array, kernel: jax.Array, stride: int, margins: Margins, arithmetic: Arithmetic
) -> jax.Array:
    """Applies a convolution in the form that is fastest.

    It is compiled by itself so that convolutions alike, of which networks have many, are traced and
    lowered once.

    Args:
      x: float32 [B, h, w, C].
      kernel: float32 [rows, columns, C, D].
      stride: of the rows and of the columns.
      margins: zeros around x.
      arithmetic: of the network.

    Returns:
      float32 [B, h', w', D].
    """
    sizes = kernel.shape[:2]
    dtype = arithmetic.dtype
    rounds = dtype == "bfloat16"

    def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return product(x, kernel, dtype)

    if sizes == (1, 1):
        return multiply(x[:, ::stride, ::stride], kernel[0, 0])
    if arithmetic.as_products and x.shape[-1] > _FEW_CHANNELS:
        cells = x.shape[1] * x.shape[2] // stride**2
        if cells <= (_FEW_CELLS_ROUNDED if rounds else _FEW_CELLS):
            return multiply_columns(x, kernel, stride, margins, multiply)
        if rounds:
            return multiply_views(x, kernel, stride, margins, multiply)
        if sizes == (3, 3) and stride == 1 and min(kernel.shape[2:]) >= _TILED_CHANNELS:
            return multiply_tiles(x, kernel, margins, multiply)

    if rounds and not arithmetic.as_products:
        x = x.astype(jnp.bfloat16)
        kernel = kernel.astype(jnp.bfloat16)
    elif rounds:
        # XLA's processors convolve in float32 alone.
        x = jax.lax.reduce_precision(x, 8, 7)
        kernel = jax.lax.reduce_precision(kernel, 8, 7)
    y = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), margins, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y.astype(jnp.float32)


def multiply_columns(
    x: jax.Array, kernel: jax.Array, stride: int, margins: Margins, multiply: Multiply
) -> jax.Array:
    """Convolves by one product, of all that the weights see side by side (im2col)."""
    columns = jnp.concatenate(_shift(x, kernel.shape[:2], stride, margins), axis=-1)
    return multiply(columns, kernel.reshape(-1, kernel.shape[-1]))


def multiply_views(
    x: jax.Array, kernel: jax.Array, stride: int, margins: Margins, multiply: Multiply
) -> jax.Array:
    """Convolves by one product for each weight of the kernel, of what it sees, summed."""
    views = _shift(x, kernel.shape[:2], stride, margins)
    weights = kernel.reshape(-1, *kernel.shape[2:])
    total = multiply(views[0], weights[0])
    for view, weight in zip(views[1:], weights[1:], strict=True):
        total = total + multiply(view, weight)
    return total


def multiply_tiles(
    x: jax.Array, kernel: jax.Array, margins: Margins, multiply: Multiply
) -> jax.Array:
    """Convolves with a 3x3 kernel and stride 1 by 16 products a tile of 2x2 cells instead of 36.

    Winograd's F(2x2, 3x3): Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks"
    (2016, arXiv:1509.09308), section 4.1. In float32 it is as exact as the plain sum.
    """
    (top, bottom), (left, right) = margins
    rows = x.shape[1] + top + bottom - 2  # of the output
    columns = x.shape[2] + left + right - 2
    tile_rows = -(-rows // 2)
    tile_columns = -(-columns // 2)
    bottom += 2 * tile_rows - rows
    right += 2 * tile_columns - columns
    x = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))

    # A tile sees 4x4 cells. Lists hold what belongs to each of the four, along rows and columns.
    across_rows = _transform_input([x[:, i : i + 2 * tile_rows - 1 : 2] for i in range(4)])
    kernels_across_rows = _transform_kernel(kernel)
    halves = []
    for i in range(4):
        seen = across_rows[i]
        cells = _transform_input([seen[:, :, j : j + 2 * tile_columns - 1 : 2] for j in range(4)])
        weights = _transform_kernel(kernels_across_rows[i])
        halves.append(_transform_output([multiply(cells[j], weights[j]) for j in range(4)]))
    left_cells = _transform_output([half[0] for half in halves])  # [B, tiles, tiles, D], two
    right_cells = _transform_output([half[1] for half in halves])
    pairs = [jnp.stack(pair, axis=3) for pair in zip(left_cells, right_cells, strict=True)]
    y = jnp.stack(pairs, axis=2)  # [B, tiles, 2, tiles, 2, D]
    y = y.reshape(x.shape[0], 2 * tile_rows, 2 * tile_columns, -1)
    return y[:, :rows, :columns]


def _transform_input(d: Sequence[jax.Array]) -> list[jax.Array]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _transform_kernel(g: jax.Array | Sequence[jax.Array]) -> list[jax.Array]:
    return [g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]]


def _transform_output(m: Sequence[jax.Array]) -> list[jax.Array]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _shift(x: jax.Array, sizes: Sequence[int], stride: int, margins: Margins) -> list[jax.Array]:
    """Returns what each weight of a kernel sees, [B, h', w', C] each, row by row."""
    x = jnp.pad(x, ((0, 0), *margins, (0, 0)))
    rows = x.shape[1] - sizes[0] + 1
    columns = x.shape[2] - sizes[1] + 1
    views = []
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            views.append(x[:, i : i + rows : stride, j : j + columns : stride])
    return views
