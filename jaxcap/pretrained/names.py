"""Foreign names and shapes of a ResNet's arrays, and the check of a whole file against them, in
both directions.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxcap.errors import UserError
from jaxcap.models.resnet import ResNet

NAMED = 3  # names listed of each kind of error


class WeightFormat(NamedTuple):
    """How another library writes down the same network.

    Attributes:
      name: maps the path of one of our arrays, such as ("params", "layer1_0", "conv1", "kernel"),
        to its name there.
      kernel_axes: its kernel's axes in the order of ours: height, width, in, out.
      ignored: matches the names of arrays that an encoder has no use for: classifiers and counters.
    """

    name: Callable[[Sequence[str]], str]
    kernel_axes: tuple[int, int, int, int]
    ignored: re.Pattern[str]


def torch_name(path: Sequence[str]) -> str:
    """Maps a path in our variables to torchvision's name: layer1.0.conv1.weight,
    layer1.0.downsample.1.running_var.
    """
    *modules, leaf = path[1:]
    module = (
        ".".join(modules)
        .replace("downsample_conv", "downsample.0")
        .replace("downsample_bn", "downsample.1")
    )
    leaves = {
        "kernel": "weight",
        "scale": "weight",
        "bias": "bias",
        "mean": "running_mean",
        "var": "running_var",
    }
    return f"{module.replace('_', '.')}.{leaves[leaf]}"


def keras_name(path: Sequence[str]) -> str:
    """Maps a path in our variables to Keras's name: conv2_block1_1_conv/kernel,
    conv2_block1_0_bn/moving_mean.
    """
    *blocks, module, leaf = path[1:]
    place = "conv1"
    if blocks:
        stage, block = re.fullmatch(r"layer(\d+)_(\d+)", blocks[0]).groups()
        part = 0 if module.startswith("downsample") else module[-1]
        place = f"conv{int(stage) + 1}_block{int(block) + 1}_{part}"
    if "conv" in module:
        return f"{place}_conv/{leaf}"
    leaves = {"scale": "gamma", "bias": "beta", "mean": "moving_mean", "var": "moving_variance"}
    return f"{place}_bn/{leaves[leaf]}"


TORCH = WeightFormat(torch_name, (2, 3, 1, 0), re.compile(r"fc\..*|.*num_batches_tracked"))
KERAS = WeightFormat(keras_name, (0, 1, 2, 3), re.compile(r"predictions/.*"))


def to_variables(
    arrays: Mapping[str, np.ndarray], model: ResNet, dialect: WeightFormat, file: str
) -> dict:
    """Arranges a file's arrays as a model's variables.

    Args:
      arrays: what the file holds, under its own names.
      model: what they must fill, with folded=False.
      dialect: whose names they are.
      file: how to call the file in an error.

    Returns:
      "params" and "batch_stats", float32.

    Raises:
      UserError: names are missing or left over, or arrays have other shapes or hold no numbers: all
        of it at once.
    """
    expected = {dialect.name(path): (path, shape) for path, shape in _shapes(model).items()}
    missing = [name for name in expected if name not in arrays]
    left_over = [
        name for name in arrays if name not in expected and not dialect.ignored.fullmatch(name)
    ]
    variables, misshapen, broken = {}, [], []
    for name, (path, shape) in expected.items():
        if name not in arrays:
            continue
        with np.errstate(
            over="ignore"
        ):  # what becomes infinite is among the impossible values below
            array = np.asarray(arrays[name]).astype(np.float32, copy=False)
        theirs = (
            tuple(shape[ours] for ours in np.argsort(dialect.kernel_axes))
            if len(shape) == 4
            else shape
        )
        if array.shape != theirs:
            misshapen.append(f"{name} {_times(array.shape)} instead of {_times(theirs)}")
        elif not np.isfinite(array).all() or (path[-1] == "var" and array.min() < 0):
            broken.append(name)
        else:
            variables[path] = array.transpose(dialect.kernel_axes) if array.ndim == 4 else array
    faults = {
        "missing": missing,
        "unexpected": left_over,
        "of another shape": misshapen,
        "with impossible values": broken,
    }
    if any(faults.values()):
        raise UserError(_report(faults, model, file))
    return unflatten_dict(variables)


def _shapes(model: ResNet) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Returns the shape of each of a model's variables, the kernels first and the statistics
    last.
    """
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda image: model.init(jax.random.key(0), image), image)
    shapes = {path: leaf.shape for path, leaf in flatten_dict(variables).items()}
    return dict(
        sorted(shapes.items(), key=lambda item: (item[0][-1] != "kernel", item[0][0] != "params"))
    )


def _report(faults: Mapping[str, Sequence[str]], model: ResNet, file: str) -> str:
    """Says in one line how a file differs from what the model needs."""
    parts = []
    for fault, names in faults.items():
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            parts.append(f"{len(names)} {fault} ({', '.join(names[:NAMED])}{more})")
    network = f"encoder.stage_sizes={tuple(model.stage_sizes)} and encoder.width={model.width}"
    return f"{file}: not the weights of a ResNet with {network}: {'; '.join(parts)}: give its weights, or set these"


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
