"""Files on this machine: where jaxcap keeps what it makes, and writing so that nothing is ever half there."""

import contextlib
import fcntl
import io
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from jaxcap.errors import UserError, is_out_of_space, out_of_space

UNFINISHED = ".unfinished"  # what a file is named until all of it is there


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
    if not _take_lock(file):
        print(waiting, file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)


def _take_lock(file: IO) -> bool:
    """Takes the lock of an open file unless another process holds it, and tells whether it could."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # some clusters' file systems know no locks: there, one process at a time is the user's care
    return True


@contextlib.contextmanager
def alone(folder: os.PathLike | str) -> Iterator[None]:
    """Holds a folder for the one process that may write to it, and makes it first if it is not there.

    The system gives the folder back when the process ends, however it ends. Folders that were made and are empty at the
    end are removed again.

    Raises:
      UserError: another process holds the folder (it is named), or nothing can be written there.
    """
    folder = Path(folder)
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = folder / ".lock"
    file = None
    try:
        file = _held(lock)
        yield
    finally:
        if file:
            lock.unlink(missing_ok=True)  # while it is held, or it could be that of the next process
            file.close()
        with contextlib.suppress(OSError):  # the first that is not empty
            for path in absent:
                path.rmdir()


def _held(lock: Path) -> IO:
    """Opens and takes a lock file, and writes the process into it."""
    folder = lock.parent
    try:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            file = lock.open("a+", encoding="utf-8")
            if not _take_lock(file):
                file.seek(0)
                holder = file.read() or "another process"
                file.close()
                raise UserError(f"{folder} is in use by {holder}: wait until it has ended, or choose another folder")
            # Who held it until now has removed the file: a lock that nobody else can find is worth nothing.
            if lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                break
            file.close()
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror}): choose another folder") from error
    return file


def write_atomically(path: os.PathLike | str, content: str | bytes) -> None:
    """Writes `content` beside `path` and renames it into place, so that a reader sees all of it or nothing.

    Raises:
      UserError: the disk is full; nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with space_checked(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def write_picture(path: os.PathLike | str, picture: Any) -> None:
    """Writes a PIL image as PNG, as `write_atomically` does."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    write_atomically(path, file.getvalue())


def remove_unfinished(folder: os.PathLike | str) -> None:
    """Removes the files of a folder whose writing a kill has cut off."""
    for path in Path(folder).glob(f".*{UNFINISHED}"):
        path.unlink()


def _umask() -> int:
    """Returns the process's umask, which mkstemp ignores."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
