"""The matrix [V, E] of word vectors for a vocabulary: from a file, or trained on the captions."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcap.errors import UserError
from jaxcap.io.digests import digest_bytes
from jaxcap.text import END, PAD, SPECIALS, START, Vocabulary
from jaxcap.word2vec import formats


@dataclasses.dataclass(frozen=True)
class WordVectors:
    """One vector for each word of a vocabulary.

    Attributes:
      matrix: float32 [V, E]; the row of <pad> is zero.
      found: bool [V]; False where the source had no vector and a random one stands instead.
      source: where the vectors come from, in a few words.
    """

    matrix: np.ndarray
    found: np.ndarray
    source: str

    @property
    def fingerprint(self) -> str:
        """The digest of what the source gave: which words have a vector, and these vectors."""
        return digest_bytes(np.packbits(self.found).tobytes() + self.matrix[self.found].tobytes())

    def redraw(self, seed: int) -> "WordVectors":
        """Returns what `load` gives with another seed: other vectors where none was found."""
        matrix = _fill_missing(self.matrix.copy(), self.found, seed)
        return dataclasses.replace(self, matrix=matrix)


def load(path: str, vocabulary: Vocabulary, *, dim: int, seed: int) -> WordVectors:
    """Reads the vectors of a vocabulary's words from a file of any known format (see `formats`).

    A word is looked for as it stands, then Capitalised, then in UPPER CASE; the first of these that
    the file has gives the vector, wherever it stands in the file, and of a repeated word the first.
    A word that the file lacks gets a random vector with the mean and deviation that the found ones
    have in each dimension.

    Args:
      path: the file.
      vocabulary: the V words.
      dim: E; must equal the file's.
      seed: of the random vectors.

    Returns:
      The vectors, with the words that were found.

    Raises:
      UserError: the file is missing, cut off, damaged, of another E, no file of vectors, or has
        none of the words.
    """
    if not path:
        raise UserError(
            "no file of word vectors is given: set embedding.path, or embedding.kind=random"
        )
    file = Path(path).expanduser()
    forms = _spellings(vocabulary)
    matrix = np.zeros((len(vocabulary), dim), np.float32)  # [V, E]
    # Rank of the form found so far: 0 as it stands, 1 Capitalised, 2 UPPER, 3 none.
    best = np.full(len(vocabulary), 3)
    for form, vector in formats.read_rows(file, dim, forms):
        for index, rank in forms[form]:
            if rank < best[index]:
                matrix[index] = vector
                best[index] = rank
    found = best < 3
    if not found.any():
        raise UserError(
            f"{file} has none of the {len(vocabulary) - len(SPECIALS):,} words of the captions"
        )
    if not np.isfinite(matrix).all():
        word = vocabulary.words[int(np.argmin(np.isfinite(matrix).all(axis=1)))]
        raise UserError(
            f"the vector of {word!r} in {file} holds numbers that are not finite: fetch the file "
            "again"
        )
    return WordVectors(_fill_missing(matrix, found, seed), found, file.name)


def train_vectors(
    captions: Sequence[Sequence[str]], vocabulary: Vocabulary, *, dim: int, seed: int
) -> WordVectors:
    """Trains word vectors on the captions with gensim's CBOW (Mikolov et al. 2013, 1301.3781).

    The captions are read as the decoder reads them: between <start> and <end>, with <unk> for
    unknown words, so that these have vectors too. One thread and a seed: the same call gives the
    same bits.

    Args:
      captions: the words of each training caption.
      vocabulary: the V words.
      dim: E.
      seed: of gensim's initial vectors and samples, and of the vectors of words that no caption
        holds.

    Returns:
      The vectors, with the words that the captions hold.

    Raises:
      UserError: there are no captions.
    """
    from gensim.models import Word2Vec  # takes a second, so only when it is asked for

    if not captions:
        raise UserError("there are no captions to train word vectors on")
    sentences = []
    for words in captions:
        known = [vocabulary.words[vocabulary.index(word)] for word in words]
        sentences.append([SPECIALS[START], *known, SPECIALS[END]])
    trained = Word2Vec(sentences, vector_size=dim, min_count=1, workers=1, seed=seed).wv
    matrix = np.zeros((len(vocabulary), dim), np.float32)  # [V, E]
    found = np.array([word in trained for word in vocabulary.words])
    matrix[found] = [trained[word] for word in vocabulary.words if word in trained]
    source = f"trained on {len(captions):,} captions"
    return WordVectors(_fill_missing(matrix, found, seed), found, source)


def _spellings(vocabulary: Vocabulary) -> dict[bytes, list[tuple[int, int]]]:
    """Returns the spellings to look for, each with the (index, rank) of the words it may serve."""
    forms: dict[bytes, list[tuple[int, int]]] = {}
    for index, word in enumerate(vocabulary.words[len(SPECIALS) :], len(SPECIALS)):
        for rank, form in enumerate((word, word.capitalize(), word.upper())):
            forms.setdefault(form.encode(), []).append((index, rank))
    return forms


def _fill_missing(matrix: np.ndarray, found: np.ndarray, seed: int) -> np.ndarray:
    """Fills the rows of `matrix` [V, E] not in `found` with random ones of like mean and spread."""
    known = matrix[found]
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((int((~found).sum()), matrix.shape[1]), np.float32)
    matrix[~found] = known.mean(axis=0) + known.std(axis=0) * noise
    matrix[PAD] = 0
    return matrix
