"""The health of the attention: how sharp it is, whether it moves from word to word, and whether it
finds its object.

One caption's attention is an array [T, L]: for each of its T words (<end> is none) the weights over
the L regions of a grid, row by row, with which that word was written. They sum to 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcap.scores.grounding import cells_covered, named_objects

NAMES = ("entropy", "change", "centre_bias")
GROUNDING_NAMES = tuple(
    f"{measure}{baseline}"
    for measure in ("pointing", "mass")
    for baseline in ("", "_uniform", "_centre")
)


def entropy(attention: np.ndarray) -> np.ndarray:
    """Computes how spread each map is: 0 for a single region, 1 for even attention. [..., L] to
    [...]
    """
    logarithms = np.log(attention, out=np.zeros(attention.shape), where=attention > 0)
    return -(attention * logarithms).sum(-1) / np.log(attention.shape[-1])


def change(attention: np.ndarray) -> np.ndarray:
    """Computes the part of the attention that moves from each word to the next. [..., T, L] to
    [..., T - 1]
    """
    return np.abs(np.diff(attention, axis=-2)).sum(-1) / 2


def centre_bias(attention: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Computes how much nearer to the photo's centre the attention lies than even attention does.

    Args:
      attention: maps over the regions. [..., L]
      grid: rows and columns of regions.

    Returns:
      1 when all of it is on the centre, 0 for even attention, below 0 when it keeps to the border.
      [...]
    """
    distance = _distance_from_centre(grid)  # [L]
    return 1 - (attention @ distance) / distance.mean()


def _distance_from_centre(grid: tuple[int, int]) -> np.ndarray:
    y, x = np.meshgrid(*((np.arange(cells) + 0.5) / cells - 0.5 for cells in grid), indexing="ij")
    return np.hypot(y, x).ravel()


def statistics(attentions: Sequence[np.ndarray], grid: tuple[int, int]) -> np.ndarray:
    """Sums the three measures over the words of each caption.

    Args:
      attentions: one array [T, L] for each of N captions.
      grid: rows and columns of regions.

    Returns:
      The sums of entropy, change and centre bias, then over how many words each: rows for
      `from_statistics`. [N, 6]
    """
    rows = []
    for attention in attentions:
        attention = np.asarray(attention, np.float64)  # [T, L]
        values = entropy(attention), change(attention), centre_bias(attention, grid)
        rows.append([value.sum() for value in values] + [value.size for value in values])
    return np.array(rows, np.float64).reshape(-1, 2 * len(NAMES))


def grounding_statistics(
    attentions: Sequence[np.ndarray],
    captions: Sequence[Sequence[str]],
    objects: Sequence[Sequence[Mapping[str, Any]]],
    grid: tuple[int, int],
) -> np.ndarray:
    """Sums, for each rendered scene, how well the attention of a shape word finds the box of the
    object it names.

    The pointing game (Zhang et al. 2016, https://arxiv.org/abs/1608.00507) is won when the region
    of the greatest attention touches the box; between equal maxima the chances are shared. The mass
    is the attention inside the box, a region that the box covers in part counting in part. Both are
    also taken of even attention and of attention on the centre alone, so that a score can be read
    against what a blind map wins.

    Args:
      attentions: one array [T, L] for each of N captions.
      captions: the words of each caption.
      objects: the objects of each scene, each with "shape", "colour" and "box" = (y0, x0, y1, x1)
        in 0..1.
      grid: rows and columns of regions.

    Returns:
      The sums of pointing, of pointing by the uniform and by the centre map, and of mass in the
      same order, then over how many words each: rows for `from_statistics`. [N, 12]
    """
    distance = _distance_from_centre(grid)
    blind = np.full(distance.size, 1 / distance.size), _won(-distance) / _won(-distance).sum()
    rows = []
    for attention, words, things in zip(attentions, captions, objects, strict=True):
        sums = np.zeros(len(GROUNDING_NAMES))
        boxes = _named_boxes(words, things)
        for t, box in boxes:
            covered = cells_covered(box, grid).ravel()  # [L]
            maps = np.stack([attention[t], *blind])  # [3, L]
            first = _won(maps)
            sums += [*(first @ (covered > 0) / first.sum(-1)), *(maps @ covered)]
        rows.append([*sums, *[len(boxes)] * len(sums)])
    return np.array(rows, np.float64).reshape(-1, 2 * len(GROUNDING_NAMES))


def _won(maps: np.ndarray) -> np.ndarray:
    """Marks the regions of the greatest weight of each map. [..., L]"""
    return np.isclose(maps, maps.max(-1, keepdims=True), rtol=1e-6, atol=0).astype(np.float64)


def _named_boxes(
    words: Sequence[str], objects: Sequence[Mapping[str, Any]]
) -> list[tuple[int, tuple[float, ...]]]:
    """Returns the position of each shape word and the box it means: of two alike, that of the
    colour it is given.
    """
    boxes = []
    for t, shape, colour in named_objects(words):
        alike = [thing for thing in objects if thing["shape"] == shape]
        if alike:
            boxes.append((t, max(alike, key=lambda thing: thing["colour"] == colour)["box"]))
    return boxes


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes means over words from summed statistics: sums and counts [..., 2 K] to means [...,
    K].
    """
    sums, words = np.split(total, 2, axis=-1)
    return np.divide(sums, words, out=np.full(sums.shape, np.nan), where=words > 0)
