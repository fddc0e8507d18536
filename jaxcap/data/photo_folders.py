"""A user's photos in their folders, found by the names that the user wrote down."""

import os
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxcap.io.files import is_photo
from jaxcap.io.plain import list_some


class PhotoFinder:
    """Finds the photos in and below a few folders.

    A name is written in Unicode's composed form (NFC). A disk may hold it in another one, which
    macOS prefers; then the folder is listed, once.

    Args:
      folders: where names start from, best first.
      beside: one more such folder, in which other photos may lie.
    """

    def __init__(self, folders: Sequence[Path], beside: Path):
        self._folders = folders
        self._beside = beside
        self._found: dict[str, Path] = {}
        self._listings: dict[Path, dict[str, Path]] = {}

    def find(self, image: str) -> Path:
        """Returns where a photo lies; where it lies nowhere, where it should."""
        if image not in self._found:
            self._found[image] = self._folders[0] / _to_disk(image)
            for folder in (*self._folders, self._beside):
                path = self._find_below(folder, image)
                if path and path.is_file():
                    self._found[image] = path
                    break
        return self._found[image]

    def note_uncaptioned(self, captions: Iterable[str]) -> list[str]:
        """Returns a note on the photos directly in the folders that have no caption, if any."""
        captioned = {_file_identity(self.find(image)) for image in captions}
        others = {}  # by file, as on some disks images and Images are one folder
        for folder in self._folders:
            for name, path in self._list(folder).items():
                identity = _file_identity(path) if is_photo(name) else None
                if identity and identity not in captioned:
                    others[identity] = name
        if not others:
            return []
        names = list_some(sorted(others.values()))
        return [f"{len(others):,} photos have no caption and are left out: {names}"]

    def _find_below(self, folder: Path, image: str) -> Path | None:
        path = folder / _to_disk(image)
        if path.exists():
            return path
        # Each part of the name may be written in another form of Unicode.
        path = folder
        for part in image.split("/"):
            child = path / _to_disk(part)
            if child.exists():
                path = child
                continue
            listed = self._list(path).get(part)
            if listed is None:
                return None
            path = listed
        return path

    def _list(self, folder: Path) -> dict[str, Path]:
        """Returns a folder's paths by their composed names; nothing where it cannot be listed."""
        if folder not in self._listings:
            try:
                paths = sorted(folder.iterdir())
            except OSError:
                paths = []
            self._listings[folder] = {_from_disk(path.name): path for path in paths}
        return self._listings[folder]


def _to_disk(name: str) -> str:
    """Returns a name for Python's file functions: UTF-8 on the disk, whatever the locale says."""
    return os.fsdecode(name.encode())


def _from_disk(name: str) -> str:
    return unicodedata.normalize("NFC", os.fsencode(name).decode(errors="surrogateescape"))


def _file_identity(path: Path) -> tuple[int, int] | None:
    """Returns what tells a file from every other, or None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
