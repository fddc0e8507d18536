"""Files on this machine: where jaxcap keeps what it makes, and writing so that nothing is ever half there."""

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jaxcap.errors import UserError, is_out_of_space, out_of_space


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


def wait_for_lock(file: IO, waiting: str) -> None:
    """Takes the lock of an open file; the system gives it back when the file is closed or the process ends.

    Args:
      file: the lock file.
      waiting: printed on stderr when another process holds the lock, before waiting for it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(waiting, file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        pass  # some clusters' file systems know no locks: there, one process at a time is the user's care


@contextlib.contextmanager
def alone_with(path: os.PathLike | str, waiting: str) -> Iterator[None]:
    """Holds `path` against other processes and threads for the length of the block.

    Args:
      path: what is to be made or changed; `.NAME.lock` lies beside it meanwhile.
      waiting: printed on stderr when another holds it, before waiting for it.
    """
    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with lock.open("wb") as file:
            wait_for_lock(file, waiting)
            if not _lies_at(file, lock):
                continue  # whoever held it has removed it, and others may hold a new one by now
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _lies_at(file: IO, path: Path) -> bool:
    """Tells whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def check_writable(folder: os.PathLike | str, advice: str) -> None:
    """Makes sure, before long work, that files can be written into `folder`, there or not yet.

    Args:
      folder: where files will go; nothing is left there, and it is not made.
      advice: what to do where it cannot be written.

    Raises:
      UserError: it cannot be written.
    """
    place = Path(folder)
    while not os.path.lexists(place):
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except NotADirectoryError as error:
        raise UserError(f"cannot write to {folder}, for {place} is a file: {advice}") from error
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): {advice}") from error


def write_atomically(path: os.PathLike | str, content: str | bytes) -> None:
    """Writes `content` beside `path` and renames it into place, so that a reader sees all of it or nothing.

    Raises:
      UserError: the disk is full, or the place cannot be written; nothing is left behind.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A whole name before the random letters could be longer than a name may be.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        if is_out_of_space(error):
            raise out_of_space(error, path) from error
        reason = f"{path} cannot be written ({error.strerror})"
        raise UserError(f"{reason}: mend that, or choose another place for it") from error


def _umask() -> int:
    """Returns the process's umask, which mkstemp ignores."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
