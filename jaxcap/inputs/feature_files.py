"""The files of a feature cache: features.npy, meta.json, and how far an unfinished one has come."""

import io
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxcap.io.files import write_atomically
from jaxcap.io.progress import Progress

ROWS_DONE = "rows_done"  # in an unfinished cache: how many rows of it are surely on disk
_RECORD_EVERY = 10.0  # seconds of work that a kill may cost

Meta = dict[str, Any]  # what meta.json holds; "shape" is [N, V, L, D]


def read_meta(folder: Path) -> Meta | None:
    """Returns what meta.json says, or None when it is missing or damaged."""
    try:
        return json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def are_same_features(found: Mapping[str, Any] | None, meta: Meta) -> bool:
    """Tells whether a cache holds these features; what the photos are called does not matter."""
    return found is not None and {**found, "photos": None} == {**meta, "photos": None}


def row_bytes(meta: Meta) -> int:
    """Returns the bytes of one view's features, float16 [L, D]."""
    return 2 * math.prod(meta["shape"][2:])


def count_rows(folder: Path, meta: Meta) -> int:
    """Returns how many rows of these features an unfinished cache surely holds."""
    if not are_same_features(read_meta(folder), meta):
        return 0
    try:
        recorded = int((folder / ROWS_DONE).read_text(encoding="utf-8"))
        size = (folder / "features.npy").stat().st_size
    except (OSError, ValueError):
        return 0
    written = (size - len(_header(meta))) // row_bytes(meta)
    return max(0, min(recorded, written))


def begin(folder: Path, meta: Meta) -> None:
    """Makes an unfinished cache anew, with no rows yet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "features.npy").touch()
    write_atomically(folder / "meta.json", json.dumps(meta, indent=1))


def append_rows(
    folder: Path, meta: Meta, done: int, batches: Iterator[np.ndarray], progress: Progress
) -> None:
    """Writes batches behind the first `done` rows, and records at intervals how many there are.

    Args:
      folder: of the unfinished cache.
      meta: what it holds.
      done: rows that are there.
      batches: float16 [n, L, D] each.
      progress: told how many rows are written.
    """
    with (folder / "features.npy").open("r+b") as file:
        # Plain writes, for a full disk ends a write to mapped memory with a bus error instead of an
        # exception.
        file.write(_header(meta))
        file.seek(done * row_bytes(meta), os.SEEK_CUR)
        recorded = time.monotonic()
        try:
            for rows in batches:
                file.write(rows.data)
                done += len(rows)
                progress.update(len(rows))
                if time.monotonic() - recorded > _RECORD_EVERY:
                    _record(folder, file, done)
                    recorded = time.monotonic()
        finally:
            _record(folder, file, done)


def _record(folder: Path, file: BinaryIO, done: int) -> None:
    """Records that `done` rows are on disk, once they are."""
    file.flush()
    os.fsync(file.fileno())
    write_atomically(folder / ROWS_DONE, str(done))


def _header(meta: Meta) -> bytes:
    """Returns what stands before the numbers in features.npy."""
    header = io.BytesIO()
    array = {"descr": "<f2", "fortran_order": False, "shape": tuple(meta["shape"])}
    np.lib.format.write_array_header_1_0(header, array)
    return header.getvalue()
