"""Files of word vectors, read word by word: only the wanted words take memory.

The kind of a file is read from its content, not from its name: word2vec's binary format, text with
the header "COUNT DIM" (word2vec, fastText's .vec) or without one (GloVe), or a file saved by
gensim; each also inside gzip.
"""

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np

from jaxcap.errors import UserError
from jaxcap.word2vec import saved

CHUNK = 1 << 18  # bytes read at once; a mapped file would count every touched page as memory
LONGEST = 1 << 16  # bytes of the longest word
HEADER = re.compile(rb"(\d+)[ \t](\d+)\s*")
# Bytes that text never holds and a few float32 always do.
CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


def read_rows(path: Path, dim: int, wanted: Container[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
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
    with _open(path) as file:
        first = file.readline(CHUNK)
        fields = first.split()
        header = HEADER.fullmatch(first)
        if first.startswith(saved.MAGIC):
            file.seek(0)
            yield from saved.read_rows(file, path, dim, wanted)
        elif header:
            count = int(header[1])
            check_dim(path, int(header[2]), dim)
            is_binary = CONTROL.search(file.read(1 << 12))
            file.seek(len(first))
            if is_binary:
                yield from _read_binary(file, path, count, dim, wanted)
            else:
                yield from _read_text(file, path, 2, dim, wanted, count)
        elif len(fields) > 1 and not CONTROL.search(first) and _is_number(fields[-1]):
            check_dim(path, len(fields) - 1, dim)
            file.seek(0)
            yield from _read_text(file, path, 1, dim, wanted)
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
def _open(path: Path) -> Iterator[io.BufferedIOBase]:
    """Opens a file, unpacked when it is a gzip, and says in one line why it cannot be read."""
    try:
        with path.open("rb") as plain:
            is_gzip = plain.read(2) == b"\x1f\x8b"
        with gzip.GzipFile(path) if is_gzip else path.open("rb") as file:
            yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"the word vectors in {path} are cut off or damaged ({error}): fetch the file again"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot read the word vectors in {path} (embedding.path): {error.strerror}"
        ) from error


def _read_binary(
    file: io.BufferedIOBase, path: Path, count: int, dim: int, wanted: Container[bytes]
) -> Iterator[tuple[bytes, np.ndarray]]:
    """Reads word2vec's binary format after its header: words, each with a space and E float32."""
    size = 4 * dim
    buffer = b""  # what was read and is not used up from `start` on
    start = 0
    for number in range(1, count + 1):
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) <= space + size:
            if space < 0 and len(buffer) - start > LONGEST:
                raise UserError(
                    f"word {number:,} of {count:,} in {path} has no end: fetch the file again"
                )
            more = _read_more(file)
            if not more:
                place = f"at byte {file.tell():,} in word {number:,} of {count:,}"
                raise UserError(
                    f"the word vectors in {path} are cut off {place}: fetch the file again"
                )
            buffer = buffer[start:] + more
            start = 0
        word = buffer[start:space].lstrip(b"\n")  # some writers end each vector with a newline
        start = space + 1 + size
        if word in wanted:
            yield word, np.frombuffer(buffer, "<f4", dim, space + 1)
    if buffer[start:].strip() or _read_more(file).strip():
        raise UserError(
            f"{path} goes on after its {count:,} words: its header is wrong or it is damaged"
        )


def _read_more(file: io.BufferedIOBase) -> bytes:
    """Reads on; a gzip that was cut off ends as any other file, so that its last word is named."""
    try:
        return file.read1(CHUNK)
    except EOFError:
        return b""


def _read_text(
    file: io.BufferedIOBase,
    path: Path,
    first: int,
    dim: int,
    wanted: Container[bytes],
    count: int | None = None,
) -> Iterator[tuple[bytes, np.ndarray]]:
    """Reads rows of text, each a word and E numbers.

    Args:
      file: the open file, at its first row of vectors.
      path: its name.
      first: the number of that row, for messages.
      dim: E.
      wanted: the words to keep.
      count: how many words a header announces; None without a header.
    """
    number = first - 1
    longest = LONGEST + 64 * dim  # bytes; a file without line ends is not read into memory
    try:
        while line := file.readline(longest):
            number += 1
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
                    yield word, _parse_vector(numbers, number, path)
    except EOFError as error:
        raise UserError(
            f"the word vectors in {path} are cut off after row {number:,}: fetch the file again"
        ) from error
    if count is not None and number - first + 1 != count:
        raise UserError(
            f"{path} has {number - first + 1:,} words, its header says {count:,}: fetch the file "
            "again"
        )


def _parse_vector(numbers: list[bytes], row: int, path: Path) -> np.ndarray:
    """Returns the numbers of one row of text as float32 [E]."""
    for number in numbers:
        if not _is_number(number):
            raise UserError(
                f"row {row:,} of {path}: {number.decode(errors='replace')!r} is not a number"
            )
    with np.errstate(over="ignore"):  # the whole matrix is checked for what became infinite
        return np.array([float(number) for number in numbers], np.float32)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
