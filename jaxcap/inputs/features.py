"""The frozen encoder's features on disk: computed once in half precision, then read through a
memory map.

A cache is a folder with features.npy, which any NumPy reads, and meta.json, which says what it
holds. It is filled under the name NAME.partial and renamed when its last row is on disk: a folder
called NAME is whole.
"""

import collections
import contextlib
import io
import itertools
import json
import math
import mmap
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxcap.errors import UserError
from jaxcap.inputs import images
from jaxcap.io import locks
from jaxcap.io.digests import digest_json
from jaxcap.io.files import report_full_disk, write_atomically
from jaxcap.io.progress import Progress

_FORMAT = 2  # part of every key; raise it when the meaning of a cache's numbers changes
_RECORD_EVERY = 10.0  # seconds of work that a kill may cost


def cache_key(weights: str, transform: Mapping | str, photos: Sequence[str]) -> str:
    """Hashes everything that features depend on, so that they are never taken for others.

    Args:
      weights: a fingerprint of the encoder's weights and architecture.
      transform: the views, their sizes and the normalisation; whatever JSON can hold.
      photos: each photo's digest, in order. Names do not count: the same photos under others have
        the same features.

    Returns:
      32 hexadecimal digits.
    """
    return digest_json([_FORMAT, weights, transform, list(photos)])


def fill(
    path: os.PathLike | str,
    photo: Callable[[int], bytes],
    names: Sequence[str],
    encode: Callable[[np.ndarray], np.ndarray],
    *,
    key: str,
    grid: tuple[int, int],
    views: Sequence[str] = ("plain",),
    resize: int = 256,
    size: int = 224,
    batch_size: int = 32,
    workers: int = 4,
) -> Path:
    """Computes the features of every photo in every view, or what is left to do of a call that was
    cut off.

    Threads decode ahead of the encoder, and a batch is read back only when the next one is on its
    way. Of several processes that fill the same cache one works and the others wait for it.

    Args:
      path: the cache's folder.
      photo: gives the encoded bytes of the photo at an index; called from several threads.
      names: what each photo is called, in order; N of them. They are written down for people and
        name photos in errors, but do not decide what the cache holds.
      encode: from uint8 [batch_size, size, size, 3] to float [batch_size, L, D], always of this
        batch size; the result may still be on its way, as JAX's are.
      key: the result of `cache_key`.
      grid: (L, D) of one photo's features.
      views: names that `images.view` knows; V of them.
      resize: pixels a side of the square that crops are taken from.
      size: pixels a side of what the encoder sees.
      batch_size: views in a call of `encode`.
      workers: threads that decode.

    Returns:
      The folder, which now holds float16 [N, V, L, D] for `open`.

    Raises:
      UserError: a photo is damaged, a feature does not fit half precision, the disk is full, or
        `path` holds something else. What was computed before is kept and not computed again.
    """
    if not names or not views:
        raise UserError(
            f"no features to compute: there are {len(names)} photos and {len(views)} views"
        )
    for view in views:
        images.view(
            np.zeros((1, 1, 3), np.uint8), view, resize=resize, size=size
        )  # names a wrong view before the work
    path = Path(path)
    meta = {
        "what": "features of a frozen encoder: photo, view, region, channel",
        "format": _FORMAT,
        "key": key,
        "dtype": "float16",
        "shape": [len(names), len(views), *grid],
        "views": list(views),
        "resize": resize,
        "size": size,
        "photos": list(names),
    }

    def pictures(index: int) -> list[tuple[str, np.ndarray]]:
        pixels = images.decode(photo(index), names[index])
        return [
            (names[index], images.view(pixels, view, resize=resize, size=size)) for view in views
        ]

    if not path.exists():
        with _hold_cache(path), report_full_disk(path):
            if not path.exists():  # else another process has done it meanwhile
                partial = path.with_name(f"{path.name}.partial")
                _compute(partial, meta, pictures, encode, batch_size, workers)
                partial.rename(path)
                (path / "rows_done").unlink(missing_ok=True)
    if not _same(_read_meta(path), meta):
        raise UserError(
            f"{path} does not hold these features: remove it, or choose another folder for them"
        )
    return path


