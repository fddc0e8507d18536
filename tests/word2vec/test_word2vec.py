import gzip
import io
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxcap import text, word2vec
from jaxcap.errors import UserError
from jaxcap.text import PAD, Vocabulary
from jaxcap.word2vec import formats
from tests import pickles

DIM = 20
WORDS = ["dog", "Cat", "USA", "Dog", "café", "DOG", "</s>", "New_York", "runs"]


@pytest.fixture
def vocabulary():
    return Vocabulary.build(
        {"dog": 9, "cat": 5, "usa": 3, "café": 2, "runs": 2, "zebra": 1, "of": 7}
    )


@pytest.fixture
def vectors():
    return np.random.default_rng(1).normal(size=(len(WORDS), DIM)).astype(np.float32)  # [V, E]


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


@pytest.mark.parametrize("order", [[0, 3, 5], [5, 3, 0], [3, 0, 5]])
def test_the_exact_spelling_wins_then_capitalised_then_upper_whatever_their_order(
    tmp_path, vectors, order
):
    vocabulary = Vocabulary.build({"dog": 1})
    for best in ("dog", "Dog", "DOG"):
        content = binary([WORDS[i] for i in order], vectors[order])
        loaded = word2vec.load(written(tmp_path, content), vocabulary, dim=DIM, seed=0)
        np.testing.assert_array_equal(loaded.matrix[4], vectors[WORDS.index(best)])
        order = [i for i in order if WORDS[i] != best]


def test_of_a_repeated_word_the_first_wins(tmp_path, vectors):
    content = binary(["cat", "dog", "dog"], vectors[:3])
    loaded = word2vec.load(
        written(tmp_path, content), Vocabulary.build({"dog": 1}), dim=DIM, seed=0
    )
    np.testing.assert_array_equal(loaded.matrix[4], vectors[1])


def test_a_text_word_with_a_space_inside_is_not_taken_for_its_first_part(tmp_path, vectors):
    content = rows_of_text(["cat", "dog food", "dog"], vectors[:3])
    loaded = word2vec.load(
        written(tmp_path, content), Vocabulary.build({"dog": 1}), dim=DIM, seed=0
    )
    np.testing.assert_array_equal(loaded.matrix[4], vectors[2])


def test_words_not_found_are_random_at_the_scale_of_the_found_ones_and_padding_is_zero(tmp_path):
    known, missing = [f"known{i}" for i in range(2000)], [f"missing{i}" for i in range(4000)]
    vocabulary = Vocabulary.build(dict.fromkeys(known + missing, 1))
    scale = np.linspace(0.1, 2, DIM)
    vectors = (np.random.default_rng(0).normal(size=(2000, DIM)) * scale + scale).astype(np.float32)
    path = written(tmp_path, binary(known, vectors))
    first, again, other = (
        word2vec.load(path, vocabulary, dim=DIM, seed=seed) for seed in (3, 3, 4)
    )
    random = first.matrix[~first.found][1:]  # [4003, E], without <pad>
    np.testing.assert_allclose(random.mean(0), vectors.mean(0), atol=5 * 2 / 4003**0.5)
    np.testing.assert_allclose(random.std(0), vectors.std(0), rtol=0.06)
    assert not first.matrix[PAD].any() and not first.found[:4].any()
    np.testing.assert_array_equal(first.matrix, again.matrix)
    np.testing.assert_array_equal(first.matrix[first.found], other.matrix[other.found])
    assert (first.matrix[~first.found][1:] != other.matrix[~other.found][1:]).mean() > 0.99


def test_coverage_counts_words_and_occurrences_and_names_the_frequent_words_without_a_vector(
    tmp_path, vocabulary, vectors
):
    counts = {"dog": 9, "cat": 5, "usa": 3, "café": 2, "runs": 2, "zebra": 1, "of": 7, "rare": 100}
    loaded = word2vec.load(written(tmp_path, binary(WORDS, vectors)), vocabulary, dim=DIM, seed=0)
    assert word2vec.coverage(loaded.found, vocabulary, counts) == pytest.approx((5 / 7, 21 / 29))
    line = word2vec.describe(loaded, vocabulary, counts)
    assert line.startswith("vectors: vectors for 5 of 7 words (71.4%), 72.4% of their occurrences")
    assert line.endswith("most often of, zebra")


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


