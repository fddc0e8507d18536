"""The positions of captions that hold a word: what is wide is computed at these alone.

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
    return jnp.take(flat, positions, axis=0, mode="fill", fill_value=0)
