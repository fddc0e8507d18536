"""Where the raw files of a data set lie: a folder that the user names, Kaggle's mounts, ~/data, our
downloads.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jaxcap.errors import UserError
from jaxcap.io.files import cache_root

KAGGLE = Path("/kaggle/input")


def home(name: str) -> Path:
    """Returns the folder where data set `name` is looked for on a machine of one's own."""
    return Path.home() / "data" / name


def downloads(name: str, dir: str = "") -> Path:
    """Returns the folder that downloads of data set `name` go to: the user's, or one in the
    cache.
    """
    return Path(dir).expanduser() if dir else cache_root() / "raw" / name


def roots(name: str, dir: str = "") -> list[Path]:
    """Lists the folders in which data set `name` may lie.

    Args:
      name: the data set.
      dir: the user's folder; when it is given, no other is looked at.

    Returns:
      The folders that exist, best first: /kaggle/input/SLUG and /kaggle/input/datasets/OWNER/SLUG
      (Kaggle's old and new mounts), ~/data/NAME, and what was downloaded before.
    """
    if dir:
        places = [Path(dir).expanduser()]
    else:
        mounts = [mount for mount in sorted(KAGGLE.glob("*")) if mount.name != "datasets"]
        places = [*mounts, *sorted(KAGGLE.glob("datasets/*/*")), home(name), downloads(name)]
    return [place for place in places if place.is_dir()]


def find(
    roots: Iterable[Path], *names: str, accept: Callable[[Path], bool] = Path.is_file
) -> Path | None:
    """Returns the shallowest path of these names, in the roots or up to two folders deeper, that
    `accept` takes.
    """
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


def holds(folder: Path, belongs: Callable[[str], bool]) -> bool:
    """Tells whether a file whose name `belongs` takes lies directly in `folder`."""
    return folder.is_dir() and any(belongs(entry.name) for entry in os.scandir(folder))


def photo_folder(root: Path, belongs: Callable[[str], bool], depth: int = 3) -> Path | None:
    """Returns the folder that directly holds the most of a data set's photos, so that others beside
    it do not count.

    Of equals the shallowest is taken, so that Kaggle's Flickr30k, which repeats its photos one
    level deeper, is read once.

    Args:
      root: it, or a folder at most `depth` levels deeper.
      belongs: tells whether a file of this name is a photo of the data set.
      depth: see above.

    Returns:
      The folder, or None where none holds any of them.
    """
    best, most, level = None, 0, [root]
    for _ in range(depth + 1):
        deeper: list[Path] = []
        for folder in level:
            try:
                entries = list(os.scandir(folder))
            except PermissionError:
                continue
            count = sum(1 for entry in entries if belongs(entry.name))
            if count > most:
                best, most = folder, count
            deeper += sorted(folder / entry.name for entry in entries if entry.is_dir())
        level = deeper
    return best


def not_found(name: str, what: str, dir: str, how: str) -> UserError:
    """Returns the one line that says what is missing, everywhere it was looked for, and how to get
    it.
    """
    if dir:
        folder = Path(dir).expanduser()
        looked = (
            f"{folder} (and two folders deeper)"
            if folder.is_dir()
            else f"{folder}, which is no folder"
        )
    else:
        looked = listed(
            [f"{KAGGLE}/*", f"{KAGGLE}/datasets/*/*", str(home(name)), str(downloads(name))]
        )
    return UserError(f"{name}: no {what} found; looked in {looked}: {how}")


def listed(items: Sequence[str], most: int = 4) -> str:
    """Joins the first few of `items` for a message, and says when there are more."""
    return ", ".join(items[:most]) + (", ..." if len(items) > most else "")
