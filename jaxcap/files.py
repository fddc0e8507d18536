"""Files on this machine: where jaxcap keeps what it makes, and writing so that nothing is ever half there."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jaxcap.errors import is_out_of_space, out_of_space


def cache_root() -> Path:
    """Returns the folder of prepared data, features and weights: $JAXCAP_CACHE, or ~/.cache/jaxcap."""
    return Path(os.environ.get("JAXCAP_CACHE") or Path.home() / ".cache" / "jaxcap").expanduser()


@contextlib.contextmanager
def space_checked(path: os.PathLike | str) -> Iterator[None]:
    """Turns a full disk met inside the block into a `UserError` that names `path`."""
    try:
        yield
    except OSError as error:
        if is_out_of_space(error):
            raise out_of_space(error, path) from error
        raise


def write_atomically(path: os.PathLike | str, content: str | bytes) -> None:
    """Writes `content` beside `path` and renames it into place, so that a reader sees all of it or nothing.

    Raises:
      UserError: the disk is full; nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with space_checked(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def _umask() -> int:
    """Returns the process's umask, which mkstemp ignores."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
