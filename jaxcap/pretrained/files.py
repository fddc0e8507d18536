"""Arrays from a file of weights, by its kind."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from jaxcap.errors import UserError
from jaxcap.pretrained.keras_file import read_keras
from jaxcap.pretrained.torch_file import read_torch


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a .safetensors, .pth, .pt, .pth.tar or .h5 file.

    Returns:
      The arrays by the file's own names.

    Raises:
      UserError: there is no such file, or it is damaged, unsafe or of another kind.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"encoder.weights={path}: give hub, random or a file that ends in {', '.join(READERS)}"
        )
    if not path.is_file():
        raise UserError(
            f"encoder.weights={path}: there is no file {path.absolute()}: give its path, or hub"
        )
    try:
        return reader(path)
    except OSError as error:
        raise UserError(
            f"encoder.weights={path}: cannot be read ({error.strerror or error})"
        ) from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a .safetensors file."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(
            f"{path}: truncated, damaged or not a safetensors file ({error}): fetch it again"
        ) from error


READERS = {
    ".safetensors": _read_safetensors,
    ".pth": read_torch,
    ".pt": read_torch,
    ".tar": read_torch,  # as in model_best.pth.tar, which is no tar archive
    ".h5": read_keras,
}
