"""Stacks of models: one program trains several, each a slice of every array.

The trainable states are stacked along a first axis, over which the step is mapped (`jax.vmap`).
What is the same for all models, the frozen encoder first of all, is held once.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcap import parallel
from jaxcap.text import PAD


@dataclasses.dataclass(frozen=True)
class Stacking:
    """How the inputs of a step are stacked.

    Attributes:
      replicas: how many; one alone is not stacked.
      frozen: a tree of the frozen parameters: 0 where each replica has its own, None where all
        share one.
      shares_batch: all read the same batches; False: each its own, stacked along a first axis.
    """

    replicas: int
    frozen: Any = dataclasses.field(hash=False)  # a tree, which compares by value
    shares_batch: bool

    @property
    def is_single(self) -> bool:
        """Tells whether there is one model, whose arrays are as they are."""
        return self.replicas == 1

    def is_stacked(self, name: str, own: Collection[str] = ()) -> bool:
        """Tells whether an array of the batch is stacked.

        Args:
          name: of the array.
          own: those that replicas do not share even where they share their batches.
        """
        return not self.is_single and (not self.shares_batch or name in own)


def step_each(step: Callable, stacking: Stacking, own: Collection[str] = ()) -> Callable:
    """Returns the step of all replicas: that of one, mapped over states, seeds and what each owns.

    Seeds are arguments, and no constants, so that one program serves all of them.

    Args:
      step: of one model, (state, frozen, batch, seed=..., **others) -> (state, metrics).
      stacking: of the replicas, or of the one model.
      own: as of `Stacking.is_stacked`.

    Returns:
      (states, (frozen, seeds), batch, **others) -> (states, metrics of [N] each), with `seeds` of
      `stack_seeds`; for one model state and metrics as of `step`.
    """

    def step_alone(state: Any, constants: tuple[Any, Any], batch: Any, **others: Any) -> Any:
        frozen, seed = constants
        return step(state, frozen, batch, seed=seed, **others)

    def step_all(
        states: Any, constants: tuple[Any, Any], batch: Mapping[str, Any], **others: Any
    ) -> Any:
        frozen, seeds = constants
        batch_axes = {name: 0 if stacking.is_stacked(name, own) else None for name in batch}

        def step_one(state: Any, frozen: Any, batch: Any, seed: jax.Array) -> Any:
            return step(state, frozen, batch, seed=seed, **others)

        mapped = jax.vmap(step_one, in_axes=(0, stacking.frozen, batch_axes, 0))
        return mapped(states, frozen, batch, seeds)

    return step_alone if stacking.is_single else step_all


def stack_seeds(seeds: Sequence[int]) -> np.ndarray:
    """Returns the seeds of replicas as their step takes them: int32 [N], of one alone []."""
    return np.array(seeds if len(seeds) > 1 else seeds[0], np.int32)


def stack(trees: Sequence[Any]) -> Any:
    """Stacks trees of arrays along a first axis; a single tree stays as it is."""
    if len(trees) == 1:
        return trees[0]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def unstack(tree: Any, count: int) -> list[Any]:
    """Takes apart what `stack` has made of `count` trees."""
    if count == 1:
        return [tree]
    return [take(tree, number) for number in range(count)]


def take(tree: Any, number: int) -> Any:
    """Takes one tree of a stack."""
    return jax.tree.map(lambda leaf: leaf[number], tree)


def take_frozen(frozen: Any, stacking: Stacking, number: int) -> Any:
    """Takes one replica's frozen parameters, of which some may be shared by all."""
    if stacking.is_single:
        return frozen
    return jax.tree.map(
        lambda axis, leaf: leaf if axis is None else leaf[number],
        stacking.frozen,
        frozen,
        is_leaf=lambda axis: axis is None,
    )


def stack_frozen(trees: Sequence[Any]) -> tuple[Any, Any]:
    """Stacks frozen parameters, but for those that all replicas share.

    Args:
      trees: from `share_frozen`.

    Returns:
      The parameters, and a tree of the axis along which each is stacked: 0, or None.
    """

    def are_one(leaves: Sequence[Any]) -> bool:
        return all(leaf is leaves[0] for leaf in leaves)

    stacked = jax.tree.map(
        lambda *leaves: leaves[0] if are_one(leaves) else jnp.stack(leaves), *trees
    )
    axes = jax.tree.map(lambda *leaves: None if are_one(leaves) else 0, *trees)
    return stacked, axes


def share_frozen(trees: Sequence[Any]) -> list[Any]:
    """Copies frozen parameters to the devices, those that are the same in all trees once.

    Args:
      trees: of one structure, a replica each.

    Returns:
      The trees; what is equal in all of them is the same array in all of them.
    """
    structure = jax.tree.structure(trees[0])
    columns: list[Sequence[Any]] = []
    for leaves in zip(*map(jax.tree.leaves, trees), strict=True):
        is_shared = all(np.array_equal(leaves[0], leaf) for leaf in leaves[1:])
        columns.append(leaves[:1] if is_shared else leaves)
    on_devices = parallel.replicate(columns)
    shared = []
    for number in range(len(trees)):
        of_one = [column[number] if len(column) > 1 else column[0] for column in on_devices]
        shared.append(jax.tree.unflatten(structure, of_one))
    return shared


def stack_batches(batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stacks batches on the host; captions of a shorter batch are filled up with padding."""
    stacked = {}
    for name in batches[0]:
        arrays = [batch[name] for batch in batches]
        if name == "tokens":
            length = max(array.shape[-1] for array in arrays)
            arrays = [_pad_last(array, length) for array in arrays]
        stacked[name] = np.stack(arrays)
    return stacked


def _pad_last(array: np.ndarray, length: int) -> np.ndarray:
    missing = length - array.shape[-1]
    widths = [(0, 0)] * (array.ndim - 1) + [(0, missing)]
    return np.pad(array, widths, constant_values=PAD)
