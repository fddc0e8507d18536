"""Downloads: resumable, checked, and either wholly there or not."""

import errno
import hashlib
import http.client
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from jaxcap import __version__
from jaxcap.errors import UserError, is_out_of_space
from jaxcap.io.files import report_full_disk, write_atomically
from jaxcap.io.locks import hold_path

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 3.0, 9.0)  # seconds before each further attempt
CHUNK = 1 << 18


def fetch(
    url: str,
    path: os.PathLike | str,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    what: str,
) -> Path:
    """Downloads `url` to `path` unless it is already there.

    What has come lies in `path`.part, with the server's ETag beside it. After a break, in this call
    or a later one, the download goes on from there, unless the server has another file by then or
    gives no ETag. Of several processes one downloads, and the others wait for it.

    Args:
      url: where the file is; redirects are followed, proxies are taken from the environment.
      path: where it goes.
      sha256: what its content must hash to, in hexadecimal.
      md5: the same, where nothing better was published: it finds damage, not malice. Without
        either, the server is trusted, which is said on stderr.
      what: its name in the progress bar and in errors.

    Returns:
      `path`, complete.

    Raises:
      UserError: no network, no such file, no space, or content of another sum (which is then
        removed).
    """
    path = Path(path).expanduser()
    kind, expected = ("sha256", sha256) if sha256 else ("md5", md5)
    try:
        if _is_there(path, kind, expected):
            return path
        with (
            report_full_disk(path),
            hold_path(path, f"another process downloads {what}: waiting for it"),
        ):
            if not _is_there(path, kind, expected):
                _fill(url, path, kind, expected, what)
    except OSError as error:
        raise UserError(
            f"{what}: cannot write {error.filename or path} ({error.strerror}): set another place"
        ) from error
    return path


def digest(path: os.PathLike | str, kind: str = "sha256") -> str:
    """Returns the SHA-256 (or another sum that hashlib knows) of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=False)
        ).hexdigest()


def _is_there(path: Path, kind: str, expected: str | None) -> bool:
    return path.exists() and (expected is None or digest(path, kind) == expected)


def _fill(url: str, path: Path, kind: str, expected: str | None, what: str) -> None:
    """Downloads `path`, which no other process does meanwhile, and checks it."""
    part, tag = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.etag")
    with report_full_disk(part):
        _download(url, path, part, tag, kind, what)
    found = digest(part, kind) if expected else None
    tag.unlink(missing_ok=True)
    if found != expected:
        part.unlink()
        raise UserError(
            f"{what}: {url} sent another file than expected ({kind} {found[:12]}..., not "
            f"{expected[:12]}...), which "
            f"was removed: try again later, or put the right file at {path}"
        )
    if not expected:
        print(
            f"{what}: no checksum of it is known, so it is taken as it came",
            file=sys.stderr,
            flush=True,
        )
    os.replace(part, path)


def _download(url: str, path: Path, part: Path, tag: Path, kind: str, what: str) -> None:
    """Fills `part`, with another attempt after each failure that may pass."""
    for pause in (*PAUSES, None):
        try:
            return _attempt(url, part, tag, what)
        except (OSError, http.client.HTTPException) as error:
            if _is_local(error):
                raise
            if pause is None or _is_final(error):
                wrong = f" (the one there is another: its {kind} differs)" if path.exists() else ""
                raise UserError(
                    f"{what}: cannot download {url} ({_reason(error)}): check the address and the "
                    "network and try "
                    f"again, or put the file at {path}{wrong}"
                ) from error
            time.sleep(pause)


def _attempt(url: str, part: Path, tag: Path, what: str) -> None:
    """Downloads what `part` lacks, over one connection."""
    etag = tag.read_text(encoding="utf-8") if tag.exists() and part.exists() else ""
    request = urllib.request.Request(url, headers={"User-Agent": f"jaxcap/{__version__}"})
    if etag:
        request.add_header("Range", f"bytes={part.stat().st_size}-")
        request.add_header(
            "If-Range", etag
        )  # the server sends the whole file when it is another by now
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
            return None  # nothing was missing
        tag.unlink()
        return _attempt(url, part, tag, what)
    with response:
        length = response.headers.get("Content-Length")
        missing = None if length is None else int(length)
        if missing and missing > shutil.disk_usage(part.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part))
        if response.status != 206:
            _begin(part, tag, response.headers.get("ETag"))
        _receive(response, part, missing, what)


def _begin(part: Path, tag: Path, etag: str | None) -> None:
    """Empties `part` and notes which file it will be part of; a weak ETag does not say that."""
    tag.unlink(missing_ok=True)
    part.write_bytes(b"")
    if etag and not etag.startswith("W/"):
        write_atomically(tag, etag)


def _receive(
    response: http.client.HTTPResponse, part: Path, missing: int | None, what: str
) -> None:
    """Appends the body of `response` to `part`, which lacks `missing` bytes, if the server says how
    many.
    """
    from jaxcap.io.progress import Progress

    have = part.stat().st_size
    total = None if missing is None else have + missing
    with part.open("ab") as file, Progress(total, what, unit="B", done=have) as progress:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            progress.update(len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(
            f"the connection broke off after {part.stat().st_size} of {total} bytes"
        )


def _is_local(error: Exception) -> bool:
    """Tells a failure of this machine's files from one of the network."""
    named = getattr(error, "filename", None) is not None and not isinstance(
        error, urllib.error.HTTPError
    )
    return named or is_out_of_space(error)


def _is_final(error: Exception) -> bool:
    """Tells whether the server would say the same again."""
    return (
        isinstance(error, urllib.error.HTTPError)
        and error.code < 500
        and error.code not in (408, 429)
    )


def _reason(error: Exception) -> str:
    """Says in a few words what failed."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
