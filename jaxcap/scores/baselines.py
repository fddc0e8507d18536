"""Image-agnostic baselines: captions that use little or nothing of the photo.

What they score is the floor from which a captioner's scores are to be read.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

_MIN_NORM = 1e-12  # a photo without features is like no other, and nothing is divided by 0


def most_common_caption(captions: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Returns the words of the most frequent caption; of equals, the first in the alphabet."""
    counts = Counter(map(tuple, captions))
    return min(counts, key=lambda words: (-counts[words], words))


def derange(images: int, seed: int = 0) -> np.ndarray:
    """Draws a permutation of two or more images in which no image keeps its place.

    Args:
      images: how many.
      seed: of the draw.

    Returns:
      For each image, the index of the image whose caption it gets. int [images]
    """
    order = np.random.default_rng(seed).permutation(images)
    given = np.empty(images, np.int64)
    # Along one random cycle each image gets its predecessor's caption.
    given[order] = np.roll(order, 1)
    return given


def find_nearest(features: np.ndarray, training: np.ndarray, *, block: int = 1024) -> np.ndarray:
    """Finds the training photo nearest to each photo, by the cosine of their mean features.

    Args:
      features: the mean over the regions of each photo's features. [N, D]
      training: the same of the training photos. [M, D]
      block: how many photos are compared at a time, which bounds the memory.

    Returns:
      The row of the nearest training photo. int [N]
    """
    training = _normalize(training)
    rows = [np.zeros(0, np.int64)]
    for start in range(0, len(features), block):
        cosines = _normalize(features[start : start + block]) @ training.T  # [block, M]
        rows.append(np.argmax(cosines, axis=1))
    return np.concatenate(rows)


def _normalize(vectors: np.ndarray) -> np.ndarray:
    """Scales each row to length 1. [N, D]"""
    vectors = np.asarray(vectors, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _MIN_NORM)
