"""Files saved by gensim, read without running them."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from jaxcap import word2vec
from jaxcap.errors import UserError
from jaxcap.text import Vocabulary
from tests import pickles
from tests.word2vec.vector_files import DIM, WORDS, check, saved_by_gensim, written


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
