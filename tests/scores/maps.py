"""Attention maps whose measures are known."""

import numpy as np

GRID = (7, 7)


def even(count):
    return np.full((count, 49), 1 / 49)


def spot(row, column):
    maps = np.zeros((1, *GRID))
    maps[0, row, column] = 1
    return maps.reshape(1, 49)


def random_maps(count, seed):
    return np.random.default_rng(seed).dirichlet(np.full(49, 0.3), count)
