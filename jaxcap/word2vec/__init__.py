"""Word vectors in, one matrix [V, E] in the vocabulary's order out."""

from jaxcap.word2vec.matrix import WordVectors, coverage, describe, load, train_vectors

__all__ = ["WordVectors", "coverage", "describe", "load", "train_vectors"]
