"""Files of word vectors in every format, for the tests."""

import io
import pickle
from pathlib import Path

import numpy as np

DIM = 20


WORDS = ["dog", "Cat", "USA", "Dog", "café", "DOG", "</s>", "New_York", "runs"]


def binary(words, vectors, newline=b"\n"):
    header = f"{len(words)} {vectors.shape[1]}\n".encode()
    return header + b"".join(
        w.encode() + b" " + v.tobytes() + newline for w, v in zip(words, vectors, strict=True)
    )


def rows_of_text(words, vectors, end="\n"):
    return "".join(
        f"{w} {' '.join(map(repr, v.tolist()))}{end}" for w, v in zip(words, vectors, strict=True)
    ).encode()


def written(tmp_path, content, name="vectors"):
    path = tmp_path / name
    path.write_bytes(content)
    return str(path)


def check(loaded, vocabulary, vectors):
    """Every word has the vector of its best spelling, bit for bit."""
    expected = {"dog": 0, "cat": 1, "usa": 2, "café": 4, "runs": 8}
    assert loaded.matrix.dtype == np.float32 and loaded.matrix.shape == (len(vocabulary), DIM)
    assert {w for w, found in zip(vocabulary.words, loaded.found, strict=True) if found} == set(
        expected
    )
    for word, row in expected.items():
        np.testing.assert_array_equal(loaded.matrix[vocabulary.index(word)], vectors[row])


def saved_by_gensim(words, vectors):
    """Writes what KeyedVectors.save writes of itself that is read; without vectors, they lie in the
    file beside.
    """

    class KeyedVectors:
        pass

    saved = KeyedVectors()
    saved.__dict__ |= {"index_to_key": words} | (
        {"__numpys": ["vectors"]} if vectors is None else {"vectors": vectors}
    )
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 4)
    pickler.dispatch_table = {KeyedVectors: lambda saved: (Path, (), saved.__dict__)}
    pickler.dump(saved)
    return file.getvalue()
