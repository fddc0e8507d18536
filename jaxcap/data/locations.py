"""Where raw files lie: the user's folder, Kaggle's mounts, ~/data, or our downloads."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from jaxcap.errors import UserError
from jaxcap.io.files import cache_root
from jaxcap.io.plain import list_some

KAGGLE = Path("/kaggle/input")


def home_folder(name: str) -> Path:
    """Returns the folder where data set `name` is looked for on a machine of one's own."""
    return Path.home() / "data" / name


def download_folder(name: str, directory: str = "") -> Path:
    """Returns where data set `name` is downloaded to: the user's folder, or one in the cache."""
    return Path(directory).expanduser() if directory else cache_root() / "raw" / name


def list_roots(name: str, directory: str = "") -> list[Path]:
    """Lists the folders in which data set `name` may lie.

    Args:
      name: the data set.
      directory: the user's folder; when it is given, no other is looked at.

    Returns:
      The folders that exist, best first: /kaggle/input/SLUG and /kaggle/input/datasets/OWNER/SLUG
      (Kaggle's old and new mounts), ~/data/NAME, and what was downloaded before.
    """
    if directory:
        folders = [Path(directory).expanduser()]
    else:
        old_mounts = [mount for mount in sorted(KAGGLE.glob("*")) if mount.name != "datasets"]
        new_mounts = sorted(KAGGLE.glob("datasets/*/*"))
        folders = [*old_mounts, *new_mounts, home_folder(name), download_folder(name)]
    return [folder for folder in folders if folder.is_dir()]


def find(
    roots: Iterable[Path], *names: str, accept: Callable[[Path], bool] = Path.is_file
) -> Path | None:
    """Returns the shallowest path of these names that `accept` takes, at most two folders deep."""
    roots = list(roots)
    for depth in ("", "*/", "*/*/"):
        for root in roots:
            for name in names:
                for path in sorted(root.glob(depth + name)):
                    if accept(path):
                        return path
    return None


def root_of(path: Path, roots: Iterable[Path]) -> Path:
    """Returns the root below which `find` found `path`."""
    return next(root for root in roots if path.is_relative_to(root))


def has_file(folder: Path, belongs: Callable[[str], object]) -> bool:
    """Tells whether a file whose name `belongs` takes lies directly in `folder`."""
    return folder.is_dir() and any(belongs(entry.name) for entry in os.scandir(folder))


def find_photo_folder(root: Path, belongs: Callable[[str], object], depth: int = 3) -> Path | None:
    """Returns the folder that directly holds the most of a data set's photos.

    Of equals the shallowest is taken, so that Kaggle's Flickr30k, which repeats its photos one
    level deeper, is read once.

    Args:
      root: it, or a folder at most `depth` levels deeper.
      belongs: tells whether a file of this name is a photo of the data set; others do not count.
      depth: see above.

    Returns:
      The folder, or None where none holds any of them.
    """
    best = None
    most = 0
    level = [root]
    for _ in range(depth + 1):
        deeper: list[Path] = []
        for folder in level:
            try:
                entries = list(os.scandir(folder))
            except PermissionError:
                continue
            count = sum(1 for entry in entries if belongs(entry.name))
            if count > most:
                best = folder
                most = count
            deeper += sorted(folder / entry.name for entry in entries if entry.is_dir())
        level = deeper
    return best


def missing_error(name: str, what: str, directory: str, how: str) -> UserError:
    """Returns the line that says what is missing, where it was looked for, and how to get it."""
    if directory:
        folder = Path(directory).expanduser()
        if folder.is_dir():
            looked = f"{folder} (and two folders deeper)"
        else:
            looked = f"{folder}, which is no folder"
    else:
        mounts = [f"{KAGGLE}/*", f"{KAGGLE}/datasets/*/*"]
        looked = list_some([*mounts, str(home_folder(name)), str(download_folder(name))])
    return UserError(f"{name}: no {what} found; looked in {looked}: {how}")
