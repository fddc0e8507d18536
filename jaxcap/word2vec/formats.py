"""Files of word vectors, read word by word: only the wanted words are kept, whatever the size of
the file.

The kind of a file is read from its content, not from its name: word2vec's binary format, text with
the header "COUNT DIM" (word2vec, fastText's .vec) or without one (GloVe), or a file saved by
gensim; each also inside gzip.
"""

import contextlib
import gzip
import re
import zlib
from collections.abc import Container, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from jaxcap.errors import UserError
from jaxcap.word2vec import saved

CHUNK = (
    1 << 18
)  # bytes read at once; mapping the file instead would count every touched page as memory
LONGEST = 1 << 16  # bytes of the longest word
HEADER = re.compile(rb"(\d+)[ \t](\d+)\s*")
CONTROL = re.compile(
    rb"[\x00-\x08\x0e-\x1f\x7f]"
)  # bytes that text never holds and a few float32 always do


def rows(path: Path, dim: int, wanted: Container[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yields each wanted word of a file with its vector, in the file's order.

    Args:
      path: the file.
      dim: E, the length that the vectors must have.
      wanted: the words to keep, in UTF-8.

    Yields:
      A word and its vector, float32 [E], valid until the next one.

    Raises:
      UserError: the file is missing, cut off, damaged, of another E, or no file of word vectors.
    """
    with _opened(path) as file:
        first = file.readline(CHUNK)
        if first.startswith(saved.MAGIC):
            file.seek(0)
            yield from saved.rows(file, path, dim, wanted)
        elif header := HEADER.fullmatch(first):
            count, length = int(header[1]), int(header[2])
            check_dim(path, length, dim)
            binary = CONTROL.search(file.read(1 << 12))
            file.seek(len(first))
            yield from (
                _binary(file, path, count, dim, wanted)
                if binary
                else _text(file, path, 2, dim, wanted, count)
            )
        elif len(first.split()) > 1 and not CONTROL.search(first) and _is_number(first.split()[-1]):
            check_dim(path, len(first.split()) - 1, dim)
            file.seek(0)
            yield from _text(file, path, 1, dim, wanted)
        else:
            raise UserError(
                f"{path} is no file of word vectors: word2vec's .bin or text, GloVe's text or "
                "gensim's own"
            )


def check_dim(path: Path, length: int, dim: int) -> None:
    """Raises a `UserError` when the vectors of `path` are not `dim` long."""
    if length != dim:
        raise UserError(
            f"{path} holds vectors of {length} numbers, embedding.dim is {dim}: set "
            f"embedding.dim={length}"
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, unpacked when it is a gzip, and says in one line why it cannot be read."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"the word vectors in {path} are cut off or damaged ({error}): fetch the file again"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read the word vectors in {path} (embedding.path): {error.strerror}"
        ) from error


def _binary(file: BinaryIO, path: Path, count: int, dim: int, wanted: Container[bytes]) -> Iterator:
    """Walks word2vec's binary format after its header: each word, a space, and E little-endian
    float32.
    """
    size = 4 * dim
    buffer, start = b"", 0
    for number in range(1, count + 1):
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) <= space + size:
            if space < 0 and len(buffer) - start > LONGEST:
                raise UserError(
                    f"word {number:,} of {count:,} in {path} has no end: fetch the file again"
                )
            more = _more(file)
            if not more:
                place = f"at byte {file.tell():,} in word {number:,} of {count:,}"
                raise UserError(
                    f"the word vectors in {path} are cut off {place}: fetch the file again"
                )
            buffer, start = buffer[start:] + more, 0
        word = buffer[start:space].lstrip(b"\n")  # some writers end each vector with a newline
        start = space + 1 + size
        if word in wanted:
            yield word, np.frombuffer(buffer, "<f4", dim, space + 1)
    if buffer[start:].strip() or _more(file).strip():
        raise UserError(
            f"{path} goes on after its {count:,} words: its header is wrong or it is damaged"
        )


def _more(file: BinaryIO) -> bytes:
    """Reads on; a gzip that was cut off ends like any other file, so that its last word can be
    named.
    """
    try:
        return file.read1(CHUNK)
    except EOFError:
        return b""


def _text(
    file: BinaryIO,
    path: Path,
    first: int,
    dim: int,
    wanted: Container[bytes],
    count: int | None = None,
) -> Iterator[tuple[bytes, np.ndarray]]:
    """Walks rows of text: a word and E numbers. `first` is the number of the first row, `count`
    what a header says.
    """
    number = first - 1
    try:
        longest = LONGEST + 64 * dim
        for number, line in enumerate(iter(lambda: file.readline(longest), b""), first):
            if len(line) == longest:
                raise UserError(
                    f"row {number:,} of {path} is too long for {dim} numbers: fetch the file again"
                )
            line = line.rstrip()
            if line.count(b" ") < dim:
                raise UserError(
                    f"row {number:,} of {path} has fewer than {dim} numbers: it is cut off or "
                    "damaged"
                )
            if line.partition(b" ")[0] in wanted:
                word, *numbers = line.rsplit(b" ", dim)
                # GloVe has a few words with spaces inside, such as "at name@domain.com".
                if b" " not in word:
                    yield word, _vector(numbers, number, path)
    except EOFError as error:
        raise UserError(
            f"the word vectors in {path} are cut off after row {number:,}: fetch the file again"
        ) from error
    if count is not None and number - first + 1 != count:
        raise UserError(
            f"{path} has {number - first + 1:,} words, its header says {count:,}: fetch the file "
            "again"
        )


def _vector(numbers: list[bytes], row: int, path: Path) -> np.ndarray:
    """Returns the numbers of one row of text as float32 [E]."""
    for number in numbers:
        if not _is_number(number):
            raise UserError(
                f"row {row:,} of {path}: {number.decode(errors='replace')!r} is not a number"
            )
    with np.errstate(over="ignore"):  # the matrix is looked through for what became infinite
        return np.array([float(number) for number in numbers], np.float32)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
