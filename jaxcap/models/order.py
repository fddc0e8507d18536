"""The order in which a recurrence reads captions: the longest first.

So at every position the captions that have a word there are the first rows, and the others need not
be multiplied.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcap.models.positions import Positions, take_rows


class Order(NamedTuple):
    """An order of the R = B * C captions of a batch.

    Attributes:
      captions: [R] int32, which caption comes at each place; None: as they are.
      places: [R] int32, the place of each caption; None with `captions`.
      live: [T] int32, how many captions have a word at each position; None with `captions`.
      positions: N of the words, in the scan's [T, R].
    """

    captions: jax.Array | None
    places: jax.Array | None
    live: jax.Array | None
    positions: Positions

    def sort(self, tree: Any) -> Any:
        """Brings arrays [B, C, ...] into this order: [R, ...]."""
        return jax.tree.map(self._sort, tree)

    def restore(self, x: jax.Array, photos: int) -> jax.Array:
        """Brings rows [R, ...] back to their photos: [B, C, ...]."""
        if self.captions is not None:
            x = take_rows(x, self.places, self.captions)
        return x.reshape(photos, -1, *x.shape[1:])

    def put(self, x: jax.Array) -> jax.Array:
        """Puts what belongs to the words, [N, ...], where a scan reads it: [T * R, ...].

        All other positions get zeros.
        """
        return take_rows(x, self.positions.inverse, self.positions.found)

    def take(self, x: jax.Array) -> jax.Array:
        """Takes of what a scan has made, [T, R, ...], what belongs to the words: [N, ...]."""
        return take_rows(x.reshape(-1, *x.shape[2:]), *self.positions)

    def _sort(self, x: jax.Array) -> jax.Array:
        x = x.reshape(-1, *x.shape[2:])
        return x if self.captions is None else take_rows(x, self.captions, self.places)


def order_captions(positions: Positions, length: int, *, by_length: bool) -> Order:
    """Orders captions.

    Args:
      positions: of [B, C, T], the first ones of each caption.
      length: T.
      by_length: the longest first; False: as they are, for devices that gain nothing by it.
    """
    found, inverse = positions
    places = jnp.arange(len(inverse) // length, dtype=jnp.int32)
    captions = live = None
    rows = inverse.reshape(-1, length)
    if by_length:
        has_word = rows < len(found)  # [R, T]
        captions = jnp.argsort(-has_word.sum(axis=1)).astype(jnp.int32)
        places = jnp.argsort(captions).astype(jnp.int32)
        live = _find_most(has_word.sum(axis=0).astype(jnp.int32))
        rows = rows[captions]
    scanned = found % length * len(places) + places[found // length]
    scanned = jnp.where(found < len(inverse), scanned, len(inverse))
    return Order(
        captions=captions,
        places=None if captions is None else places,
        live=live,
        positions=Positions(scanned, rows.T.ravel()),
    )


@jax.custom_batching.custom_vmap
def _find_most(live: jax.Array) -> jax.Array:
    """Returns how many captions are live; of batches side by side, the most at each position.

    Where each batch takes a branch of its own, XLA computes all branches.
    """
    return live


@_find_most.def_vmap
def _find_most_of_batches(
    _: int, is_batched: list[bool], live: jax.Array
) -> tuple[jax.Array, bool]:
    return live.max(axis=0) if is_batched[0] else live, False
