"""Downloads: resumed after a break, checked, and moved into place only when complete."""

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
from typing import NamedTuple

from jaxcap import __version__
from jaxcap.errors import UserError, is_out_of_space
from jaxcap.io.files import report_full_disk, write_atomically
from jaxcap.io.locks import hold_path
from jaxcap.io.progress import Progress

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 3.0, 9.0)  # seconds before each further attempt
CHUNK = 1 << 18


class _Checksum(NamedTuple):
    """What a file must hash to; expected is None where nothing was published."""

    algorithm: str
    expected: str | None


class _Part(NamedTuple):
    """A download that is under way: what has come, and the ETag of the file it is part of."""

    data: Path
    etag: Path


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
        either, the server is trusted, which is printed on stderr.
      what: its name in the progress bar and in errors.

    Returns:
      `path`, complete.

    Raises:
      UserError: no network, no such file, no space, or content of another sum (which is then
        removed).
    """
    path = Path(path).expanduser()
    checksum = _Checksum("sha256", sha256) if sha256 else _Checksum("md5", md5)
    try:
        if _is_there(path, checksum):
            return path
        waiting = f"another process downloads {what}: waiting for it"
        with report_full_disk(path), hold_path(path, waiting):
            if not _is_there(path, checksum):
                _fetch_anew(url, path, checksum, what)
    except OSError as error:
        raise UserError(
            f"{what}: cannot write {error.filename or path} ({error.strerror}): set another place"
        ) from error
    return path


def digest_file(path: os.PathLike | str, algorithm: str = "sha256") -> str:
    """Returns the SHA-256 (or another sum that hashlib knows) of a file in hexadecimal."""
    with open(path, "rb") as file:
        # Against damage and not for security, so that a system in FIPS mode computes MD5 too.
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=False)
        ).hexdigest()


def _is_there(path: Path, checksum: _Checksum) -> bool:
    if not path.exists():
        return False
    algorithm, expected = checksum
    return expected is None or digest_file(path, algorithm) == expected


def _fetch_anew(url: str, path: Path, checksum: _Checksum, what: str) -> None:
    """Downloads `path`, which no other process does meanwhile, and checks it."""
    part = _Part(path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.etag"))
    algorithm, expected = checksum
    with report_full_disk(part.data):
        _download(url, path, part, algorithm, what)
    part.etag.unlink(missing_ok=True)
    if expected is None:
        message = f"{what}: no checksum of it is known, so it is taken as it came"
        print(message, file=sys.stderr, flush=True)
    else:
        found = digest_file(part.data, algorithm)
        if found != expected:
            part.data.unlink()
            raise UserError(
                f"{what}: {url} sent another file than expected ({algorithm} {found[:12]}..., not "
                f"{expected[:12]}...), which was removed: try again later, or put the right file "
                f"at {path}"
            )
    os.replace(part.data, path)


def _download(url: str, path: Path, part: _Part, algorithm: str, what: str) -> None:
    """Fills `part`, with another attempt after each failure that may pass."""
    for pause in (*PAUSES, None):
        try:
            _attempt(url, part, what)
            return
        except (OSError, http.client.HTTPException) as error:
            if _is_local(error):
                raise
            if pause is None or _is_final(error):
                wrong = ""
                if path.exists():
                    wrong = f" (the one there is another: its {algorithm} differs)"
                raise UserError(
                    f"{what}: cannot download {url} ({_reason(error)}): check the address and the "
                    f"network and try again, or put the file at {path}{wrong}"
                ) from error
            time.sleep(pause)


def _attempt(url: str, part: _Part, what: str) -> None:
    """Downloads what `part` lacks, over one connection."""
    etag = ""
    if part.etag.exists() and part.data.exists():
        etag = part.etag.read_text(encoding="utf-8")
    request = urllib.request.Request(url, headers={"User-Agent": f"jaxcap/{__version__}"})
    if etag:
        request.add_header("Range", f"bytes={part.data.stat().st_size}-")
        # The server sends the whole file when it has another one by now.
        request.add_header("If-Range", etag)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        if error.headers.get("Content-Range") == f"bytes */{part.data.stat().st_size}":
            return  # nothing was missing
        part.etag.unlink()  # `part` is longer than the file, so it is not the beginning of it
        _attempt(url, part, what)
        return
    with response:
        length = response.headers.get("Content-Length")
        missing = None if length is None else int(length)
        if missing and missing > shutil.disk_usage(part.data.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part.data))
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            _begin(part, response.headers.get("ETag"))
        _receive(response, part.data, missing, what)


def _begin(part: _Part, etag: str | None) -> None:
    """Empties `part` and notes which file it will be part of; a weak ETag does not say that."""
    part.etag.unlink(missing_ok=True)
    part.data.write_bytes(b"")
    if etag and not etag.startswith("W/"):
        write_atomically(part.etag, etag)


def _receive(
    response: http.client.HTTPResponse, data: Path, missing: int | None, what: str
) -> None:
    """Appends the body of `response` to `data`, which lacks `missing` bytes if that is known."""
    have = data.stat().st_size
    total = None if missing is None else have + missing
    with data.open("ab") as file, Progress(total, what, unit="B", done=have) as progress:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            progress.update(len(chunk))
    if total is not None and data.stat().st_size < total:
        raise ConnectionError(
            f"the connection broke off after {data.stat().st_size} of {total} bytes"
        )


def _is_local(error: Exception) -> bool:
    """Tells a failure of this machine's files from one of the network."""
    if is_out_of_space(error):
        return True
    # An HTTPError has a file name too: its address.
    return getattr(error, "filename", None) is not None and not isinstance(
        error, urllib.error.HTTPError
    )


def _is_final(error: Exception) -> bool:
    """Tells whether the server would answer the same again."""
    if not isinstance(error, urllib.error.HTTPError):
        return False
    passing = (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS)
    return error.code < 500 and error.code not in passing


def _reason(error: Exception) -> str:
    """Says in a few words what failed."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
