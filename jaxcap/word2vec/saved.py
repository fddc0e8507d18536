"""Word vectors saved by gensim (`KeyedVectors.save`, `Word2Vec.save`), read without running them.

gensim's files are pickles, and gensim's own `load` lets them call any function. The unpickler here
puts an inert shell in the place of every class and function that the file names, which keeps what
it is given and does nothing; words and vectors are then taken out of the shells. An array that
gensim stored beside the file (NAME.vectors.npy, NAME.wv.vectors.npy) is mapped with pickles
forbidden.
"""

import io
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxcap.errors import UserError
from jaxcap.io import unpickling

MAGIC = b"\x80"  # how a pickle of protocol 2 or later begins


class _Shell:
    """Stands for whatever the file names; it only keeps its arguments and its state."""

    __slots__ = ("arguments", "state")
    arguments: tuple
    state: Any

    # In __new__, for a pickle may make an object without calling __init__.
    def __new__(cls, *arguments: Any) -> "_Shell":
        shell = super().__new__(cls)
        shell.arguments = arguments
        shell.state = None
        return shell

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Shells(unpickling.Unpickler):
    """An unpickler that makes plain Python values and shells, and imports nothing."""

    def find_class(self, module: str, name: str) -> type[_Shell]:
        return _Shell


def read_rows(
    file: io.BufferedIOBase, path: Path, dim: int, wanted: Container[bytes]
) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yields each wanted word of a file saved by gensim 4 with its vector.

    Args:
      file: the open file.
      path: its name, which leads to the array beside it.
      dim: E, the length that the vectors must have.
      wanted: the words to keep, in UTF-8.

    Yields:
      A word and its vector, float32 [E].

    Raises:
      UserError: the file is damaged, holds no vectors, or vectors of another E.
    """
    try:
        saved = _Shells(file).load()
        words, vectors = _words_and_vectors(saved, path)
        _check_words(words)
    except (EOFError, OSError, UserError):
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(
            f"{path} is damaged, or not saved by gensim ({type(error).__name__}: {error})"
        ) from error
    if vectors.shape != (len(words), dim):
        found = " x ".join(map(str, vectors.shape))
        raise UserError(
            f"{path} holds {found} numbers for {len(words)} words, embedding.dim is {dim}: they "
            "must agree"
        )
    for word, vector in zip(words, vectors, strict=True):
        name = word.encode(errors="surrogatepass")
        if name in wanted:
            with np.errstate(over="ignore"):  # the whole matrix is checked for what became infinite
                array = np.asarray(vector, np.float32)
            yield name, array


def _words_and_vectors(saved: Any, path: Path) -> tuple[list[str], np.ndarray]:
    """Returns the words and vectors [V, E] of a KeyedVectors, or of the one in a Word2Vec model."""
    attributes = getattr(saved, "state", None)
    beside = Path(f"{path}.vectors.npy")
    if isinstance(attributes, dict) and "wv" in attributes:
        attributes = attributes["wv"].state
        beside = Path(f"{path}.wv.vectors.npy")
    if not isinstance(attributes, dict) or "index_to_key" not in attributes:
        raise UserError(
            f"{path} is no word2vec model of gensim 4: write its vectors with save_word2vec_format"
        )
    if "vectors" in attributes:
        return attributes["index_to_key"], _unpack_array(attributes["vectors"])
    if "vectors" not in attributes.get("__numpys", ()):
        raise UserError(
            f"{path} stores no vectors by word (fastText?): write them with save_word2vec_format"
        )
    if not beside.exists():
        raise UserError(
            f"{beside} is missing: gensim saved the vectors of {path.name} there; copy it along"
        )
    # Neither a pickle nor an archive of arrays: numpy.load would open those as well.
    vectors = np.lib.format.open_memmap(beside, mode="r")
    return attributes["index_to_key"], _check_numbers(vectors)


def _unpack_array(shell: _Shell) -> np.ndarray:
    """Returns the array of numbers that `shell` holds in numpy's pickled form."""
    _, shape, kind, fortran, data = shell.state
    dtype = np.dtype(kind.state[1] + kind.arguments[0])
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return _check_numbers(array)


def _check_numbers(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"an array of {array.dtype}")
    return array


def _check_words(words: Any) -> None:
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("its words are no list of words")
