"""Pickles that ask for far more than they hold, and what a process of little memory says of
them.
"""

import struct
import subprocess
import sys
import textwrap
from pathlib import Path

MANY = 20_000
SPARE = 300 << 20  # bytes of address space above what is taken before the first file is read


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def announced(code: bytes, form: str, size: int) -> bytes:
    return code + struct.pack(form, size)


# 2 ** 60 references to one empty tuple: nothing in memory, and without end for whoever walks them.
DOUBLED = b")" + b"2\x86" * 60
DEEP = b")" + b"\x85" * 200_000
# Kept in the memo at 0, 1 and 2: a class, a long tuple, a long dictionary.
KEPT = (
    named("collections", "OrderedDict") + b"q\x00"
    b"(" + b"N" * MANY + b"tq\x01"
    b"}(" + b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(MANY)) + b"uq\x02"
)
HOSTILE = {
    "a place in the memo of 4 GB": b"Nr\xff\xff\xff\x0f",
    "text of 1 TB": announced(b"\x8d", "<Q", 1 << 40) + b"text",
    "text of 2 GB": announced(b"X", "<I", (1 << 31) - 1) + b"text",
    "bytes of 1 TB": announced(b"\x8e", "<Q", 1 << 40) + b"bytes",
    "an array of bytes of 1 GB": announced(b"\x96", "<Q", 1 << 30) + b"bytes",
    "a number of 2 GB": announced(b"\x8b", "<i", (1 << 31) - 1) + b"number",
    "a frame of 4 GB": announced(b"\x95", "<Q", 1 << 32) + b"N",
    "a line without an end": b"I" + b"1" * 3_000_000,
    "a deep tuple as a key": b"}" + DEEP + b"Ns",
    "a doubled tuple as a key": b"}" + DOUBLED + b"Ns",
    "doubled tuples as keys": b"}(" + DOUBLED + b"Nu",
    "a doubled tuple in a dictionary": b"(" + DOUBLED + b"Nd",
    "a doubled tuple in a set": b"\x8f(" + DOUBLED + b"\x90",
    "a doubled tuple in a frozen set": b"(" + DOUBLED + b"\x91",
    "a doubled tuple at the end": DOUBLED,
    "a deep tuple at the end": DEEP,
    "a long tuple of arguments, many times": KEPT + b"(" + b"h\x00h\x01R" * MANY + b"l",
    "a long tuple for new objects, many times": KEPT + b"(" + b"h\x00h\x01\x81" * MANY + b"l",
    "a long dictionary copied many times": KEPT + b"(" + b"h\x00h\x02\x85R" * MANY + b"l",
    "a long dictionary as many states": KEPT + b"(" + b"h\x00)Rh\x02b" * MANY + b"l",
    "many marks": b"(" * 300_000 + b"l",
    "nothing": b"",
}


def hostile() -> dict[str, bytes]:
    """Returns the pickles by what they ask for, each whole."""
    return {name: b"\x80\x04" + content + b"." for name, content in HOSTILE.items()}


def said_of(files: list[Path], read: str) -> list[str]:
    """Reads files in a process that can hardly allocate more than it has, and returns what is said
    of each.

    Args:
      files: the files.
      read: lines that define a function `read` of a path.
    """
    code = textwrap.dedent(read) + textwrap.dedent(f"""
        import resource, sys
        from jaxcap.errors import UserError
        pages = int(open("/proc/self/statm", encoding="utf-8").read().split()[0])
        limit = pages * resource.getpagesize() + {SPARE}
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for path in sys.argv[1:]:
            try:
                read(path)
                print("read")
            except UserError as error:
                print(" ".join(str(error).split()))
    """)
    command = [sys.executable, "-c", code, *map(str, files)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, (ran.returncode, ran.stderr[-2000:])
    return ran.stdout.splitlines()
