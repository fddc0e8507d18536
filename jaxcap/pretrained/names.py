"""Foreign names and shapes of a network's arrays, and the check of a whole file against them.

The check goes both ways: what is missing and what is unexpected are both reported, all at once.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxcap.errors import UserError
from jaxcap.models.params import trace_variables

# Other libraries' names of our leaves, and their kernels' axes in the order of ours.
TORCH_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
TORCH_AXES = (2, 3, 1, 0)
# Of a BatchNorm; a convolution's are called as ours.
KERAS_LEAVES = {
    "scale": "gamma",
    "bias": "beta",
    "mean": "moving_mean",
    "var": "moving_variance",
}
KERAS_AXES = (0, 1, 2, 3)

_SIDE = 224  # pixels of a photo that every backbone takes
_MOST_NAMES = 3  # listed of each kind of error

# The path of one of our arrays, such as ("params", "layer1_0", "conv1", "kernel").
ArrayPath = tuple[str, ...]


class WeightFormat(NamedTuple):
    """How another library writes down the same network.

    Attributes:
      name: maps the path of one of our arrays to its name there.
      kernel_axes: its kernel's axes in the order of ours: height, width, in, out.
      ignored: matches the names of arrays that an encoder has no use for: classifiers and counters.
    """

    name: Callable[[ArrayPath], str]
    kernel_axes: tuple[int, int, int, int]
    ignored: re.Pattern[str]


def to_variables(
    arrays: Mapping[str, np.ndarray],
    model: nn.Module,
    weight_format: WeightFormat,
    *,
    file: str,
    network: str,
) -> dict:
    """Arranges a file's arrays as a model's variables.

    Args:
      arrays: what the file holds, under its own names.
      model: what they must fill, with folded=False.
      weight_format: whose names and axes they have.
      file: how to call the file in an error.
      network: what to call the model there, with the keys of the config that describe it.

    Returns:
      "params" and "batch_stats", float32.

    Raises:
      UserError: names are missing or left over, or arrays have other shapes or hold no numbers: all
        of it at once.
    """
    expected = {}
    for path, shape in _model_shapes(model).items():
        expected[weight_format.name(path)] = path, shape
    faults: dict[str, list[str]] = {
        "missing": [name for name in expected if name not in arrays],
        "unexpected": [],
        "of another shape": [],
        "with impossible values": [],
    }
    for name in arrays:
        if name not in expected and not weight_format.ignored.fullmatch(name):
            faults["unexpected"].append(name)
    variables = {}
    for name, (path, shape) in expected.items():
        if name not in arrays:
            continue
        with np.errstate(over="ignore"):  # what becomes infinite is an impossible value below
            array = np.asarray(arrays[name]).astype(np.float32, copy=False)
        is_kernel = len(shape) == 4
        if is_kernel:
            shape = tuple(shape[axis] for axis in np.argsort(weight_format.kernel_axes))
        is_variance = path[-1] == "var"
        if array.shape != shape:
            faults["of another shape"].append(
                f"{name} {_format_shape(array.shape)} instead of {_format_shape(shape)}"
            )
        elif not np.isfinite(array).all() or (is_variance and array.min() < 0):
            faults["with impossible values"].append(name)
        else:
            variables[path] = array.transpose(weight_format.kernel_axes) if is_kernel else array
    if any(faults.values()):
        raise UserError(
            f"{file}: not the weights of {network}: {_describe(faults)}: give its weights, or "
            "set the config to theirs"
        )
    return unflatten_dict(variables)


def _model_shapes(model: nn.Module) -> dict[ArrayPath, tuple[int, ...]]:
    """Returns the shape of each of a model's variables, kernels first and statistics last."""
    image = jax.ShapeDtypeStruct((1, _SIDE, _SIDE, 3), jnp.float32)
    variables = trace_variables(model, image)
    shapes = {path: leaf.shape for path, leaf in flatten_dict(variables).items()}

    def rank(path: ArrayPath) -> tuple[bool, bool]:
        return path[-1] != "kernel", path[0] != "params"

    return {path: shapes[path] for path in sorted(shapes, key=rank)}


def _describe(faults: Mapping[str, Sequence[str]]) -> str:
    """Says how a file differs from what a model needs."""
    parts = []
    for fault, names in faults.items():
        if names:
            listed = ", ".join(names[:_MOST_NAMES])
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            parts.append(f"{len(names)} {fault} ({listed}{more})")
    return "; ".join(parts)


def _format_shape(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape) or "scalar"