class Trap:
    """What an attacker puts into a pickle: a call that runs when the file is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_a_pickle_is_ever_run(tmp_path, vocabulary):
    trap = tmp_path / "sprung"
    path = written(tmp_path, pickle.dumps(Trap(trap)))
    with pytest.raises(UserError, match="no word2vec model"):
        word2vec.load(path, vocabulary, dim=DIM, seed=0)
    assert not trap.exists()
    pickle.loads(Path(path).read_bytes())
    assert trap.exists()  # the trap was a real one


def test_no_pickle_takes_memory_or_time_that_it_does_not_hold(tmp_path):
    files = []
    for number, (name, content) in enumerate(pickles.hostile().items()):
        files.append(tmp_path / f"{number} {name}")
        files[-1].write_bytes(content)
        files.append(tmp_path / f"{number} {name}.gz")
        files[-1].write_bytes(gzip.compress(content))
    said = pickles.said_of(
        files,
        """
        from jaxcap import word2vec
        from jaxcap.text import Vocabulary
        read = lambda path: word2vec.load(path, Vocabulary.build({"dog": 1}), dim=20, seed=0)
        """,
    )
    assert len(said) == len(files)
    for path, line in zip(files, said, strict=True):
        assert str(path) in line and len(line) < 400 and "MemoryError" not in line


@pytest.mark.parametrize(
    "words", [("dog", "cat"), "dogs", {"dog": 0}, ["dog", 3], ["dog", ("a",)], 7]
)
def test_words_that_are_no_list_of_words_are_refused(tmp_path, vocabulary, vectors, words):
    content = saved_by_gensim(words, vectors[:2])
    with pytest.raises(UserError, match="is damaged, or not saved by gensim"):
        word2vec.load(written(tmp_path, content), vocabulary, dim=DIM, seed=0)


def test_half_a_character_in_a_word_does_no_harm(tmp_path, vectors):
    content = saved_by_gensim(["\ud800", "dog"], vectors[:2])
    loaded = word2vec.load(
        written(tmp_path, content), Vocabulary.build({"dog": 1}), dim=DIM, seed=0
    )
    np.testing.assert_array_equal(loaded.matrix[4], vectors[1])


@pytest.mark.parametrize(
    "beside",
    [np.array(["a", "b"]), np.zeros(2, [("x", "f4", (DIM,))]), np.zeros((2, DIM), "M8[s]"), None],
)
def test_what_is_no_array_of_numbers_beside_the_file_is_refused(
    tmp_path, vocabulary, vectors, beside
):
    path = tmp_path / "vectors.kv"
    path.write_bytes(saved_by_gensim(["dog", "cat"], None))
    with open(f"{path}.vectors.npy", "wb") as file:
        np.savez(file, vectors[:2]) if beside is None else np.save(file, beside)
    with pytest.raises(UserError, match="vectors.kv is damaged"):
        word2vec.load(str(path), vocabulary, dim=DIM, seed=0)


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


def test_numbers_too_large_for_float32_are_named_and_nothing_else_is_said(
    tmp_path, vocabulary, vectors, recwarn
):
    large = vectors[:2].astype(np.float64)
    large[0, 3] = 1e300
    for content in (saved_by_gensim(["dog", "cat"], large), rows_of_text(["dog", "cat"], large)):
        with pytest.raises(UserError, match="the vector of 'dog' .* not finite"):
            word2vec.load(written(tmp_path, content), vocabulary, dim=DIM, seed=0)
    assert not recwarn.list


@pytest.fixture
def keyed(vectors):
    keyedvectors = pytest.importorskip("gensim.models.keyedvectors")
    keyed = keyedvectors.KeyedVectors(DIM)
    keyed.add_vectors(WORDS, vectors)
    return keyed


@pytest.mark.parametrize("limit", [10 * 1024**2, 1], ids=["in one file", "array beside it"])
def test_vectors_saved_by_gensim_give_the_same_bits_and_a_trap_among_them_stays_shut(
    tmp_path, vocabulary, vectors, keyed, limit
):
    keyed.note = Trap(tmp_path / "sprung")
    path = tmp_path / "vectors.kv"
    keyed.save(str(path), sep_limit=limit)
    assert (tmp_path / "vectors.kv.vectors.npy").exists() == (limit == 1)
    check(word2vec.load(str(path), vocabulary, dim=DIM, seed=0), vocabulary, vectors)
    assert not (tmp_path / "sprung").exists()
    with pytest.raises(UserError, match="embedding.dim is 12"):
        word2vec.load(str(path), vocabulary, dim=12, seed=0)


def test_what_gensim_writes_for_others_is_read_as_well(tmp_path, vocabulary, vectors, keyed):
    for name, is_binary in (
        ("v.bin", True),
        ("v.bin.gz", True),
        ("v.txt", False),
        ("v.txt.gz", False),
    ):
        keyed.save_word2vec_format(str(tmp_path / name), binary=is_binary)
        check(word2vec.load(str(tmp_path / name), vocabulary, dim=DIM, seed=0), vocabulary, vectors)


@pytest.mark.parametrize("limit", [10 * 1024**2, 1], ids=["in one file", "arrays beside it"])
def test_a_whole_gensim_model_gives_its_vectors(tmp_path, limit):
    models = pytest.importorskip("gensim.models")
    model = models.Word2Vec(
        [["dog", "runs"], ["cat", "runs"]] * 20, vector_size=DIM, min_count=1, workers=1
    )
    model.save(str(tmp_path / "model"), sep_limit=limit)
    vocabulary = Vocabulary.build({"dog": 1, "cat": 1, "runs": 1})
    loaded = word2vec.load(str(tmp_path / "model"), vocabulary, dim=DIM, seed=0)
    np.testing.assert_array_equal(
        loaded.matrix[4:], [model.wv[word] for word in vocabulary.words[4:]]
    )


def test_damaged_or_vectorless_gensim_files_are_refused(tmp_path, vocabulary, keyed):
    path = tmp_path / "vectors.kv"
    keyed.save(str(path), sep_limit=1)
    array = tmp_path / "vectors.kv.vectors.npy"
    whole = array.read_bytes()
    for change, message in (
        (lambda: array.write_bytes(whole[:-100]), "is damaged"),
        (lambda: array.unlink(), "vectors.npy is missing"),
        (lambda: path.write_bytes(path.read_bytes()[:200]), "damaged"),
    ):
        change()
        with pytest.raises(UserError, match=message):
            word2vec.load(str(path), vocabulary, dim=DIM, seed=0)
    model = pytest.importorskip("gensim.models").FastText(vector_size=DIM, min_count=1, bucket=10)
    model.build_vocab([["dog"]])
    model.save(str(tmp_path / "fasttext"))
    with pytest.raises(UserError, match="fastText"):
        word2vec.load(str(tmp_path / "fasttext"), vocabulary, dim=DIM, seed=0)


TRAINING = """
import hashlib, sys
from jaxcap import word2vec
from jaxcap.text import Vocabulary, count_words
captions = [f"a {c} {s} is left of a {c} box".split() for c in ("red", "blue") for s in ("dog", "cat", "cup")] * 40
vectors = word2vec.train_vectors(captions, Vocabulary.build(count_words(captions)), dim=24, seed=int(sys.argv[1]))
print(hashlib.sha256(vectors.matrix.tobytes()).hexdigest())
"""


def test_training_repeats_bit_for_bit_in_another_process_and_differs_by_seed():
    pytest.importorskip("gensim")

    def digest(seed, hash_seed):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        return subprocess.check_output([sys.executable, "-c", TRAINING, seed], env=environment)

    assert digest("0", "1") == digest("0", "2") != digest("1", "1")


def test_trained_vectors_cover_the_captions_words_and_the_marks_around_them():
    pytest.importorskip("gensim")
    captions = [["a", "dog"], ["a", "cat", "zebra"]] * 10
    vocabulary = Vocabulary.build({"a": 20, "dog": 10, "cat": 10, "ghost": 1})
    vectors = word2vec.train_vectors(captions, vocabulary, dim=DIM, seed=0)
    without = {
        word for word, found in zip(vocabulary.words, vectors.found, strict=True) if not found
    }
    assert without == {"<pad>", "ghost"}
    assert not vectors.matrix[PAD].any() and vectors.matrix[1:].any(axis=1).all()
    with pytest.raises(UserError, match="no captions"):
        word2vec.train_vectors([], vocabulary, dim=DIM, seed=0)


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


@pytest.fixture(scope="module")
def real():
    """The Google News vectors, and the counts of Flickr30k's caption words."""
    if not os.environ.get("JAXCAP_DATA"):
        pytest.skip("JAXCAP_DATA is not set")
    root = Path(os.environ["JAXCAP_DATA"])
    lines = (root / "flickr30k" / "results.csv").read_text(encoding="utf-8").split("\n")[1:]
    counts = text.count_words(
        text.split_words(line.split("|")[2]) for line in lines if line.count("|") == 2
    )
    return str(root / "word2vec" / "GoogleNews-8000x300.bin"), counts


