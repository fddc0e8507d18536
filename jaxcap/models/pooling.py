"""Pools over 3x3 windows, as ResNet and InceptionV3 have them.

The columns of the windows first, then their rows: four operations a cell on whole views of the
grid. XLA's own windows take several times as long on processors, and so does their gradient.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def max_pool(x: jax.Array, margins: tuple[int, int] = (0, 0)) -> jax.Array:
    """Takes the maximum over 3x3 windows with stride 2.

    Args:
      x: [B, n, n, D].
      margins: of minus infinity, before and after the rows and the columns.

    Returns:
      [B, m, m, D], m the windows that fit into n and its margins. Where cells of a window are
      equal, they share its gradient.
    """
    around = ((0, 0), margins, margins, (0, 0))
    x = jnp.pad(x, around, constant_values=-np.inf)
    windows = (x.shape[1] - 1) // 2
    last = 2 * windows - 1
    columns = [x[:, :, i : i + last : 2] for i in range(3)]
    x = functools.reduce(jnp.maximum, columns)
    rows = [x[:, i : i + last : 2] for i in range(3)]
    return functools.reduce(jnp.maximum, rows)


def average_pool(x: jax.Array, pool: str) -> jax.Array:
    """Averages over the 3x3 windows around each cell.

    Args:
      x: [B, n, n, D].
      pool: "uncounted" divides by the cells of a window that lie inside of the grid, "counted"
        always by nine.

    Returns:
      [B, n, n, D].
    """
    around = (1, 1)
    padded = jnp.pad(x, ((0, 0), around, around, (0, 0)))
    columns = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    sums = columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:]
    if pool == "counted":
        return sums / 9
    cells = np.pad(np.ones(x.shape[1], np.float32), around)
    inside = cells[:-2] + cells[1:-1] + cells[2:]
    return sums / np.outer(inside, inside)[:, :, np.newaxis]
