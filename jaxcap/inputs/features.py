"""The frozen encoder's features on disk: computed once in half precision, then memory-mapped.

A cache is a folder with features.npy, which any NumPy reads, and meta.json, which says what it
holds. It is filled under the name NAME.partial and renamed when its last row is on disk: a folder
called NAME is complete.
"""

import contextlib
import itertools
import json
import math
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxcap import processes
from jaxcap.errors import UserError
from jaxcap.inputs import images
from jaxcap.inputs.feature_files import (
    Meta,
    Piece,
    are_same_features,
    begin,
    finish,
    list_missing,
    read_meta,
    row_bytes,
    share_out,
    write_rows,
)
from jaxcap.inputs.noise import Noise
from jaxcap.inputs.prefetch import prefetch
from jaxcap.io.digests import digest_json
from jaxcap.io.files import check_space, report_full_disk
from jaxcap.io.locks import hold_writable
from jaxcap.io.plain import format_bytes
from jaxcap.io.progress import Progress

_FORMAT = 2  # part of every key; raise it when the meaning of a cache's numbers changes

# From uint8 [B, S, S, 3] to float [B, L, D]; the result may still be on its way from the device.
Encode = Callable[[np.ndarray], ArrayLike]


class CacheSpec(NamedTuple):
    """What a feature cache holds.

    Attributes:
      key: the result of `cache_key`.
      grid: (L, D) of one view's features.
      views: names that `images.view` knows; V of them.
      resize: pixels a side of the square that crops are taken from.
      size: S, pixels a side of what the encoder sees.
      noise: put on every view; None: none.
    """

    key: str
    grid: tuple[int, int]
    views: Sequence[str] = ("plain",)
    resize: int = 256
    size: int = 224
    noise: Noise | None = None


class _View(NamedTuple):
    """One view of a photo, uint8 [S, S, 3], with the photo's name."""

    name: str
    pixels: np.ndarray


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


def fill_cache(
    path: os.PathLike | str,
    photo: Callable[[int], bytes],
    names: Sequence[str],
    encode: Encode,
    spec: CacheSpec,
    *,
    batch_size: int = 32,
    workers: int = 4,
) -> Path:
    """Computes the features of every photo in every view, going on where an earlier call stopped.

    Threads decode ahead of the encoder, and a batch is read back only when the next one is on its
    way. Of several commands that fill the same cache one works and the others wait for it; the
    processes of one command share the work.

    Args:
      path: the cache's folder.
      photo: gives the encoded bytes of the photo at an index; called from several threads.
      names: what each photo is called, in order; N of them. They are written down for people and
        name photos in errors, but do not decide what the cache holds.
      encode: from uint8 [batch_size, S, S, 3] to float [batch_size, L, D], always of this batch
        size; the result may still be on its way, as JAX's are.
      spec: what the cache shall hold.
      batch_size: views in a call of `encode`.
      workers: threads that decode.

    Returns:
      The folder, which now holds float16 [N, V, L, D] for `open_cache`.

    Raises:
      UserError: a photo is damaged, a feature does not fit half precision, the disk is full, or
        `path` holds something else. What was computed before is kept and not computed again.
    """
    if not names or not spec.views:
        raise UserError(
            f"no features to compute: there are {len(names)} photos and {len(spec.views)} views"
        )
    for view in spec.views:
        # Names a wrong view before the work begins.
        images.view(np.zeros((1, 1, 3), np.uint8), view, resize=spec.resize, size=spec.size)
    path = Path(path)
    noise = {} if spec.noise is None else {"noise": vars(spec.noise)}
    meta: Meta = {
        "what": "features of a frozen encoder: photo, view, region, channel",
        "format": _FORMAT,
        "key": spec.key,
        "dtype": "float16",
        "shape": [len(names), len(spec.views), *spec.grid],
        "views": list(spec.views),
        "resize": spec.resize,
        "size": spec.size,
        "photos": list(names),
        **noise,
    }

    def make_views(index: int) -> list[_View]:
        name = names[index]
        data = photo(index)
        pixels = images.decode(data, name)
        made = []
        for view in spec.views:
            view_pixels = images.view(pixels, view, resize=spec.resize, size=spec.size)
            if spec.noise is not None:
                view_pixels = spec.noise.add(view_pixels, data)
            made.append(_View(name, view_pixels))
        return made

    def hold() -> contextlib.AbstractContextManager[None]:
        waiting = f"another process computes the features in {path}: waiting for it"
        return hold_writable(path, waiting, "choose another folder")

    if not processes.tell(path.exists):
        with processes.hold_once(hold), report_full_disk(path):
            if not processes.tell(path.exists):  # else another process has made it meanwhile
                partial = path.with_name(f"{path.name}.partial")
                missing = processes.tell(lambda: _begin(partial, meta))
                with processes.fail_together():
                    _compute(partial, meta, missing, make_views, encode, batch_size, workers)
                processes.tell(lambda: finish(partial, path))
    with processes.fail_together():
        if not path.exists():
            raise UserError(
                f"{path} is not there: all processes need one folder of features, on a disk that "
                "they share (images.cache_dir)"
            )
        if not are_same_features(read_meta(path), meta):
            raise UserError(
                f"{path} does not hold these features: remove it, or choose another folder for them"
            )
    return path


