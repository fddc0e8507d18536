"""A photo of noise and attention on one region, for the tests of pictures."""

import numpy as np

GRID = (7, 7)
WORDS = ["a", "dog", "runs"]


def photo(height=60, width=90, seed=0):
    return np.random.default_rng(seed).integers(60, 200, (height, width, 3), np.uint8)


def on_region(region, regions=49, words=3):
    """Attention that lies on one region for each word. [T, L]"""
    attention = np.zeros((words, regions), np.float32)
    attention[:, region] = 1
    return attention
