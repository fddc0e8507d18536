"""The positions of captions that hold a word: what needs no recurrence is computed at these alone.

About a third of a batch's positions is padding, whose logits count nowhere.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Positions(NamedTuple):
    """N of the B * C * T positions of captions.

    Attributes:
      found: [N] int32, in order; behind the last one B * C * T, which is no position.
      inverse: [B * C * T] int32, where `found` has each position; N where it has it not.
    """

    found: jax.Array
    inverse: jax.Array


def find_positions(mask: jax.Array, size: int) -> Positions:
    """Finds where a mask is not zero.

    Args:
      mask: [B, C, T].
      size: N, at least as many as there are.
    """
    flat = mask.ravel() != 0
    found = jnp.nonzero(flat, size=size, fill_value=flat.size)[0]
    inverse = jnp.where(flat, jnp.cumsum(flat) - 1, size)
    return Positions(found.astype(jnp.int32), inverse.astype(jnp.int32))


def take_positions(x: jax.Array, positions: Positions | None) -> jax.Array:
    """Takes the values at some positions.

    Args:
      x: [B, C, T, ...].
      positions: N; None for all, as they are.

    Returns:
      [N, ...], zeros where `positions` has no position.
    """
    if positions is None:
        return x
    return take_rows(x.reshape(-1, *x.shape[3:]), *positions)


@jax.custom_vjp
def take_rows(x: jax.Array, index: jax.Array, inverse: jax.Array) -> jax.Array:
    """Takes the rows `index` [N] of x [M, ...], zeros for M; `inverse` [M] undoes it.

    So its gradient takes rows too. JAX's own would add them up one after another, as those of an
    index that may name a row twice.
    """
    del inverse
    return jnp.take(x, index, axis=0, mode="fill", fill_value=0)


def _take_rows_forward(
    x: jax.Array, index: jax.Array, inverse: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return take_rows(x, index, inverse), inverse


def _take_rows_backward(inverse: jax.Array, grad: jax.Array) -> tuple[jax.Array, None, None]:
    return jnp.take(grad, inverse, axis=0, mode="fill", fill_value=0), None, None


take_rows.defvjp(_take_rows_forward, _take_rows_backward)
