"""Word vectors in, one matrix [V, E] in the vocabulary's order out."""

from jaxcap.word2vec.coverage import Coverage, describe, measure_coverage
from jaxcap.word2vec.matrix import WordVectors, load, train_vectors

__all__ = [
    "Coverage",
    "WordVectors",
    "describe",
    "load",
    "measure_coverage",
    "train_vectors",
]
