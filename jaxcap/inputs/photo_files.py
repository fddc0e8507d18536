"""Photos named on a command line: found in folders, and read without many large ones in memory."""

import contextlib
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxcap.errors import UserError
from jaxcap.figures import layout
from jaxcap.inputs import images
from jaxcap.io import plain

PICTURE = 360  # pixels of the longer side of what is kept for drawing
MOST_BYTES = 2**28  # of a photo's file
_AT_ONCE = 2**28  # bytes that the photos being decoded may hold together
_PIXEL_BYTES = 16  # of decoding, at most: RGBA, the white below it, both together, and RGB


def found(paths: Sequence[Path]) -> list[Path | UserError]:
    """Lists the files among `paths`, and for each folder the photos in and below it, sorted.

    Hidden folders and links to folders are not entered. Where a folder cannot be searched, or no
    photo is in one of `paths`, the list holds what is wrong.
    """
    places: list[Path | UserError] = []
    for path in paths:
        if not os.path.isdir(path):
            places.append(path)
            continue
        inside: list[Path] = []
        errors: list[OSError] = []
        for folder, below, names in os.walk(path, onerror=errors.append):
            below[:] = [name for name in below if not name.startswith(".")]
            inside += [Path(folder, name) for name in names if images.is_photo(name)]
        places += sorted(inside)
        for error in errors:
            folder = plain.line(error.filename)
            places.append(UserError(f"the folder {folder} cannot be searched ({error.strerror})"))
        if not inside and not errors:
            places.append(UserError(f"there is no photo in the folder {plain.line(path)}"))
    return places


class Seen(NamedTuple):
    """What is kept of a photo.

    Attributes:
      view: what the encoder sees, uint8 [S, S, 3].
      picture: a small one to draw on, uint8 [H, W, 3]; None where nothing is to be drawn.
    """

    view: np.ndarray
    picture: np.ndarray | None


class Reader:
    """Reads photos, from several threads at a time as far as their sizes allow.

    Args:
      size: S, pixels a side of the view.
      drawn: whether pictures to draw on are wanted.
    """

    def __init__(self, size: int, drawn: bool):
        self._size, self._drawn = size, drawn
        self._room = Room(_AT_ONCE)
        self._lane = ThreadPoolExecutor(1)

    def __call__(self, path: Path) -> Seen:
        """Reads one photo.

        Raises:
          UserError: it cannot be read, or is no picture.
        """
        name = plain.line(path)
        try:
            cost = _cost(path, name)
            with self._room.taken(cost):
                if cost < _AT_ONCE // 2:
                    return self._decoded(path, name)
                # Memory that a thread has freed stays with the thread: so the large ones share one.
                return self._lane.submit(self._decoded, path, name).result()
        except OSError as error:
            raise UserError(f"photo {name} cannot be read ({error.strerror})") from error

    def _decoded(self, path: Path, name: str) -> Seen:
        photo = images.open_upright(path.read_bytes(), name)
        view = images.test_view(photo, size=self._size)
        return Seen(view, _shrunk(photo) if self._drawn else None)


def _cost(path: Path, name: str) -> int:
    """Returns how many bytes it will take to decode a photo, if it is a file of a sane size."""
    about = path.stat()
    # A pipe could be waited on for ever, and a device may have no end.
    if not stat.S_ISREG(about.st_mode):
        raise UserError(f"photo {name} is no file, but a folder, a pipe or a device: name a file")
    if about.st_size > MOST_BYTES:
        size, most = (f"{size / 1e6:,.0f} MB" for size in (about.st_size, MOST_BYTES))
        raise UserError(f"photo {name} has {size}, more than {most}: save it smaller")
    with path.open("rb") as file:
        return about.st_size + _PIXEL_BYTES * images.decoded_pixels(file)


def _shrunk(photo: Image.Image) -> np.ndarray:
    return np.asarray(photo if max(photo.size) <= PICTURE else layout.fitted(photo, PICTURE))


class Room:
    """Lets threads in while together they take no more than `size`; one alone may take more."""

    def __init__(self, size: int):
        self._size, self._taken, self._changed = size, 0, threading.Condition()

    @contextlib.contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Waits for room, and holds it inside the block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + size <= self._size)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()