def open_cache(path: os.PathLike | str) -> np.memmap:
    """Opens a finished cache without reading it.

    Args:
      path: the folder that `fill_cache` returned.

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
        shape = json.loads((path / "meta.json").read_text(encoding="utf-8"))["shape"]
        if list(cache.shape) != shape or cache.dtype != np.float16:
            raise ValueError("features.npy and meta.json do not agree")
    except (OSError, EOFError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"the features at {path} are damaged ({error}): remove the folder to compute them anew"
        ) from error
    return cache


def gather(
    cache: np.ndarray, rows: Sequence[int] | np.ndarray, views: int | np.ndarray = 0
) -> np.ndarray:
    """Reads the features of a batch.

    Args:
      cache: float16 [N, V, L, D], as `open_cache` returns it.
      rows: int [B], the photos' indices.
      views: int [B], which view of each photo, or one for all.

    Returns:
      float16 [B, L, D], in memory.
    """
    # In 64 bits, because 32 do not count the bytes of a cache of more than 2 GiB.
    rows, views = np.broadcast_arrays(np.asarray(rows, np.int64), np.asarray(views, np.int64))
    mapped: Any = cache.base  # NumPy's types do not know that it may be a memory map
    if isinstance(cache, np.memmap) and isinstance(mapped, mmap.mmap):
        # What is not in memory yet is asked for all at once, which disks serve several times as
        # fast as row by row.
        photo_bytes, view_bytes = cache.strides[:2]
        for start in (cache.offset + rows * photo_bytes + views * view_bytes).tolist():
            page = start - start % mmap.PAGESIZE
            mapped.madvise(mmap.MADV_WILLNEED, page, start + view_bytes - page)
    return cache[rows, views]  # [B, L, D]


def _begin(folder: Path, meta: Meta) -> list[Piece]:
    """Returns what the unfinished cache `folder` lacks, which is made where it is not there."""
    missing = list_missing(folder, meta)
    rows = _count(missing)
    needed = rows * row_bytes(meta)
    check_space(folder.parent, needed, "the features", "choose another folder for them")
    if rows == math.prod(meta["shape"][:2]):
        begin(folder, meta)
    return missing


def _compute(
    folder: Path,
    meta: Meta,
    missing: Sequence[Sequence[int]],
    make_views: Callable[[int], list[_View]],
    encode: Encode,
    batch_size: int,
    workers: int,
) -> None:
    """Computes this process's share of the missing rows, and writes them."""
    photos, views, *grid = meta["shape"]
    total = photos * views
    pieces = [Piece(*piece) for piece in missing]  # they may have come as JSON
    done = total - _count(pieces)
    own = share_out(pieces, processes.count())[processes.get_index()]
    unit = "images" if views == 1 else "views"
    with (
        ThreadPoolExecutor(workers) as pool,
        Progress(done + _count(own), "features", unit, done=done) as progress,
    ):
        before = f", {done:,} of them done before" if done else ""
        size = format_bytes(total * row_bytes(meta))
        progress.say(f"features: {total:,} {unit}{before}, {size} in {folder.parent}")
        # Enough for all threads and for the two batches that the encoder has at a time.
        window = workers + 2 * batch_size // views
        for piece in own:
            # A photo may be cut off between two of its views: it is decoded again.
            needed = range(piece.start // views, -(-piece.stop // views))
            decoded = prefetch(make_views, needed, pool=pool, window=window)
            first = piece.start % views
            last = first + piece.stop - piece.start
            rows = itertools.islice(itertools.chain.from_iterable(decoded), first, last)
            batches = _encode_rows(encode, rows, batch_size, grid)
            write_rows(folder, meta, piece, batches, progress)


def _count(pieces: Sequence[Piece]) -> int:
    """Returns how many rows some pieces have."""
    return sum(piece.stop - piece.start for piece in pieces)


def _encode_rows(
    encode: Encode, rows: Iterator[_View], batch_size: int, grid: Sequence[int]
) -> Iterator[np.ndarray]:
    """Yields float16 [n, L, D] a batch, one batch behind `encode`; only the last n is smaller."""
    before: tuple[list[str], ArrayLike] | None = None
    while batch := list(itertools.islice(rows, batch_size)):
        pixels = [row.pixels for row in batch]
        pixels += pixels[-1:] * (batch_size - len(batch))  # padding: one shape for all calls
        started = [row.name for row in batch], encode(np.stack(pixels))
        if before:
            yield _halve(*before, grid)
        before = started
    if before:
        yield _halve(*before, grid)


def _halve(names: Sequence[str], padded: ArrayLike, grid: Sequence[int]) -> np.ndarray:
    """Reads a batch back as float16 [n, L, D], the padding cut off, and checks it."""
    features = np.asarray(padded)[: len(names)]
    if features.shape != (len(names), *grid):
        raise ValueError(
            f"the encoder returned {features.shape} for {len(names)} views, not (views, {grid})"
        )
    with np.errstate(over="ignore"):  # what overflows is reported below
        half = features.astype("<f2", copy=False)  # [n, L, D]
    is_finite = np.isfinite(half).all(axis=(1, 2))
    if not is_finite.all():
        row = int(is_finite.argmin())
        raise UserError(
            f"the features of photo {names[row]} reach {np.abs(features[row]).max():.3g}, which "
            "half precision cannot hold: the weights are damaged, or read in another layout or "
            "normalisation than their own"
        )
    return half
