"""What a caption of a rendered scene says, and whether it is so: objects named, and attention on
the object named.

The words of the scenes stand here; `jaxcap.data.scenes` writes captions with them and these
functions read them back.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SHAPES = ("circle", "square", "triangle", "star")
COLOURS = ("red", "yellow", "green", "blue", "purple", "black")


def named_objects(words: Sequence[str]) -> list[tuple[int, str, str]]:
    """Finds the objects that a caption names, as in "a small red circle" and "the circle is red".

    Args:
      words: the caption's words.

    Returns:
      (position of the shape word, shape, colour) in the order of the words; the colour is "" when
      none belongs to it.
    """
    return [(t, word, _colour_at(words, t)) for t, word in enumerate(words) if word in SHAPES]


def _colour_at(words: Sequence[str], t: int) -> str:
    """Returns the colour of the shape word at `t`: the word before it, or the one after "is"."""
    if t > 0 and words[t - 1] in COLOURS:
        return words[t - 1]
    after = words[t + 1 : t + 3]
    return after[1] if len(after) == 2 and after[0] == "is" and after[1] in COLOURS else ""


def correct(words: Sequence[str], objects: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Counts the objects of a scene that its caption names with the right shape and the right
    colour.

    An object counts once however often it is named; naming one that is not there wins nothing.

    Args:
      words: the caption's words.
      objects: the scene's objects, each with "shape" and "colour".

    Returns:
      How many are named rightly, and how many there are.
    """
    named = Counter((shape, colour) for _, shape, colour in named_objects(words))
    present = Counter((thing["shape"], thing["colour"]) for thing in objects)
    return (named & present).total(), present.total()


def attention_gain(
    attention: np.ndarray,
    words: Sequence[str],
    objects: Sequence[Mapping[str, Any]],
    grid: tuple[int, int] = (7, 7),
) -> list[float]:
    """Measures how much of the attention lies on the object being named, in multiples of chance.

    For each shape word whose shape is in the scene: the attention inside that object's box, divided
    by the box's share of the picture. Even attention gives exactly 1, all of it inside the box
    gives 1 / share. A wrong colour does not excuse the word: what it looked at is measured all the
    same.

    Args:
      attention: one row of weights over the regions for each word, row by row of the grid. [T, L]
      words: the caption's words; rows of `attention` beyond them are left alone.
      objects: the scene's objects, each with "shape", "colour" and "box" = (y0, x0, y1, x1) in
        0..1.
      grid: rows and columns of regions.

    Returns:
      One gain for each such word, in the order of the words.
    """
    maps = np.asarray(attention, np.float64).reshape(len(attention), *grid)  # [T, rows, columns]
    gains = []
    for t, shape, colour in named_objects(words):
        alike = [thing for thing in objects if thing["shape"] == shape]
        if alike:
            # Of two objects of one shape the word means the one of its colour.
            box = max(alike, key=lambda thing: thing["colour"] == colour)["box"]
            covered = cells_covered(box, grid)
            gains.append(float((maps[t] * covered).sum() / covered.mean()))
    return gains


def cells_covered(box: tuple[float, float, float, float], grid: tuple[int, int]) -> np.ndarray:
    """Returns the part of each cell of the grid, 0 to 1, that lies inside the box (y0, x0, y1, x1).
    [rows, columns]
    """
    y0, x0, y1, x1 = box
    return np.outer(_overlap(y0, y1, grid[0]), _overlap(x0, x1, grid[1]))


def _overlap(low: float, high: float, cells: int) -> np.ndarray:
    """Returns the part of each of `cells` equal pieces of 0..1 that lies between `low` and `high`.
    [cells]
    """
    edges = np.linspace(0, 1, cells + 1)
    return np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, None) * cells
