"""Whether captions of rendered scenes are right, and whether the attention lies on what they name.

The words of the scenes stand here; `jaxcap.data.scenes` writes captions with them and these
functions read them back.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcap.scores.attention import distance_from_center

SHAPES = ("circle", "square", "triangle", "star")
COLORS = ("red", "yellow", "green", "blue", "purple", "black")
NAMES = (
    "pointing",
    "pointing_uniform",
    "pointing_centre",
    "mass",
    "mass_uniform",
    "mass_centre",
)

Box = tuple[float, float, float, float]  # (y0, x0, y1, x1), each in 0 .. 1
Objects = Sequence[Mapping[str, Any]]  # of one scene, each with "shape", "colour" and "box"


def find_named_objects(words: Sequence[str]) -> list[tuple[int, str, str]]:
    """Finds the objects that a caption names, as in "a small red circle" and "the circle is red".

    Args:
      words: the caption's words.

    Returns:
      (position of the shape word, shape, color) in the order of the words; the color is "" when
      none belongs to it.
    """
    found = []
    for t, word in enumerate(words):
        if word in SHAPES:
            found.append((t, word, _color_at(words, t)))
    return found


def find_named_boxes(words: Sequence[str], objects: Objects) -> list[tuple[int, Box]]:
    """Finds the boxes of the objects that a caption names.

    A wrong color does not excuse a word: it means an object of its shape all the same.

    Args:
      words: the caption's words.
      objects: the scene's objects.

    Returns:
      (position of the shape word, the box it means) for each word whose shape is in the scene.
    """
    boxes = []
    for t, shape, color in find_named_objects(words):
        alike = [thing for thing in objects if thing["shape"] == shape]
        if alike:
            # Of several objects of one shape the word means the one of its color.
            meant = max(alike, key=lambda thing: thing["colour"] == color)
            boxes.append((t, meant["box"]))
    return boxes


def count_correct(words: Sequence[str], objects: Objects) -> tuple[int, int]:
    """Counts the objects of a scene that its caption names with the right shape and color.

    An object counts once however often it is named; naming one that is not there wins nothing.

    Args:
      words: the caption's words.
      objects: the scene's objects.

    Returns:
      How many are named rightly, and how many there are.
    """
    named = Counter((shape, color) for _, shape, color in find_named_objects(words))
    present = Counter((thing["shape"], thing["colour"]) for thing in objects)
    return (named & present).total(), present.total()


def attention_gains(
    attention: np.ndarray,
    words: Sequence[str],
    objects: Objects,
    grid: tuple[int, int] = (7, 7),
) -> list[float]:
    """Measures how much of the attention lies on the object being named, in multiples of chance.

    For each shape word whose shape is in the scene: the attention inside that object's box, divided
    by the box's share of the picture. Even attention gives exactly 1, all of it inside the box
    gives 1 / share.

    Args:
      attention: one row of weights over the regions for each word, row by row of the grid; rows
        beyond the words are ignored. [T, L]
      words: the caption's words.
      objects: the scene's objects.
      grid: rows and columns of regions.

    Returns:
      One gain for each such word, in the order of the words.
    """
    maps = np.asarray(attention, np.float64)
    gains = []
    for t, box in find_named_boxes(words, objects):
        coverage = cell_coverage(box, grid).ravel()  # [L]
        gains.append(float(maps[t] @ coverage / coverage.mean()))
    return gains


def statistics(
    attentions: Sequence[np.ndarray],
    captions: Sequence[Sequence[str]],
    objects: Sequence[Objects],
    grid: tuple[int, int],
) -> np.ndarray:
    """Sums, for each scene, how well the attention of its shape words finds the named objects.

    The pointing game (Zhang et al. 2016, https://arxiv.org/abs/1608.00507) is won when the region
    of the greatest attention touches the box; between equal maxima the chances are shared. The mass
    is the attention inside the box, a region that the box covers in part counting in part. Both are
    also taken of even attention and of attention on the centre alone, so that a score can be read
    against what a map wins that ignores the photo.

    Args:
      attentions: one array [T, L] for each of N captions.
      captions: the words of each caption.
      objects: the objects of each scene.
      grid: rows and columns of regions.

    Returns:
      The sums of the measures in the order of `NAMES`, then over how many words each: rows for
      `attention.from_statistics`. [N, 12]
    """
    distance = distance_from_center(grid)
    uniform = np.full(distance.size, 1 / distance.size)
    center = _mark_maxima(-distance)  # an even grid has four centres
    center /= center.sum()
    rows = []
    for attention, words, things in zip(attentions, captions, objects, strict=True):
        sums = np.zeros(len(NAMES))
        boxes = find_named_boxes(words, things)
        for t, box in boxes:
            coverage = cell_coverage(box, grid).ravel()  # [L]
            maps = np.stack([attention[t], uniform, center])  # [3, L]
            maxima = _mark_maxima(maps)
            pointing = maxima @ (coverage > 0) / maxima.sum(-1)  # [3]
            mass = maps @ coverage  # [3]
            sums += np.concatenate([pointing, mass])
        rows.append([*sums, *[len(boxes)] * len(sums)])
    return np.array(rows, np.float64).reshape(-1, 2 * len(NAMES))


def cell_coverage(box: Box, grid: tuple[int, int]) -> np.ndarray:
    """Returns the part of each cell of the grid, 0 to 1, that lies inside a box.

    Args:
      box: (y0, x0, y1, x1), each in 0 .. 1.
      grid: rows and columns of regions.

    Returns:
      The parts. [rows, columns]
    """
    y0, x0, y1, x1 = box
    rows, columns = grid
    return np.outer(_overlap(y0, y1, rows), _overlap(x0, x1, columns))


def _color_at(words: Sequence[str], t: int) -> str:
    """Returns the color of the shape word at `t`: the word before it, or the one after "is"."""
    if t > 0 and words[t - 1] in COLORS:
        return words[t - 1]
    after = words[t + 1 : t + 3]
    if len(after) == 2 and after[0] == "is" and after[1] in COLORS:
        return after[1]
    return ""


def _mark_maxima(maps: np.ndarray) -> np.ndarray:
    """Marks the regions of the greatest weight of each map with 1, all others with 0. [..., L]"""
    return np.isclose(maps, maps.max(-1, keepdims=True), rtol=1e-6, atol=0).astype(np.float64)


def _overlap(low: float, high: float, cells: int) -> np.ndarray:
    """Returns the part of each of `cells` pieces of 0 .. 1 that lies between two ends. [cells]"""
    edges = np.linspace(0, 1, cells + 1)
    return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * cells
