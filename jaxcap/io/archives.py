"""Zip archives from the net: downloaded, checked, and unpacked into a folder all at once."""

import lzma
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from jaxcap.errors import UserError
from jaxcap.io.fetch import fetch
from jaxcap.io.files import report_full_disk
from jaxcap.io.locks import hold_path
from jaxcap.io.progress import Progress

ENCRYPTED = 0x1  # the bit of a file's flags in a zip archive


class Damaged(UserError):
    """An archive of which something is missing or wrong, so that it must be fetched again."""


def fetch_archive(
    url: str, into: Path, *, sha256: str | None = None, md5: str | None = None, members: str = ""
) -> Path:
    """Downloads a zip archive and unpacks it, unless that was done before.

    Of several processes one does so, and the others wait for it.

    Args:
      url: the archive; `NAME.zip` is unpacked into `into`/NAME and then removed.
      into: the folder of downloads.
      sha256: what the archive must hash to, where it is known.
      md5: the same, where only this sum was published.
      members: unpack only the files whose names, without folders, start so.

    Returns:
      The folder.

    Raises:
      UserError: there is no network, the archive is damaged (it is then removed) or unsafe, or the
        disk is full.
    """
    name = Path(urlsplit(url).path).name
    folder = into / Path(name).stem
    if folder.is_dir():
        return folder
    try:
        with (
            report_full_disk(folder),
            hold_path(folder, f"another process fetches {name}: waiting for it"),
        ):
            if not folder.is_dir():
                archive = fetch(url, into / name, sha256=sha256, md5=md5, what=name)
                _unpack_or_remove(archive, folder, members)
                archive.unlink()
    except OSError as error:
        raise UserError(
            f"{name}: cannot write {error.filename or folder} ({error.strerror}): set another "
            "place with data.dir"
        ) from error
    return folder


def _unpack_or_remove(archive: Path, folder: Path, members: str) -> None:
    try:
        unpack(archive, folder, members)
    except Damaged as error:
        archive.unlink()
        raise UserError(
            f"{archive} was damaged ({error.__cause__}) and is removed: run again to fetch it anew"
        ) from error


def unpack(archive: Path, folder: Path, members: str = "") -> None:
    """Unpacks a zip archive into a new folder, all or nothing.

    Args:
      archive: the .zip file.
      folder: what to make; it must not exist yet.
      members: unpack only the files whose names, without folders, start so.

    Raises:
      Damaged: the archive is cut off, or a file in it is another than was packed.
      UserError: the archive is encrypted, it names files outside the folder, or the disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        report_full_disk(folder),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary,
    ):
        inside = Path(temporary).resolve() / folder.name
        try:
            with zipfile.ZipFile(archive) as zipped:
                wanted = _select_members(archive, zipped, inside, members)
                with Progress(len(wanted), f"unpacking {archive.name}", unit="files") as progress:
                    for name in wanted:
                        zipped.extract(name, inside)  # which also checks its CRC
                        progress.update(1)
        except NotImplementedError as error:
            raise UserError(
                f"{archive}: packed in a way that is unknown here ({error}): unpack it yourself"
            ) from error
        except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
            raise Damaged(
                f"{archive}: not a whole zip archive ({error}): remove it and run again"
            ) from error
        except OSError as error:
            if error.errno is not None:
                raise
            # Without a number it is bzip2's complaint of damaged data.
            raise Damaged(
                f"{archive}: not a whole zip archive ({error}): remove it and run again"
            ) from error
        os.replace(inside, folder)


def _select_members(
    archive: Path, zipped: zipfile.ZipFile, inside: Path, members: str
) -> list[str]:
    """Returns the files to unpack; refuses an archive that names any outside `inside`."""
    infos = [info for info in zipped.infolist() if not info.is_dir()]
    for info in infos:
        if not (inside / info.filename).resolve().is_relative_to(inside):
            raise UserError(
                f"{archive}: holds {info.filename!r}, outside its own folder: do not trust it"
            )
    wanted = [info for info in infos if Path(info.filename).name.startswith(members)]
    if not wanted:
        raise UserError(
            f"{archive}: holds no file {members}*: it is not the archive that was expected"
        )
    encrypted = [info.filename for info in wanted if info.flag_bits & ENCRYPTED]
    if encrypted:
        raise UserError(
            f"{archive}: {encrypted[0]!r} in it is encrypted: unpack it yourself, or get it "
            "without a password"
        )
    return [info.filename for info in wanted]
