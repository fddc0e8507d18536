"""The files of a feature cache: features.npy, meta.json, and how far an unfinished one has come.

Several processes fill a cache together: each writes pieces of it, and records by itself how far it
has come, so that any number of processes can go on with what others have left.
"""

import io
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from jaxcap.io.files import write_atomically
from jaxcap.io.progress import Progress

# In an unfinished cache: before which row all are surely on disk. Of rows that begin with another
# than the first, row N, it is in rows_done_N.
ROWS_DONE = "rows_done"
_RECORD_EVERY = 10.0  # seconds of work that a kill may cost

Meta = dict[str, Any]  # what meta.json holds; "shape" is [N, V, L, D]


class Piece(NamedTuple):
    """Rows of a cache that are missing.

    Attributes:
      first: with which the record begins that they continue.
      start: the first of them.
      stop: behind the last of them.
    """

    first: int
    start: int
    stop: int


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


def list_missing(folder: Path, meta: Meta) -> list[Piece]:
    """Lists what an unfinished cache still lacks of these features."""
    total = math.prod(meta["shape"][:2])
    missing = []
    first = 0
    start = 0
    for done_from, end in _list_done(folder, meta):
        if done_from > start:
            missing.append(Piece(first, start, done_from))
        first = done_from
        start = max(start, end)
    if start < total:
        missing.append(Piece(first, start, total))
    return missing


def share_out(missing: Sequence[Piece], shares: int) -> list[list[Piece]]:
    """Divides missing rows into shares of equal size, each of as few pieces as there can be."""
    total = sum(piece.stop - piece.start for piece in missing)
    cuts = [total * share // shares for share in range(1, shares)]
    divided: list[list[Piece]] = [[] for _ in range(shares)]
    share = 0
    before = 0  # missing rows before the piece
    for piece in missing:
        first = piece.first
        start = piece.start
        while start < piece.stop:
            while share < len(cuts) and cuts[share] <= before + start - piece.start:
                share += 1
            stop = piece.stop
            if share < len(cuts):
                stop = min(stop, piece.start + cuts[share] - before)
            divided[share].append(Piece(first, start, stop))
            first = stop  # the next share has a record of its own
            start = stop
        before += piece.stop - piece.start
    return divided


def begin(folder: Path, meta: Meta) -> None:
    """Makes an unfinished cache anew, with no rows yet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "features.npy").write_bytes(_header(meta))
    write_atomically(folder / "meta.json", json.dumps(meta, indent=1))


def finish(folder: Path, path: Path) -> None:
    """Gives an unfinished cache, whose rows are all there, its name."""
    folder.rename(path)
    for record in path.glob(f"{ROWS_DONE}*"):
        record.unlink(missing_ok=True)


def write_rows(
    folder: Path, meta: Meta, piece: Piece, batches: Iterator[np.ndarray], progress: Progress
) -> None:
    """Writes the rows of a piece, and records at intervals how many there are.

    Args:
      folder: of the unfinished cache.
      meta: what it holds.
      piece: which rows.
      batches: float16 [n, L, D] each, of all these rows.
      progress: told how many rows are written.
    """
    done = piece.start
    record = folder / (f"{ROWS_DONE}_{piece.first}" if piece.first else ROWS_DONE)
    with (folder / "features.npy").open("r+b") as file:
        # Plain writes, for a full disk ends a write to mapped memory with a bus error instead of an
        # exception.
        file.seek(len(_header(meta)) + done * row_bytes(meta))
        recorded = time.monotonic()
        try:
            for rows in batches:
                file.write(rows.data)
                done += len(rows)
                progress.update(len(rows))
                if time.monotonic() - recorded > _RECORD_EVERY:
                    _record(record, file, done)
                    recorded = time.monotonic()
        finally:
            _record(record, file, done)


def _list_done(folder: Path, meta: Meta) -> list[tuple[int, int]]:
    """Lists which rows of these features are surely there, as starts and ends in order."""
    if not are_same_features(read_meta(folder), meta):
        return []
    done = []
    try:
        size = (folder / "features.npy").stat().st_size
        written = (size - len(_header(meta))) // row_bytes(meta)
        for record in folder.glob(f"{ROWS_DONE}*"):
            start = int(record.name.removeprefix(ROWS_DONE).removeprefix("_") or 0)
            end = min(int(record.read_text(encoding="utf-8")), written)
            if end > start:
                done.append((start, end))
    except (OSError, ValueError):
        return []
    return sorted(done)


def _record(record: Path, file: BinaryIO, done: int) -> None:
    """Records that the rows before `done` are on disk, once they are."""
    file.flush()
    os.fsync(file.fileno())
    write_atomically(record, str(done))


def _header(meta: Meta) -> bytes:
    """Returns what stands before the numbers in features.npy."""
    header = io.BytesIO()
    array = {"descr": "<f2", "fortran_order": False, "shape": tuple(meta["shape"])}
    np.lib.format.write_array_header_1_0(header, array)
    return header.getvalue()
