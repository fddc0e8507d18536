"""The files of drawn attention: NAME.png and NAME.gif for each photo of many."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcap.figures.attention import attention_figure, attention_gif
from jaxcap.inputs.photo_files import PICTURE
from jaxcap.io import plain
from jaxcap.io.files import encode_picture, write_atomically

_LONGEST_NAME = 200  # bytes before a number and a suffix; file systems take 255 in all


class Drawings:
    """Writes NAME.png and NAME.gif of each photo into a folder; the second NAME is NAME-2.

    Args:
      folder: made if it is not there.
      photos: all photos; one of them that lies in the folder is not drawn over.
      grid: rows and columns of the regions that attention lies on.
    """

    def __init__(self, folder: Path, photos: Sequence[Path], grid: tuple[int, int]):
        self.folder = folder
        self._grid = grid
        self._taken = set()
        place = folder.resolve()
        resolved: dict[Path, Path] = {}  # many photos share few folders
        for photo in photos:
            if photo.suffix.lower() in (".png", ".gif"):
                if photo.parent not in resolved:
                    resolved[photo.parent] = photo.parent.resolve()
                if resolved[photo.parent] == place:
                    # Some file systems take A.png and a.png for one.
                    self._taken.add(_shorten(photo).casefold())

    def add(
        self, photo: Path, picture: np.ndarray, words: Sequence[str], attention: np.ndarray
    ) -> None:
        """Draws a photo under each word's attention.

        Args:
          photo: its file, which gives the drawings their name.
          picture: the photo, uint8, as `photo_files` keeps it. [H, W, 3]
          words: the caption's T words.
          attention: weights over the regions for each word. [T, L]
        """
        name = self._reserve(_shorten(photo))
        figure = attention_figure(picture, words, attention, self._grid)
        write_atomically(self.folder / f"{name}.png", encode_picture(figure))
        animation = attention_gif(picture, words, attention, self._grid, size=PICTURE)
        write_atomically(self.folder / f"{name}.gif", animation)

    def _reserve(self, name: str) -> str:
        """Returns the name, numbered if it is taken, and takes it."""
        free = name
        number = 1
        while free.casefold() in self._taken:
            number += 1
            free = f"{name}-{number}"
        self._taken.add(free.casefold())
        return free


def _shorten(path: Path) -> str:
    """Returns a photo's name without its suffix, short enough to be numbered."""
    return plain.name(path.stem).encode()[:_LONGEST_NAME].decode(errors="ignore")
