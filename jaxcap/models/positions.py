"""The positions of captions that hold a word: what needs no recurrence is computed at these alone.

About a third of a batch's positions is padding, whose logits count nowhere.
"""

import jax
import jax.numpy as jnp


def find_positions(mask: jax.Array, size: int) -> jax.Array:
    """Finds where a mask is not zero.

    Args:
      mask: [B, C, T].
      size: N, at least as many as there are.

    Returns:
      Indices [N] int32 into the B * C * T positions, in order; behind the last one B * C * T, which
      is no position.
    """
    flat = mask.ravel()
    return jnp.nonzero(flat, size=size, fill_value=flat.size)[0].astype(jnp.int32)


def take_positions(x: jax.Array, positions: jax.Array | None) -> jax.Array:
    """Takes the values at some positions.

    Args:
      x: [B, C, T, ...].
      positions: [N] of `find_positions`; None for all, as they are.

    Returns:
      [N, ...], zeros where `positions` has no position.
    """
    if positions is None:
        return x
    flat = x.reshape(-1, *x.shape[3:])
    return _take_rows(flat, positions, _invert(positions, len(flat)))


def put_positions(x: jax.Array, positions: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Puts values at their positions, in the order of a scan.

    Args:
      x: [N, ...].
      positions: [N] of `find_positions`.
      shape: (B, C, T).

    Returns:
      [T, B, C, ...], zeros at all other positions.
    """
    photos, captions, length = shape
    size = photos * captions * length
    inverse = _invert(positions, size).reshape(-1, length).T.ravel()
    scanned = positions % length * (photos * captions) + positions // length
    rows = _take_rows(x, inverse, jnp.where(positions < size, scanned, size))
    return rows.reshape(length, photos, captions, *x.shape[1:])


def _invert(index: jax.Array, size: int) -> jax.Array:
    """Returns where `index` [N] holds each of 0 to size - 1, N where it does not: [size]."""
    places = jnp.arange(len(index), dtype=index.dtype)
    return jnp.full(size, len(index), index.dtype).at[index].set(places, mode="drop")


@jax.custom_vjp
def _take_rows(x: jax.Array, index: jax.Array, inverse: jax.Array) -> jax.Array:
    """Takes the rows `index` [N] of x [M, ...], zeros for M; `inverse` [M] undoes it.

    So its gradient takes rows too. JAX's own would add them up one after another, as those of an
    index that may name a row twice.
    """
    del inverse
    return jnp.take(x, index, axis=0, mode="fill", fill_value=0)


def _take_rows_forward(
    x: jax.Array, index: jax.Array, inverse: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return _take_rows(x, index, inverse), inverse


def _take_rows_backward(inverse: jax.Array, grad: jax.Array) -> tuple[jax.Array, None, None]:
    return jnp.take(grad, inverse, axis=0, mode="fill", fill_value=0), None, None


_take_rows.defvjp(_take_rows_forward, _take_rows_backward)
