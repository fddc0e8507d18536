"""Keras's .h5 files of weights, as keras.applications downloads them."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from jaxcap.errors import UserError

# Keras keeps a layer's arrays in this order, whatever the file calls them; their number says which
# kind of layer it is. A BatchNorm may do without gamma, and a convolution without a bias.
ROLES = {
    1: ("kernel",),
    2: ("kernel", "bias"),
    3: ("beta", "moving_mean", "moving_variance"),
    4: ("gamma", "beta", "moving_mean", "moving_variance"),
}


def read_keras(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a .h5 file of weights.

    Args:
      path: a file with the attribute layer_names, as Keras wrote them before version 3, or a whole
        model's.

    Returns:
      The arrays by layer and role, such as "conv2_block1_1_conv/kernel".

    Raises:
      UserError: h5py is not installed, or the file is truncated, damaged or of another kind.
    """
    h5py = import_h5py(str(path))
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


def import_h5py(what: str) -> ModuleType:
    """Imports the library that reads .h5 files, or says that `what` needs it."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{what}: a .h5 file needs h5py: pip install 'jaxcap[keras]'") from error
    return h5py


def _read_layer(group: Any, layer: str) -> dict[str, np.ndarray]:
    """Reads one layer's arrays; layers of another kind get numbers for roles."""
    weights = [np.asarray(group[_decode(name)]) for name in group.attrs["weight_names"]]
    roles = ROLES.get(len(weights), map(str, range(len(weights))))
    return {f"{layer}/{role}": weight for role, weight in zip(roles, weights, strict=True)}


def _decode(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
