"""Photos named on a command line: found in folders, read without many large ones in memory."""

import contextlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from jaxcap.errors import UserError
from jaxcap.inputs import images
from jaxcap.io import plain
from jaxcap.io.files import is_photo

PICTURE = 360  # pixels of the longer side of what is kept for drawing
MOST_BYTES = 2**28  # of a photo's file
_DECODING_BYTES = 2**28  # that the photos being decoded may hold together
_PIXEL_BYTES = 16  # of decoding, at most: RGBA, the white below it, both together, and RGB


class LoadedPhoto(NamedTuple):
    """What is kept of a photo.

    Attributes:
      view: what the encoder sees, uint8 [S, S, 3].
      picture: a small one to draw on, uint8 [H, W, 3]; None where nothing is to be drawn.
    """

    view: np.ndarray
    picture: np.ndarray | None


def find_photos(paths: Sequence[Path]) -> list[Path | UserError]:
    """Lists the files among `paths`, and for each folder the photos in and below it, sorted.

    Hidden folders and links to folders are not entered.

    Args:
      paths: files, taken as they are, and folders.

    Returns:
      The files. Where a folder cannot be searched, or holds no photo, the error in its place.
    """
    found: list[Path | UserError] = []
    for path in paths:
        if os.path.isdir(path):
            found += _search_folder(path)
        else:
            found.append(path)
    return found


def _search_folder(path: Path) -> list[Path | UserError]:
    """Lists the photos in and below a folder, then what went wrong."""
    photos: list[Path] = []
    failures: list[OSError] = []
    for folder, below, names in os.walk(path, onerror=failures.append):
        below[:] = [name for name in below if not name.startswith(".")]  # os.walk enters these
        photos += [Path(folder, name) for name in names if is_photo(name)]
    errors = []
    for failure in failures:
        name = plain.line(failure.filename)
        errors.append(UserError(f"the folder {name} cannot be searched ({failure.strerror})"))
    if not photos and not errors:
        errors.append(UserError(f"there is no photo in the folder {plain.line(path)}"))
    return [*sorted(photos), *errors]


class Reader:
    """Reads photos, from several threads at a time as far as their sizes allow.

    Args:
      size: S, pixels a side of the view.
      drawn: whether pictures to draw on are wanted.
    """

    def __init__(self, size: int, drawn: bool):
        self._size = size
        self._drawn = drawn
        self._budget = MemoryBudget(_DECODING_BYTES)
        self._large_photos = ThreadPoolExecutor(1)

    def __call__(self, path: Path) -> LoadedPhoto:
        """Reads one photo.

        Raises:
          UserError: it cannot be read, or is no picture.
        """
        name = plain.line(path)
        try:
            cost = _decoding_bytes(path, name)
            with self._budget.reserve(cost):
                if cost < _DECODING_BYTES // 2:
                    return self._load(path, name)
                # Memory that a thread has freed stays with the thread: so the large ones share one.
                return self._large_photos.submit(self._load, path, name).result()
        except OSError as error:
            raise UserError(f"photo {name} cannot be read ({error.strerror})") from error

    def _load(self, path: Path, name: str) -> LoadedPhoto:
        photo = images.open_upright(path.read_bytes(), name)
        view = images.test_view(photo, size=self._size)
        if not self._drawn:
            return LoadedPhoto(view, None)
        if max(photo.size) > PICTURE:
            photo = ImageOps.contain(photo, (PICTURE, PICTURE), Image.Resampling.LANCZOS)
        return LoadedPhoto(view, np.asarray(photo))


class MemoryBudget:
    """Lets threads in while together they take no more than `size`; one alone may take more."""

    def __init__(self, size: int):
        self._size = size
        self._taken = 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Waits until `size` is free, and holds it inside the block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._size)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


def _decoding_bytes(path: Path, name: str) -> int:
    """Returns how many bytes it will take to decode a photo, if it is a file of a sane size."""
    about = path.stat()
    # A pipe could be waited on for ever, and a device may have no end.
    if not stat.S_ISREG(about.st_mode):
        raise UserError(f"photo {name} is no file, but a folder, a pipe or a device: name a file")
    if about.st_size > MOST_BYTES:
        size = plain.format_bytes(about.st_size)
        most = plain.format_bytes(MOST_BYTES)
        raise UserError(f"photo {name} has {size}, more than {most}: save it smaller")
    with path.open("rb") as file:
        return about.st_size + _PIXEL_BYTES * images.count_decoded_pixels(file)
