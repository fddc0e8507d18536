"""How many words of the captions have an imported vector, by word and by occurrence."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxcap.text import SPECIALS, Vocabulary
from jaxcap.word2vec.matrix import WordVectors

_MISSING = 5  # frequent words without a vector that are named


@dataclass(frozen=True)
class Coverage:
    """How many words have a vector; the specials do not count.

    Attributes:
      source: where the vectors come from, in a few words.
      words: of the vocabulary.
      found: of these, with a vector.
      by_word: the same as a fraction.
      by_occurrence: the fraction of their occurrences in the training captions.
      missing: the most frequent words without one, a few.
    """

    source: str
    words: int
    found: int
    by_word: float
    by_occurrence: float
    missing: tuple[str, ...]


def measure_coverage(
    vectors: WordVectors, vocabulary: Vocabulary, counts: Mapping[str, int]
) -> Coverage:
    """Measures how many words of a vocabulary have a vector.

    Args:
      vectors: of the vocabulary's words.
      vocabulary: the V words.
      counts: how often each word occurs in the captions.
    """
    words = vocabulary.words[len(SPECIALS) :]
    found = 0
    occurrences = 0
    covered = 0
    missing = []
    for word, has_vector in zip(words, vectors.found[len(SPECIALS) :].tolist(), strict=True):
        count = counts.get(word, 0)
        occurrences += count
        if has_vector:
            found += 1
            covered += count
        else:
            missing.append(word)
    missing.sort(key=lambda word: -counts.get(word, 0))
    return Coverage(
        source=vectors.source,
        words=len(words),
        found=found,
        by_word=found / max(len(words), 1),
        by_occurrence=covered / max(occurrences, 1),
        missing=tuple(missing[:_MISSING]),
    )


def describe(coverage: Coverage) -> str:
    """Returns a line on how many words have a vector, and which frequent ones have none."""
    line = (
        f"{coverage.source}: vectors for {coverage.found:,} of {coverage.words:,} words "
        f"({coverage.by_word:.1%}), {coverage.by_occurrence:.1%} of their occurrences"
    )
    if coverage.missing:
        line += f"; the others are random, most often {', '.join(coverage.missing)}"
    return line
