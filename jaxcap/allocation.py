"""How the C library hands out the memory of this process."""

import ctypes
import os

# Names and numbers of glibc's mallopt, and what is asked of it.
_OPTIONS = (
    (-8, 1),  # M_ARENA_MAX: threads other than the first would give memory back all the same
    (-4, 0),  # M_MMAP_MAX: no block is mapped by itself, and unmapped when it is freed
    (-1, 2**30),  # M_TRIM_THRESHOLD: bytes that may lie free at the end
)
_PREFIXES = ("MALLOC_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Lets the process use memory again that it has freed, up to 1 GiB, instead of giving it back.

    XLA asks for the memory of a program whenever it runs it. Linux hands out each page of it as
    zeros when it is first touched, which took a tenth of a training step on two cores.

    Call it before threads begin. Where the C library is another than glibc, or the environment
    chooses for it, nothing is changed.
    """
    if any(name.startswith(_PREFIXES) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # TypeError: Windows
        return
    for option, value in _OPTIONS:
        mallopt(option, value)
