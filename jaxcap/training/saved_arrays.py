"""Reads what orbax has saved without orbax, whose import alone takes longer than the reading.

What is read counts only where its checksum fits. For everything else there is orbax, which also
knows why something cannot be read.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorstore as ts


class Saved(NamedTuple):
    """Arrays whose checksum was right.

    Attributes:
      arrays: by name.
      progress: what was saved beside them.
    """

    arrays: dict[str, np.ndarray]
    progress: dict[str, Any]


def read_step(folder: Path) -> Saved | None:
    """Reads a step of a run's checkpoints; None where it is not as it was saved, or not readable.

    Args:
      folder: of the step.
    """
    try:
        text = (folder / "progress" / "metadata").read_text(encoding="utf-8")
        progress = json.loads(text)
        arrays = _read_arrays(folder / "arrays")
        checksum = progress.pop("checksum")
    except Exception:  # of whatever kind: orbax finds it again, and it is explained there
        return None
    if compute_checksum(arrays, progress) != checksum:
        return None
    return Saved(arrays, progress)


def read_frozen(folder: Path, seal: Path) -> dict[str, np.ndarray] | None:
    """Reads the frozen parameters of a run; None as of `read_step`.

    Args:
      folder: of their arrays.
      seal: the file of their checksum.
    """
    try:
        checksum = json.loads(seal.read_text(encoding="utf-8"))["checksum"]
        arrays = _read_arrays(folder)
    except Exception:
        return None
    return arrays if compute_checksum(arrays) == checksum else None


def compute_checksum(
    arrays: Mapping[str, np.ndarray], progress: Mapping[str, Any] | None = None
) -> str:
    """Hashes the names, types, shapes and bytes of arrays, and the progress beside them."""
    digest = hashlib.sha256()
    if progress is not None:
        digest.update(json.dumps(progress, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {np.shape(arrays[name])}".encode())
        # As bytes, because not every type of JAX's is one that a buffer can have.
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of a folder, each saved under its own name, side by side."""
    context = ts.Context()
    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}}
    keys = ts.KvStore.open(store, context=context).result().list().result()
    names = {key.decode().rpartition("/")[0] for key in keys}
    opening = {}
    for name in names:
        spec = {"driver": "zarr", "kvstore": {**store, "path": f"{name}/"}}
        opening[name] = ts.open(spec, open=True, read=True, context=context)
    reading = {name: opened.result().read() for name, opened in opening.items()}
    return {name: np.asarray(array.result()) for name, array in reading.items()}
