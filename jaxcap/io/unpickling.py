"""Pickles from anywhere, read without trust: nothing in one is run, and memory is bounded.

A pickle is a program. Python's own reader lets it call any function, and in the reader written in C
ten bytes can ask for gigabytes. The one here knows no function, believes no length before so many
bytes are there, and copies nothing that the file did not spell out.
"""

import copyreg
import io
import pickle
import struct
from typing import Any, ClassVar

CHUNK = 1 << 20  # bytes asked for at once, as a length in the file may be a lie
LINE = 1 << 16  # bytes of the longest line, which is a number or a name
READS = 1 << 27  # of one pickle; gensim's take eight a word
ARGUMENTS = 64  # of one call
PLAIN = (str, bytes, int, float, bool, type(None))

# Python's reader in Python, whose memo is a dictionary: in C, it is an array up to the highest
# index. Any, because type checkers know the one in C alone, which has none of the methods below.
_PythonUnpickler: Any = pickle._Unpickler
_EXTENSIONS: dict[int, tuple[str, str]] = vars(copyreg)["_inverted_registry"]


class Reader:
    """Reads an open file, and asks the system for no more than the file has.

    Raises:
      EOFError: the file ends before the bytes that are asked for.
      ValueError: a line is too long, or more than `READS` pieces are read.
    """

    def __init__(self, file: io.BufferedIOBase):
        self.reads = 0
        self._file = file

    def read(self, size: int) -> bytes:
        """Returns the next `size` bytes."""
        self.reads += 1
        if self.reads > READS:
            raise ValueError("it holds too many objects")
        data = self._file.read(size) if size <= CHUNK else self._read_long(size)
        if len(data) < size:
            raise EOFError(f"{size:,} bytes are announced, {len(data):,} follow")
        return data

    def readline(self) -> bytes:
        """Returns the rest of the line with its end."""
        line = self._file.readline(LINE)
        if not line.endswith(b"\n"):
            raise ValueError("a line is cut off or too long")
        return line

    def _read_long(self, size: int) -> bytes:
        parts = []
        missing = size
        while missing:
            part = self._file.read(min(missing, CHUNK))
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


class Unpickler(_PythonUnpickler):
    """Unpickles plain values, and what `find_class` of a subclass returns for names in the file.

    Keys are plain values: to hash a few nested tuples can take for ever, or end the process. An
    object gets its state only where its type has __setstate__.
    """

    def __init__(self, file: io.BufferedIOBase):
        self._reader = Reader(file)
        self._copied = 0
        super().__init__(self._reader)

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a name."""
        raise NotImplementedError

    def allow_copy(self, items: Any) -> Any:
        """Returns `items`, to be copied, unless more would be copied by then than was read."""
        self._copied += len(items)
        if self._copied > self._reader.reads:
            raise ValueError("it copies the same things again and again")
        return items

    def get_extension(self, code: int) -> None:
        if code not in _EXTENSIONS:
            raise ValueError(f"it names an extension {code}")
        # Python's own would take the function itself from the cache of what others have unpickled.
        self.append(self.find_class(*_EXTENSIONS[code]))

    def load_frame(self) -> None:
        self.read(8)  # how much could be read at once; here it is read piece by piece

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    def load_build(self) -> None:
        state = self.stack.pop()
        thing = self.stack[-1]
        if hasattr(type(thing), "__setstate__"):
            thing.__setstate__(state)

    def load_reduce(self) -> None:
        _check_arguments(self.stack[-1])
        super().load_reduce()

    def load_newobj(self) -> None:
        _check_arguments(self.stack[-1])
        super().load_newobj()

    def load_newobj_ex(self) -> None:
        _check_arguments(self.stack[-2])
        _check_arguments(self.stack[-1])
        super().load_newobj_ex()

    def load_dict(self) -> None:
        check_keys(self.stack[::2])
        super().load_dict()

    def load_setitem(self) -> None:
        check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        check_keys(self.stack[::2])
        super().load_setitems()

    def load_additems(self) -> None:
        check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        check_keys(self.stack)
        super().load_frozenset()

    dispatch: ClassVar[dict[int, Any]] = {
        **_PythonUnpickler.dispatch,
        pickle.FRAME[0]: load_frame,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.BUILD[0]: load_build,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
    }


def check_keys(keys: list) -> None:
    """Raises a ValueError for a key that is no plain value."""
    for key in keys:
        if not isinstance(key, PLAIN):
            raise ValueError(f"a {type(key).__name__} is a key")


def _check_arguments(arguments: Any) -> None:
    if not isinstance(arguments, tuple | dict) or len(arguments) > ARGUMENTS:
        raise ValueError("a call has too many arguments, or none that are a tuple")
