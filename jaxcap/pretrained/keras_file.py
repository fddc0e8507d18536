"""Keras's .h5 weights of its ResNet50, the files that keras.applications downloads."""

import re
from pathlib import Path

import numpy as np

from jaxcap.errors import UserError

# Keras keeps a layer's arrays in this order, whatever the file calls them.
CONVOLUTION = ("kernel", "bias")
BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def read_keras(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a .h5 file of weights.

    Args:
      path: a file with the attribute layer_names, as Keras wrote them before version 3, or a whole
        model's.

    Returns:
      The arrays by name, such as "conv2_block1_1_conv/kernel"; the names of the files of 2016 are
      brought to today's.

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
            for layer in map(_text, root.attrs["layer_names"]):
                arrays.update(_layer(root[layer], layer))
            return arrays
    except UserError:
        raise
    except Exception as error:  # what h5py raises at a damaged file is anybody's guess
        raise UserError(
            f"{path}: truncated, damaged or not a Keras file ({error}): fetch it again"
        ) from error


def _layer(group, layer: str) -> dict[str, np.ndarray]:
    """Reads one layer's arrays."""
    weights = [np.asarray(group[_text(name)]) for name in group.attrs["weight_names"]]
    roles = BATCH_NORM if len(weights) == 4 else CONVOLUTION
    return {
        f"{_modern(layer)}/{role}": weight for role, weight in zip(roles, weights, strict=False)
    }


def _modern(layer: str) -> str:
    """Brings a layer's name of 2016 (res2a_branch2b, bn_conv1) to today's (conv2_block1_2_conv,
    conv1_bn).
    """
    old = re.fullmatch(r"(res|bn)(\d)([a-z])_branch(?:1|2([abc]))", layer)
    if old is None:
        return {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "fc1000": "predictions"}.get(
            layer, layer
        )
    kind, stage, block, branch = old.groups()
    part = " abc".index(branch or " ")
    return (
        f"conv{stage}_block{ord(block) - ord('a') + 1}_{part}_{'conv' if kind == 'res' else 'bn'}"
    )


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
