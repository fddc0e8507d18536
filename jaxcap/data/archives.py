"""Zip archives from the net: downloaded, checked, unpacked into a folder that is there only when it is complete."""

import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from jaxcap.errors import UserError
from jaxcap.fetch import fetch
from jaxcap.files import space_checked
from jaxcap.progress import Progress


def fetched(url: str, into: Path, *, sha256: str | None = None, members: str = "") -> Path:
    """Downloads a zip archive and unpacks it, unless that was done before.

    Args:
      url: the archive; `NAME.zip` is unpacked into `into`/NAME and then removed.
      into: the folder of downloads.
      sha256: what the archive must hash to, where it is known.
      members: unpack only the files whose names, without folders, start so.

    Returns:
      The folder.

    Raises:
      UserError: there is no network, the archive is damaged or unsafe, or the disk is full.
    """
    name = Path(urlsplit(url).path).name
    folder = into / Path(name).stem
    if not folder.is_dir():
        archive = fetch(url, into / name, sha256=sha256, what=name)
        unpack(archive, folder, members)
        archive.unlink()
    return folder


def unpack(archive: Path, folder: Path, members: str = "") -> None:
    """Unpacks a zip archive into a new folder, all or nothing.

    Args:
      archive: the .zip file.
      folder: what to make; it must not exist yet.
      members: unpack only the files whose names, without folders, start so.

    Raises:
      UserError: the archive is damaged, it names files outside the folder, or the disk is full.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with space_checked(folder), tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        inside = Path(temporary).resolve() / folder.name
        try:
            with zipfile.ZipFile(archive) as zipped:
                names = [info.filename for info in zipped.infolist() if not info.is_dir()]
                if escaping := [name for name in names if not (inside / name).resolve().is_relative_to(inside)]:
                    raise UserError(f"{archive}: holds {escaping[0]!r}, outside its own folder: do not trust it")
                wanted = [name for name in names if Path(name).name.startswith(members)]
                if not wanted:
                    raise UserError(f"{archive}: holds no file {members}*: it is not the archive that was expected")
                with Progress(len(wanted), f"unpacking {archive.name}", unit="files") as progress:
                    for name in wanted:
                        zipped.extract(name, inside)
                        progress.update(1)
        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise UserError(f"{archive}: not a whole zip archive ({error}): remove it and run again") from error
        os.replace(inside, folder)
