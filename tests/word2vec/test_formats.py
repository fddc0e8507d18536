"""Files of word vectors: every format, damage, and the memory that reading takes."""

import gzip
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxcap import word2vec
from jaxcap.errors import UserError
from jaxcap.text import Vocabulary
from jaxcap.word2vec import formats
from tests.word2vec.vector_files import DIM, WORDS, binary, check, rows_of_text, written


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    "kind", ["binary", "binary without newlines", "text", "trailing spaces", "CRLF", "GloVe"]
)
def test_every_format_gives_the_same_bits(tmp_path, vocabulary, vectors, kind, packed):
    header = f"{len(WORDS)} {DIM}\n".encode()
    content = {
        "binary": binary(WORDS, vectors),
        "binary without newlines": binary(WORDS, vectors, b""),
        "text": header + rows_of_text(WORDS, vectors),
        "trailing spaces": header + rows_of_text(WORDS, vectors, " \n"),
        "CRLF": header + rows_of_text(WORDS, vectors, "\r\n"),
        "GloVe": rows_of_text(WORDS, vectors),
    }[kind]
    path = written(tmp_path, gzip.compress(content) if packed else content)
    check(word2vec.load(path, vocabulary, dim=DIM, seed=0), vocabulary, vectors)


@pytest.mark.parametrize("chunk", [1, 7, 64, 4 * DIM + 5])
def test_words_that_straddle_two_reads_are_whole(tmp_path, vocabulary, vectors, chunk, monkeypatch):
    path = written(tmp_path, binary(WORDS, vectors))
    read = word2vec.load(path, vocabulary, dim=DIM, seed=0)
    monkeypatch.setattr(formats, "_read_more", lambda file: file.read1(chunk))
    np.testing.assert_array_equal(
        word2vec.load(path, vocabulary, dim=DIM, seed=0).matrix, read.matrix
    )


def test_a_text_word_with_a_space_inside_is_not_taken_for_its_first_part(tmp_path, vectors):
    content = rows_of_text(["cat", "dog food", "dog"], vectors[:3])
    loaded = word2vec.load(
        written(tmp_path, content), Vocabulary.build({"dog": 1}), dim=DIM, seed=0
    )
    np.testing.assert_array_equal(loaded.matrix[4], vectors[2])


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("place", [85, 90, 300, -2])
def test_a_binary_file_cut_off_names_the_word_and_the_byte(
    tmp_path, vocabulary, vectors, place, packed
):
    content = binary(WORDS, vectors)[:place]
    starts = [len(binary(WORDS[:i], vectors[:i])) for i in range(len(WORDS))]
    path = written(tmp_path, gzip.compress(content) if packed else content)
    number = sum(start <= len(content) for start in starts)
    with pytest.raises(
        UserError, match=f"cut off at byte {len(content)} in word {number} of 9"
    ) as caught:
        word2vec.load(path, vocabulary, dim=DIM, seed=0)
    assert path in str(caught.value)


