"""Plans: which photo, view and caption stand where in an epoch, as arrays of whole numbers.

A plan is a pure function of (seed, epoch), so any step can be made again, on any machine.
"""

from typing import NamedTuple

import numpy as np


class Plan(NamedTuple):
    """The batches of an epoch, before anything is read.

    Attributes:
      rows: [steps, B] int32, the photos.
      views: [steps, B] int32, which view of each.
      captions: [steps, B] int32, which of its captions, where one is drawn.
      real: [steps, B] bool, False where a photo only fills the last batch up.
    """

    rows: np.ndarray
    views: np.ndarray
    captions: np.ndarray
    real: np.ndarray


def plan_training(seed: int, epoch: int, captions: np.ndarray, views: int, batch_size: int) -> Plan:
    """Plans an epoch of training: every photo once, in a new order.

    Args:
      seed: of the order, of the captions and of the views.
      epoch: its number from 0.
      captions: [N] int, how many captions each photo has.
      views: how many views of each photo there are.
      batch_size: B.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(captions))
    drawn_captions = (rng.random(len(order)) * captions).astype(np.int32)
    drawn_views = rng.integers(views, size=len(order))
    rows, real = _cut(order, batch_size)
    return Plan(rows, drawn_views[rows].astype(np.int32), drawn_captions[rows], real)


def plan_pairs(seed: int, epoch: int, captions: np.ndarray, views: int, batch_size: int) -> Plan:
    """Plans an epoch of training in which every (photo, caption) pair stands once, in a new order.

    Args:
      seed: of the order and of the views.
      epoch: its number from 0.
      captions: [N] int, how many captions each photo has.
      views: how many views of each photo there are.
      batch_size: B.
    """
    rng = np.random.default_rng((seed, epoch))
    photos = np.repeat(np.arange(len(captions)), captions)  # of each pair
    numbers = np.arange(len(photos)) - np.repeat(np.cumsum(captions) - captions, captions)
    drawn_views = rng.integers(views, size=len(photos))
    pairs, real = _cut(rng.permutation(len(photos)), batch_size)
    return Plan(
        photos[pairs].astype(np.int32),
        drawn_views[pairs].astype(np.int32),
        numbers[pairs].astype(np.int32),
        real,
    )


def plan_evaluation(images: int, batch_size: int) -> Plan:
    """Plans a pass over `images` photos in their order, in the plain view."""
    rows, real = _cut(np.arange(images), batch_size)
    zeros = np.zeros_like(rows)
    return Plan(rows, zeros, zeros, real)


def count_steps(images: int, batch_size: int) -> int:
    """Returns the number of batches that hold every photo once; the last may be partly filled."""
    return -(-images // batch_size)


def _cut(order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts an order into batches; the last one is filled up with its own first photo."""
    steps = count_steps(len(order), batch_size)
    missing = steps * batch_size - len(order)
    filling = np.repeat(order[(steps - 1) * batch_size :][:1], missing)
    rows = np.concatenate([order, filling]).astype(np.int32).reshape(steps, batch_size)
    real = np.arange(steps * batch_size).reshape(steps, batch_size) < len(order)
    return rows, real
