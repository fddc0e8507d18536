"""Captions that no model wrote: what they score shows how much of a run's score is worth
nothing.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np


def most_common(captions: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the words of the caption that occurs most often; of equals, the first in the
    alphabet.
    """
    counts = Counter(map(tuple, captions))
    return min(counts, key=lambda words: (-counts[words], words))


def shuffled(images: int, seed: int = 0) -> np.ndarray:
    """Deals the images' captions out again, so that each of two or more images gets another's. int
    [images]
    """
    order = np.random.default_rng(seed).permutation(images)
    dealt = np.empty(images, np.int64)
    dealt[order] = np.roll(order, 1)
    return dealt


def nearest(features: np.ndarray, training: np.ndarray, *, block: int = 1024) -> np.ndarray:
    """Finds the training photo that looks most like each photo, by the cosine of their mean
    features.

    Args:
      features: the mean over the regions of each photo's features. [N, D]
      training: the same of the training photos. [M, D]
      block: how many photos are compared at a time, which bounds the memory.

    Returns:
      The row of the nearest training photo. int [N]
    """
    training = _unit(training)
    rows = [
        np.argmax(_unit(features[i : i + block]) @ training.T, axis=1)
        for i in range(0, len(features), block)
    ]
    return np.concatenate([np.zeros(0, np.int64), *rows])


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
