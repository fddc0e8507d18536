"""A user's photos in their folders, found by the names that the user wrote down."""

import os
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxcap.data.locations import listed
from jaxcap.inputs.images import is_photo


class Photos:
    """The photos in and below a few folders.

    A name is written in Unicode's composed form (NFC). A disk may hold it in another one, which
    macOS prefers; then the folder is listed, once.

    Args:
      folders: where names start from, best first.
      beside: one more such folder, in which other photos may lie.
    """

    def __init__(self, folders: Sequence[Path], beside: Path):
        self._folders, self._beside = folders, beside
        self._found: dict[str, Path] = {}
        self._listings: dict[Path, dict[str, Path]] = {}

    def find(self, image: str) -> Path:
        """Returns where a photo lies; where it lies nowhere, where it should."""
        if image not in self._found:
            places = (self._below(folder, image) for folder in (*self._folders, self._beside))
            there = (place for place in places if place and place.is_file())
            self._found[image] = next(there, self._folders[0] / _to_disk(image))
        return self._found[image]

    def uncaptioned(self, captions: Iterable[str]) -> list[str]:
        """Returns a note that counts and names the photos directly in the folders that have no
        caption, if any.
        """
        captioned = {_identity(self.find(image)) for image in captions}
        others = {}  # by file, as on some disks images and Images are one folder
        for folder in self._folders:
            for name, path in self._listing(folder).items():
                if is_photo(name) and (identity := _identity(path)) and identity not in captioned:
                    others[identity] = name
        if not others:
            return []
        return [
            f"{len(others):,} photos have no caption and are left out: "
            f"{listed(sorted(others.values()))}"
        ]

    def _below(self, folder: Path, image: str) -> Path | None:
        path = folder / _to_disk(image)
        if path.exists():
            return path
        path = folder
        for part in image.split("/"):
            child = path / _to_disk(part)
            if not child.exists() and not (child := self._listing(path).get(part)):
                return None
            path = child
        return path

    def _listing(self, folder: Path) -> dict[str, Path]:
        """Returns the paths in a folder by their composed names; of none that can be listed,
        nothing.
        """
        if folder not in self._listings:
            try:
                paths = sorted(folder.iterdir())
            except OSError:
                paths = []
            self._listings[folder] = {_from_disk(path.name): path for path in paths}
        return self._listings[folder]


def _to_disk(name: str) -> str:
    """Returns a name as Python's file functions want it: in UTF-8 on the disk, whatever the locale
    says.
    """
    return os.fsdecode(name.encode())


def _from_disk(name: str) -> str:
    return unicodedata.normalize("NFC", os.fsencode(name).decode(errors="surrogateescape"))


def _identity(path: Path) -> tuple[int, int] | None:
    """Returns what tells a file from every other, or None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
