"""Keras's .h5 weights of its ResNet50, the files that keras.applications downloads."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxcap.errors import UserError

# Keras keeps a layer's arrays in this order, whatever the file calls them.
CONVOLUTION = ("kernel", "bias")
BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_OTHER_LAYERS = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "fc1000": "predictions"}


def read_keras(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a .h5 file of weights.

    Args:
      path: a file with the attribute layer_names, as Keras wrote them before version 3, or a whole
        model's.

    Returns:
      The arrays by name, such as "conv2_block1_1_conv/kernel"; the names of the files of 2016 are
      translated to today's.

    Raises:
      UserError: h5py is not installed, or the file is truncated, damaged or of another kind.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{path}: a .h5 file needs h5py: pip install 'jaxcap[keras]'") from error
    try:
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" not in root.attrs:
                raise UserError(
                    f"{path}: no layer_names in it: save the weights in Keras's .h5 format, not "
                    ".weights.h5"
                )
            arrays = {}
            for name in root.attrs["layer_names"]:
                layer = _decode(name)
                arrays.update(_read_layer(root[layer], layer))
            return arrays
    except UserError:
        raise
    except Exception as error:  # h5py may raise anything at a damaged file
        raise UserError(
            f"{path}: truncated, damaged or not a Keras file ({error}): fetch it again"
        ) from error


def _read_layer(group: Any, layer: str) -> dict[str, np.ndarray]:
    """Reads one layer's arrays."""
    weights = [np.asarray(group[_decode(name)]) for name in group.attrs["weight_names"]]
    roles = BATCH_NORM if len(weights) == 4 else CONVOLUTION
    name = _translate(layer)
    # Not strict: a convolution may have no bias.
    return {f"{name}/{role}": weight for role, weight in zip(roles, weights, strict=False)}


def _translate(layer: str) -> str:
    """Translates a layer's name of 2016, as res2a_branch2b, to today's, as conv2_block1_2_conv."""
    old = re.fullmatch(r"(res|bn)(\d)([a-z])_branch(?:1|2([abc]))", layer)
    if old is None:
        return _OTHER_LAYERS.get(layer, layer)
    kind, stage, letter, branch = old.groups()
    block = ord(letter) - ord("a") + 1
    part = " abc".index(branch or " ")
    return f"conv{stage}_block{block}_{part}_{'conv' if kind == 'res' else 'bn'}"


def _decode(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