def open(path: os.PathLike | str) -> np.memmap:
    """Opens a finished cache without reading it.

    Args:
      path: the folder that `fill` returned.

    Returns:
      float16 [N, V, L, D], read-only, on disk.

    Raises:
      UserError: there is no finished cache, or it is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(
            f"no finished features at {path}: the command that computes them goes on where it "
            "stopped"
        )
    try:
        cache = np.load(path / "features.npy", mmap_mode="r")
        if (
            list(cache.shape)
            != json.loads((path / "meta.json").read_text(encoding="utf-8"))["shape"]
            or cache.dtype != np.float16
        ):
            raise ValueError("features.npy and meta.json do not agree")
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"the features at {path} are damaged ({error}): remove the folder to compute them anew"
        ) from error
    return cache


def gather(
    cache: np.memmap, rows: Sequence[int] | np.ndarray, views: int | np.ndarray = 0
) -> np.ndarray:
    """Reads the features of a batch.

    Args:
      cache: float16 [N, V, L, D], as `open` returns it.
      rows: int [B], the photos' indices.
      views: int [B], which view of each photo, or one for all.

    Returns:
      float16 [B, L, D], in memory.
    """
    rows, views = np.broadcast_arrays(rows, views)
    if isinstance(cache.base, mmap.mmap):
        # What is not in memory yet is asked for all at once, which disks serve several times as
        # fast as row by row.
        photo_bytes, row_bytes = cache.strides[:2]
        for at in (cache.offset + rows * photo_bytes + views * row_bytes).tolist():
            page = at - at % mmap.PAGESIZE
            cache.base.madvise(mmap.MADV_WILLNEED, page, at + row_bytes - page)
    return cache[rows, views]  # [B, L, D]


@contextlib.contextmanager
def _hold_cache(path: Path) -> Iterator[None]:
    """Holds the cache `path` against other processes."""
    try:
        with locks.hold_path(
            path, f"another process computes the features in {path}: waiting for it"
        ):
            yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"cannot write features to {path.parent} ({error.strerror}): choose another folder"
        ) from error


def _read_meta(path: Path) -> dict | None:
    """Returns what meta.json says, or None when it is missing or damaged."""
    try:
        return json.loads((path / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _same(found: Mapping | None, meta: Mapping) -> bool:
    """Tells whether a cache holds these features; what the photos are called does not matter."""
    return found is not None and {**found, "photos": None} == {**meta, "photos": None}


def _compute(
    folder: Path,
    meta: dict,
    pictures: Callable[[int], list[tuple[str, np.ndarray]]],
    encode: Callable[[np.ndarray], np.ndarray],
    batch_size: int,
    workers: int,
) -> None:
    """Writes the rows that `folder` lacks."""
    count, views, *grid = meta["shape"]
    total, done = count * views, _rows_done(folder, meta)
    _check_space(folder.parent, (total - done) * _row_bytes(meta))
    if not done:
        _begin(folder, meta)
    unit = "images" if views == 1 else "views"
    with (
        ThreadPoolExecutor(workers) as pool,
        Progress(total, "features", unit, done=done) as progress,
    ):
        before = f", {done:,} of them done before" if done else ""
        progress.say(
            f"features: {total:,} {unit}{before}, {_gigabytes(total * _row_bytes(meta))} in "
            f"{folder.parent}"
        )
        ahead = _ahead(
            pool, pictures, range(done // views, count), window=workers + 2 * batch_size // views
        )
        rows = itertools.islice(itertools.chain.from_iterable(ahead), done % views, None)
        _write(folder, meta, done, _encoded(encode, rows, batch_size, grid), progress)


def _rows_done(folder: Path, meta: dict) -> int:
    """Returns how many rows of these features `folder` surely holds."""
    if not _same(_read_meta(folder), meta):
        return 0
    try:
        rows = int((folder / "rows_done").read_text(encoding="utf-8"))
        written = (folder / "features.npy").stat().st_size - len(_header(meta))
    except (OSError, ValueError):
        return 0
    return max(0, min(rows, written // _row_bytes(meta)))


def _begin(folder: Path, meta: dict) -> None:
    """Makes `folder` anew, with no rows yet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "features.npy").touch()
    write_atomically(folder / "meta.json", json.dumps(meta, indent=1))


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the features need {_gigabytes(needed)} in {folder}, where {_gigabytes(free)} are "
            "free: free some space, "
            "or choose another folder for them"
        )


