"""Loops of unequal length, and functions of a batch, run for a few images at a time."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class _Slots(NamedTuple):
    """The state of S slots that work off B searches."""

    searches: Any  # [B, ...] each leaf: waiting, or done and put back
    images: jax.Array  # [S], whose search runs in each slot; B marks an empty slot
    running: Any  # [S, ...]
    memory: Any  # [S, ...]
    following: jax.Array  # [], the first image that still waits; B when none does


def run_in_slots(advance: Callable[[Any, Any], Any], searches: Any, memory: Any, slots: int) -> Any:
    """Advances all searches until they are done, `slots` of them at a time.

    A slot whose search is done puts it back and takes up the next, so that a batch costs the sum of
    its sentences' lengths instead of its size times the longest.

    Args:
      advance: from S searches and their memory to the searches one step later.
      searches: a pytree of [B, ...] whose leaf `done` is bool [B].
      memory: what `advance` reads, a pytree of [B, ...].
      slots: S, below B.

    Returns:
      The searches, all done.
    """
    size = searches.done.shape[0]

    def is_ready(state: _Slots) -> jax.Array:
        """Tells which slots hold a search that is done and not put back yet, [S]."""
        return state.running.done & (state.images < size)

    def refill(state: _Slots) -> _Slots:
        """Puts one finished search back and takes up the next that waits."""
        slot = jnp.argmax(is_ready(state))
        image = jnp.minimum(state.following, size - 1)
        searches = _put(state.searches, state.images[slot], _take(state.running, slot))
        return _Slots(
            searches=searches,
            images=state.images.at[slot].set(state.following),
            running=_put(state.running, slot, _take(searches, image)),
            memory=_put(state.memory, slot, _take(memory, image)),
            following=jnp.minimum(state.following + 1, size),
        )

    def step(state: _Slots) -> _Slots:
        state = state._replace(running=advance(state.running, state.memory))
        # One image after the other: writing a single slot in place leaves the memory of the others
        # untouched.
        return jax.lax.while_loop(lambda state: is_ready(state).any(), refill, state)

    state = _Slots(
        searches=searches,
        images=jnp.arange(slots),
        running=jax.tree.map(lambda x: x[:slots], searches),
        memory=jax.tree.map(lambda x: x[:slots], memory),
        following=jnp.asarray(slots),
    )
    return jax.lax.while_loop(lambda state: (state.images < size).any(), step, state).searches


def map_groups(function: Callable[..., Any], arguments: tuple, size: int | None) -> Any:
    """Calls a function of batches for one group of images after another.

    Args:
      function: from pytrees of [B, ...] to a pytree of [B, ...], every image by itself.
      arguments: what it is called with, of B images.
      size: images a group; where it does not divide B, the last group begins earlier. None or B and
        above: all in one.

    Returns:
      What `function` returns for all of them.
    """
    images = jax.tree.leaves(arguments)[0].shape[0]
    if size is None or size >= images:
        return function(*arguments)

    def group(start: jax.Array | int) -> tuple:
        return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, size), arguments)

    def run_group(number: jax.Array, done: Any) -> Any:
        start = jnp.minimum(number * size, images - size)
        put = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return jax.tree.map(put, done, function(*group(start)))

    shapes = jax.eval_shape(lambda: function(*group(0)))
    empty = jax.tree.map(lambda x: jnp.zeros((images, *x.shape[1:]), x.dtype), shapes)
    return jax.lax.fori_loop(0, -(-images // size), run_group, empty)


def _take(tree: Any, index: jax.Array) -> Any:
    """Takes one search out of a pytree of [B, ...]."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), tree)


def _put(tree: Any, index: jax.Array, item: Any) -> Any:
    """Puts one search into a pytree of [B, ...]."""
    return jax.tree.map(
        lambda x, y: jax.lax.dynamic_update_index_in_dim(x, y, index, 0), tree, item
    )
