"""Downloads: resumable, checked, and either wholly there or not."""

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from jaxcap import __version__
from jaxcap.errors import UserError, out_of_space
from jaxcap.files import space_checked, write_atomically

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 3.0, 9.0)  # seconds before another attempt
CHUNK = 1 << 18


class _BrokenOff(OSError):
    """The connection ended before the file did."""


def fetch(url: str, path: os.PathLike | str, *, sha256: str | None = None, what: str) -> Path:
    """Downloads `url` to `path` unless it is already there.

    What has come lies in `path`.part, and its ETag beside it: after a break, in this call or a later one, the download
    goes on from there if the server still has the same file.

    Args:
      url: where the file is; redirects are followed, proxies are taken from the environment.
      path: where it goes.
      sha256: what its content must hash to, in hexadecimal; None trusts the server.
      what: its name in the progress bar and in errors.

    Returns:
      `path`, complete.

    Raises:
      UserError: no network, no such file, no space, or other content than `sha256` says (which is then removed).
    """
    path = Path(path).expanduser()
    if path.exists() and (sha256 is None or digest(path) == sha256):
        return path
    part, tag = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.etag")
    with space_checked(part):
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(url, part, tag, what, path)
    found = digest(part) if sha256 else None
    if found != sha256:
        part.unlink()
        tag.unlink(missing_ok=True)
        raise UserError(
            f"{what}: {url} sent another file than expected (sha256 {found[:12]}..., not {sha256[:12]}...); it was "
            f"removed: try again later, or put the right file at {path}"
        )
    os.replace(part, path)
    tag.unlink(missing_ok=True)
    return path


def digest(path: os.PathLike | str) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, part: Path, tag: Path, what: str, path: Path) -> None:
    """Fills `part`, with another attempt after each failure that may pass."""
    for pause in (*PAUSES, None):
        try:
            return _attempt(url, part, tag, what)
        except (OSError, http.client.HTTPException) as error:
            if _is_local(error):
                raise
            if pause is None or _is_final(error):
                raise UserError(
                    f"{what}: cannot download {url} ({_reason(error)}): check the address and the network and try "
                    f"again, or put the file at {path}"
                ) from error
            time.sleep(pause)


def _attempt(url: str, part: Path, tag: Path, what: str) -> None:
    """Downloads what is missing from `part`, over one connection."""
    request = urllib.request.Request(url, headers={"User-Agent": f"jaxcap/{__version__}"})
    etag = tag.read_text() if tag.exists() and part.exists() else ""
    if etag:
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header("If-Range", etag)  # the whole file, should it be another one by now
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        tag.unlink()  # nothing lies beyond what is here: begin anew, as nothing says that this was the end
        return _attempt(url, part, tag, what)
    with response:
        resumed = response.status == 206
        if not resumed:
            _remember(response.headers.get("ETag"), part, tag)
        _receive(response, part, resumed, what)


def _remember(etag: str | None, part: Path, tag: Path) -> None:
    """Begins an empty `part` of the file with this ETag; without a strong one it cannot be resumed."""
    tag.unlink(missing_ok=True)
    part.write_bytes(b"")
    if etag and not etag.startswith("W/"):
        write_atomically(tag, etag)


def _receive(response: http.client.HTTPResponse, part: Path, resumed: bool, what: str) -> None:
    """Appends the response's body to `part`."""
    from jaxcap.progress import Progress

    length = response.headers.get("Content-Length")
    missing = int(length) if length is not None else None
    if missing is not None and missing > shutil.disk_usage(part.parent).free:
        raise out_of_space(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), part)
    name = f"{what} (resumed)" if resumed else what
    with part.open("ab") as file, Progress(missing, name, unit="B") as progress:
        received = 0
        while chunk := response.read(CHUNK):
            file.write(chunk)
            received += len(chunk)
            progress.update(len(chunk))
    if missing is not None and received < missing:
        raise _BrokenOff(f"the connection broke off after {received} of {missing} bytes")


def _is_local(error: Exception) -> bool:
    """Tells a failure of this machine's disk from one of the network."""
    return isinstance(error, OSError) and error.filename is not None and not isinstance(error, urllib.error.HTTPError)


def _is_final(error: Exception) -> bool:
    """Tells whether the server's answer will be the same the next time."""
    return isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 429)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    with contextlib.suppress(AttributeError):
        error = error.reason
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