def _ahead(pool: Executor, task: Callable, items: Iterable, window: int) -> Iterator:
    """Yields task(item) in order, with up to `window` of them at work or waiting to be taken."""
    pending: collections.deque = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(task, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _encoded(
    encode: Callable[[np.ndarray], np.ndarray],
    rows: Iterator[tuple[str, np.ndarray]],
    batch_size: int,
    grid: Sequence,
) -> Iterator[np.ndarray]:
    """Yields float16 [n, L, D] a batch, one batch behind `encode`; n is `batch_size` but for the
    last.
    """
    waiting: tuple = ()
    while batch := list(itertools.islice(rows, batch_size)):
        names, pixels = zip(*batch, strict=True)
        padding = pixels[-1:] * (batch_size - len(pixels))
        coming = names, encode(np.stack(pixels + padding)), grid
        if waiting:
            yield _halved(*waiting)
        waiting = coming
    if waiting:
        yield _halved(*waiting)


def _halved(names: Sequence[str], features: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Reads a batch back as float16 [n, L, D], the padding cut off, and checks it."""
    features = np.asarray(features)[: len(names)]
    if features.shape != (len(names), *grid):
        raise ValueError(
            f"the encoder returned {features.shape} for {len(names)} views, not (views, {grid})"
        )
    with np.errstate(over="ignore"):
        half = features.astype("<f2", copy=False)  # [n, L, D]
    whole = np.isfinite(half).all(axis=(1, 2))
    if not whole.all():
        row = int(whole.argmin())
        raise UserError(
            f"the features of photo {names[row]} reach {np.abs(features[row]).max():.3g}, which "
            "half precision cannot "
            "hold: the weights are damaged, or read in another layout or normalisation than their "
            "own"
        )
    return half


def _write(
    folder: Path, meta: dict, done: int, batches: Iterator[np.ndarray], progress: Progress
) -> None:
    """Appends the batches to features.npy behind its first `done` rows."""
    with (folder / "features.npy").open("r+b") as file:
        # Plain writes, for a full disk ends a write to mapped memory with a bus error instead of an
        # exception.
        file.write(_header(meta))
        file.seek(done * _row_bytes(meta), os.SEEK_CUR)
        recorded = time.monotonic()
        try:
            for half in batches:
                file.write(half)
                done += len(half)
                progress.update(len(half))
                if time.monotonic() - recorded > _RECORD_EVERY:
                    _record(folder, file, done)
                    recorded = time.monotonic()
        finally:
            _record(folder, file, done)


def _header(meta: dict) -> bytes:
    """Returns what stands before the numbers in features.npy."""
    header = io.BytesIO()
    what = {"descr": "<f2", "fortran_order": False, "shape": tuple(meta["shape"])}
    np.lib.format.write_array_header_1_0(header, what)
    return header.getvalue()


def _row_bytes(meta: dict) -> int:
    return 2 * math.prod(meta["shape"][2:])


def _record(folder: Path, file: BinaryIO, done: int) -> None:
    """Notes that `done` rows are on disk, after seeing to it that they are."""
    file.flush()
    os.fsync(file.fileno())
    write_atomically(folder / "rows_done", str(done))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
