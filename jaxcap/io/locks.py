"""Locks between processes: one works, the others wait or are refused.

A lock ends with its process.
"""

import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jaxcap.errors import UserError

FOLDER_LOCK = ".lock"  # in a folder that is held


@contextlib.contextmanager
def hold_path(path: os.PathLike | str, waiting: str) -> Iterator[None]:
    """Holds `path` against other processes and threads for the length of the block.

    Args:
      path: what is to be made or changed; `.NAME.lock` lies beside it meanwhile.
      waiting: printed on stderr when another holds it, before waiting for it.
    """
    lock = lock_of(path)
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = _open_held(lock, waiting)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held, or it could be that of the next process
        file.close()


@contextlib.contextmanager
def hold_writable(path: os.PathLike | str, waiting: str, advice: str) -> Iterator[None]:
    """Holds `path` as `hold_path` does, and says in one line that its place cannot be written.

    Args:
      path: what is to be made or changed.
      waiting: printed on stderr when another holds it, before waiting for it.
      advice: what to do where it cannot be written.

    Raises:
      UserError: the place cannot be written, here or in the block.
    """
    try:
        with hold_path(path, waiting):
            yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        place = Path(path).parent
        raise UserError(f"cannot write to {place} ({error.strerror}): {advice}") from error


@contextlib.contextmanager
def hold_folder(folder: os.PathLike | str) -> Iterator[None]:
    """Holds a folder for the one process that may write to it, and makes it if it is not there.

    Folders that were made and are empty at the end are removed again.

    Raises:
      UserError: another process holds the folder (it is named), or nothing can be written there.
    """
    folder = Path(folder)
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = folder / FOLDER_LOCK
    file = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _open_held(lock, None)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
        except OSError as error:
            raise UserError(
                f"cannot write to {folder} ({error.strerror}): choose another folder"
            ) from error
        yield
    finally:
        if file is not None:
            lock.unlink(missing_ok=True)
            file.close()
        with contextlib.suppress(OSError):  # the first that is not empty
            for path in absent:
                path.rmdir()


def lock_of(path: os.PathLike | str) -> Path:
    """Returns the lock file of `hold_path`."""
    path = Path(path)
    return path.with_name(f".{path.name}.lock")


def is_held(lock: Path) -> bool:
    """Tells whether a process holds a lock file now."""
    try:
        with lock.open("rb") as file:
            return not _take(file)
    except FileNotFoundError:
        return False


def _open_held(lock: Path, waiting: str | None) -> IO[bytes]:
    """Opens a lock file and takes its lock; without `waiting`, a held one is a `UserError`."""
    while True:
        file = lock.open("a+b")
        if not _take(file):
            if waiting is None:
                file.seek(0)
                holder = file.read().decode(errors="replace") or "another process"
                file.close()
                raise UserError(
                    f"{lock.parent} is in use by {holder}: wait until it has ended, or choose "
                    "another folder"
                )
            print(waiting, file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        if _lies_at(file, lock):
            return file
        # The process that held it has removed it, and another may hold a new one by now.
        file.close()


def _take(file: IO) -> bool:
    """Takes the lock of an open file unless another process holds it; tells whether it could."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # Some clusters' file systems know no locks: there, users must see to it themselves that
        # one process works at a time.
        pass
    return True


def _lies_at(file: IO, path: Path) -> bool:
    """Tells whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