@pytest.mark.real_data
def test_google_news_covers_most_of_what_flickr30k_says(real):
    """5,054 words stand there as they are; "a" is among the further ones that are found
    capitalised.
    """
    path, counts = real
    vocabulary = Vocabulary.build(counts)
    loaded = word2vec.load(path, vocabulary, dim=300, seed=0)
    by_word, by_occurrence = word2vec.coverage(loaded.found, vocabulary, counts)
    assert (by_word, by_occurrence) == pytest.approx((5394 / 20269, 0.8567), abs=1e-4)
    assert loaded.found[vocabulary.index("a")] and not loaded.found[vocabulary.index("of")]


@pytest.mark.real_data
def test_google_news_is_read_bit_for_bit_as_gensim_reads_it(real):
    path, counts = real
    keyed = pytest.importorskip("gensim.models").KeyedVectors.load_word2vec_format(
        path, binary=True
    )
    vocabulary = Vocabulary.build(counts)
    loaded = word2vec.load(path, vocabulary, dim=300, seed=0)
    found = Counter()
    for word, vector, is_found in zip(
        vocabulary.words[4:], loaded.matrix[4:], loaded.found[4:], strict=True
    ):
        form = next(
            (form for form in (word, word.capitalize(), word.upper()) if form in keyed), None
        )
        assert is_found == (form is not None)
        if form is not None:
            assert vector.tobytes() == keyed[form].tobytes()
            found["exact" if form == word else "other"] += 1
    assert found == {"exact": 5054, "other": 340}
