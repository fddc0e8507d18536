"""The matrix of a vocabulary's vectors: spellings, missing words, training."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxcap import text, word2vec
from jaxcap.errors import UserError
from jaxcap.text import PAD, Vocabulary
from tests.word2vec.vector_files import DIM, WORDS, binary, rows_of_text, saved_by_gensim, written


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


def test_words_not_found_are_random_at_the_scale_of_the_found_ones_and_padding_is_zero(tmp_path):
    known = [f"known{i}" for i in range(2000)]
    missing = [f"missing{i}" for i in range(4000)]
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
    coverage = word2vec.measure_coverage(loaded, vocabulary, counts)
    assert (coverage.found, coverage.words) == (5, 7)
    assert (coverage.by_word, coverage.by_occurrence) == pytest.approx((5 / 7, 21 / 29))
    line = word2vec.describe(coverage)
    assert line.startswith("vectors: vectors for 5 of 7 words (71.4%), 72.4% of their occurrences")
    assert line.endswith("most often of, zebra")


def test_numbers_too_large_for_float32_are_named_and_nothing_else_is_said(
    tmp_path, vocabulary, vectors, recwarn
):
    large = vectors[:2].astype(np.float64)
    large[0, 3] = 1e300
    for content in (saved_by_gensim(["dog", "cat"], large), rows_of_text(["dog", "cat"], large)):
        with pytest.raises(UserError, match="the vector of 'dog' .* not finite"):
            word2vec.load(written(tmp_path, content), vocabulary, dim=DIM, seed=0)
    assert not recwarn.list


TRAINING = """
import hashlib, sys
from jaxcap import word2vec
from jaxcap.text import Vocabulary, count_words
captions = []
for colour in ("red", "blue"):
    for thing in ("dog", "cat", "cup"):
        captions.append(f"a {colour} {thing} is left of a {colour} box".split())
captions *= 40
vocabulary = Vocabulary.build(count_words(captions))
vectors = word2vec.train_vectors(captions, vocabulary, dim=24, seed=int(sys.argv[1]))
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
    coverage = word2vec.measure_coverage(loaded, vocabulary, counts)
    assert coverage.by_word == pytest.approx(5394 / 20269, abs=1e-4)
    assert coverage.by_occurrence == pytest.approx(0.8567, abs=1e-4)
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
