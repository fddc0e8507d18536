"""A recurrence whose layers get the gradients of their parameters from all positions at once.

The gradient of `nn.scan` adds, at every position, a product of few rows to the gradient of every
kernel. One product of the rows of all positions is the same sum, and faster.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxcap.models.layers import ADDED, KEPT, compute_dense
from jaxcap.models.positions import Positions, take_rows

# Of the `nn.scan`: what its layers read and what is added to their outputs, position by position.
VARIABLE_AXES = {KEPT: 0, ADDED: 0}

_Path = tuple[str, ...]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run(
    module: nn.Module, method: str, positions: Positions | None, params: Any, *args: Any
) -> Any:
    """Calls a method that runs a recurrence.

    Args:
      module: unbound, with the `dtype` of its layers.
      method: its name. It is an `nn.scan` with `VARIABLE_AXES`, and draws no random numbers. A
        `Dense` that it calls more than once a position keeps the gradient of the scan.
      positions: of the rows [T, R, X] that layers read, those whose outputs matter; the gradient of
        the others' is zero. None: all.
      params: those that it reads.
      args: arrays, or trees of them.

    Returns:
      What the method returns.
    """
    del positions
    return module.apply({"params": params}, *args, method=method)


def _forward(
    module: nn.Module, method: str, positions: Positions | None, params: Any, *args: Any
) -> tuple[Any, Any]:
    apply = functools.partial(module.apply, method=method, mutable=[KEPT])
    _, shapes = jax.eval_shape(apply, {"params": params}, *args)
    flat = flatten_dict(params)
    layers = {}
    zeros = {}
    for layer, inputs in _find_inputs(shapes).items():
        layers[layer] = {path[-1]: leaf for path, leaf in flat.items() if path[:-1] == layer}
        features = layers[layer]["kernel"].shape[-1]
        zeros[layer] = {"output": jnp.zeros((*inputs.shape[:-1], features))}
    others = {path: leaf for path, leaf in flat.items() if path[:-1] not in layers}

    def compute(others: dict, added: dict, *args: Any) -> tuple[Any, dict[_Path, jax.Array]]:
        # The layers' own parameters are constants here; gradients reach what is added instead.
        read = {"params": unflatten_dict(others | layers), ADDED: unflatten_dict(added)}
        outputs, kept = apply(read, *args)
        return outputs, _find_inputs(kept)

    outputs, pull, inputs = jax.vjp(compute, others, zeros, *args, has_aux=True)
    return outputs, (positions, pull, layers, inputs)


def _backward(module: nn.Module, method: str, residuals: Any, grads: Any) -> tuple[Any, ...]:
    del method
    positions, pull, layers, inputs = residuals
    of_params, of_outputs, *of_args = pull(grads)
    for layer, params in layers.items():
        x = _take(inputs[layer], positions)
        compute = functools.partial(compute_dense, x=x, dtype=module.dtype)
        _, pull_layer = jax.vjp(compute, params)
        (of_params[layer],) = pull_layer(_take(of_outputs[layer]["output"], positions))
    return None, unflatten_dict(of_params), *of_args


run.defvjp(_forward, _backward)


def _find_inputs(variables: Any) -> dict[_Path, Any]:
    """Returns what each layer that was called once has read at all positions, by its path."""
    kept = flatten_dict(variables[KEPT])
    return {path[:-1]: inputs[0] for path, inputs in kept.items() if len(inputs) == 1}


def _take(x: jax.Array, positions: Positions | None) -> jax.Array:
    """Takes the rows [N, X] of [..., X] that matter."""
    rows = x.reshape(-1, x.shape[-1])
    return rows if positions is None else take_rows(rows, *positions)