@pytest.mark.parametrize("kind", ["binary", "text", "GloVe"])
def test_a_gzip_cut_off_is_refused(tmp_path, vocabulary, vectors, kind):
    text_rows = rows_of_text(WORDS, vectors)
    content = {"binary": binary(WORDS, vectors), "text": b"9 20\n" + text_rows, "GloVe": text_rows}[
        kind
    ]
    packed = gzip.compress(content)
    for place in (len(packed) - 4, len(packed) // 2, 5):
        with pytest.raises(UserError, match="cut off") as caught:
            word2vec.load(written(tmp_path, packed[:place]), vocabulary, dim=DIM, seed=0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w, v: binary(w, v) + b"more", "goes on after its 9 words"),
        (
            lambda w, v: binary(w, v[:, :12]),
            "holds vectors of 12 numbers, embedding.dim is 20: set embedding.dim=12",
        ),
        (
            lambda w, v: rows_of_text(w, v[:, :12]),
            "holds vectors of 12 numbers, embedding.dim is 20",
        ),
        (
            lambda w, v: b"9 12\n" + rows_of_text(w, v[:, :12]),
            "holds vectors of 12 numbers, embedding.dim is 20",
        ),
        (
            lambda w, v: binary(w, np.where(v == v[2, 3], np.nan, v)),
            "vector of 'usa' .* not finite",
        ),
        (lambda w, v: binary(w, v)[:8], "row 2 of .* it is cut off"),
        (lambda w, v: binary(w, v)[:5], "has 0 words, its header says 9"),
        (lambda w, v: rows_of_text(w, v)[:-200], "row 9 of .* has fewer than 20 numbers"),
        (lambda w, v: b"10 20\n" + rows_of_text(w, v), "has 9 words, its header says 10"),
        (lambda w, v: b"9 20\n\x00" + bytes(2**20), "word 1 of 9 in .* has no end"),
        (lambda w, v: b"9 20\n" + b"1" * 2**20, "row 2 of .* is too long for 20 numbers"),
        (
            lambda w, v: rows_of_text(w, v) + b"1 " * 2**20,
            "row 10 of .* is too long for 20 numbers",
        ),
        (lambda w, v: binary(["one", "two"], v[:2]), "has none of the 7 words"),
        (lambda w, v: b"<!DOCTYPE html><html lang=en>\n", "no file of word vectors"),
        (lambda w, v: b"PK\x03\x04 a zip 3\n", "no file of word vectors"),
        (lambda w, v: b"", "no file of word vectors"),
        (lambda w, v: b"\x80\x04 no pickle", "damaged, or not saved by gensim"),
        (lambda w, v: pickle.dumps({"dog": 1}), "no word2vec model of gensim 4"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, vocabulary, vectors, change, message):
    path = written(tmp_path, change(WORDS, vectors))
    with pytest.raises(UserError, match=message) as caught:
        word2vec.load(path, vocabulary, dim=DIM, seed=0)
    assert "\n" not in str(caught.value) and path in str(caught.value)


def test_a_bad_number_is_shown_with_its_row(tmp_path, vocabulary, vectors):
    content = re.sub(rb"\nUSA \S+", b"\nUSA 1.2.3", rows_of_text(WORDS, vectors))
    for header, row in ((b"", 3), (b"9 20\n", 4)):
        with pytest.raises(UserError, match=f"row {row} of .*: '1.2.3' is not a number"):
            word2vec.load(written(tmp_path, header + content), vocabulary, dim=DIM, seed=0)


def test_a_missing_file_a_folder_and_no_path_at_all_are_refused(tmp_path, vocabulary):
    for path, message in (
        (tmp_path / "no.bin", "No such file"),
        (tmp_path, "directory"),
        ("", "set embedding.path"),
    ):
        with pytest.raises(UserError, match=message):
            word2vec.load(str(path), vocabulary, dim=DIM, seed=0)


MEASURING = """
import sys
from jaxcap import word2vec
from jaxcap.text import Vocabulary
vocabulary = Vocabulary.build({f"word{i}": 1 for i in range(20000)})
found = word2vec.load(sys.argv[1], vocabulary, dim=300, seed=0).found.sum()
print(found, *(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_reading_a_large_file_takes_memory_for_the_wanted_words_only(tmp_path, packed):
    """A file of 480 MB is read within 160 MB, of which Python, numpy and the matrix with its
    filling take 100.
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak memory of a process is read from /proc")
    path = tmp_path / "large.bin"
    block = [
        row.tobytes()
        for row in np.random.default_rng(0).normal(size=(1000, 300)).astype(np.float32)
    ]
    count = 100_000 if packed else 400_000
    with gzip.open(path, "wb", compresslevel=1) if packed else open(path, "wb") as file:
        file.write(f"{count} 300\n".encode())
        for start in range(0, count, 1000):
            file.write(b"".join(b"word%d " % (start + i) + row for i, row in enumerate(block)))
    found, peak = map(int, subprocess.check_output([sys.executable, "-c", MEASURING, path]).split())
    assert found == 20_000
    assert peak < 160_000  # kB
