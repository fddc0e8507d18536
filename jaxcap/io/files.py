"""Files on this machine: the cache folder, atomic writes, and checks of what can be written."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxcap.errors import UserError, is_out_of_space, out_of_space
from jaxcap.io.plain import format_bytes

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
UNFINISHED = ".unfinished"  # what a file is named until all of it is there


def is_photo(name: str) -> bool:
    """Tells by its name whether a file is a photo; hidden ones are not, as macOS's "._name.jpg"."""
    return name.lower().endswith(PHOTO_SUFFIXES) and not name.startswith(".")


def cache_root() -> Path:
    """Returns the folder of data, features and weights: $JAXCAP_CACHE, or ~/.cache/jaxcap."""
    return Path(os.environ.get("JAXCAP_CACHE") or Path.home() / ".cache" / "jaxcap").expanduser()


@contextlib.contextmanager
def report_full_disk(path: os.PathLike | str) -> Iterator[None]:
    """Turns a full disk met inside the block into a `UserError` that names `path`."""
    try:
        yield
    except OSError as error:
        if is_out_of_space(error):
            raise out_of_space(error, path) from error
        raise


def check_space(folder: os.PathLike | str, needed: int, what: str, advice: str) -> None:
    """Makes sure, before long work, that a disk has room.

    Args:
      folder: where it is to be written.
      needed: bytes.
      what: what needs them, in the plural.
      advice: what to do beside freeing space.

    Raises:
      UserError: less is free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{what} need {format_bytes(needed)} in {folder}, where {format_bytes(free)} are "
            f"free: free some space, or {advice}"
        )


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
    """Writes `content` beside `path` and renames it into place: a reader sees all of it or nothing.

    Raises:
      UserError: the disk is full, or the place cannot be written; nothing is left behind.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A whole name before the random letters could be longer than a name may be.
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name[:40]}.", suffix=UNFINISHED
        )
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


def encode_picture(picture: Any) -> bytes:
    """Returns a PIL image as PNG."""
    file = io.BytesIO()
    # Against the usual level of 6, half the time and a few percent more bytes.
    picture.save(file, "PNG", compress_level=4)
    return file.getvalue()


def remove_unfinished(folder: os.PathLike | str) -> None:
    """Removes the files of a folder whose writing a kill has cut off."""
    for path in Path(folder).glob(f".*{UNFINISHED}"):
        path.unlink()


def _umask() -> int:
    """Returns the process's umask, which mkstemp ignores."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
