"""What JAX compiles is kept for the next process, in `compiled` of the cache folder."""

import os
import platform
import stat
import sys
from pathlib import Path

import jax

from jaxcap.io.digests import digest_json
from jaxcap.io.files import cache_root
from jaxcap.io.plain import line

KEPT_BYTES = 2 * 2**30  # when a process begins; the oldest go first
PROCESSOR_INFO = Path("/proc/cpuinfo")  # Linux
_SECONDS = 0.1  # of compiling that are worth a file
_OPTION = "jax_compilation_cache_dir"
_SHORTEST = "jax_persistent_cache_min_compile_time_secs"


def compiled_root() -> Path:
    """Returns the folder with one folder for each kind of processor."""
    return cache_root() / "compiled"


def keep_compiled() -> None:
    """Lets JAX keep what it compiles and use what an earlier process has compiled.

    A place that the environment or the program has chosen stays. What lies there is run, so a
    folder that others can write into is not used, which is said on stderr. What the folder holds
    beyond `KEPT_BYTES` is removed, and where it cannot be written nothing is kept.
    """
    if _OPTION.upper() in os.environ or jax.config.values[_OPTION] is not None:
        return
    root = compiled_root()
    # A program for one processor may end another, which can share a home folder with it.
    folder = root / digest_json(_describe_processor())[:12]
    try:
        for made in (root, folder):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_private(made):
                print(
                    f"{line(made)} is not used for what is compiled, for others can write into it",
                    file=sys.stderr,
                )
                return
        _remove_oldest(folder)
    except OSError:
        return
    jax.config.update(_OPTION, str(folder))
    if _SHORTEST.upper() not in os.environ:
        jax.config.update(_SHORTEST, _SECONDS)


def _is_private(folder: Path) -> bool:
    """Tells whether nobody but this user can write into a folder."""
    if not hasattr(os, "getuid"):
        return True  # Windows, where a home folder is its user's
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _remove_oldest(folder: Path) -> None:
    """Removes the oldest files beyond `KEPT_BYTES`."""
    files = [(file.stat(), file) for file in folder.iterdir() if file.is_file()]
    files.sort(key=lambda pair: pair[0].st_mtime, reverse=True)
    kept = 0
    for status, file in files:
        kept += status.st_size
        if kept > KEPT_BYTES:
            file.unlink(missing_ok=True)


def _describe_processor() -> list[str]:
    """Returns what decides which programs this processor can run."""
    found = [platform.machine()]
    try:
        text = PROCESSOR_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [*found, platform.processor()]
    of_first = text.partition("\n\n")[0]
    names = ("model name", "flags", "Features")
    return found + [row for row in of_first.splitlines() if row.startswith(names)]
