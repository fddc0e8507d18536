"""How well captions and attention find the objects of rendered scenes, which are known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcap.data.split import Split
from jaxcap.decoding.captions import Caption
from jaxcap.scores import grounding


class SceneCheck(NamedTuple):
    """What came of `check_scenes`.

    Attributes:
      right: objects named with the right shape and colour.
      total: objects there are.
      gain: attention on the named object in multiples of chance; NaN where none is named.
    """

    right: int
    total: int
    gain: float


def check_scenes(split: Split, captions: Sequence[Caption], grid: tuple[int, int]) -> SceneCheck:
    """Compares captions with the objects that the scenes hold.

    Args:
      split: rendered scenes.
      captions: of the first of them, in order.
      grid: rows and columns of regions.
    """
    right = 0
    total = 0
    gains: list[float] = []
    for row, caption in enumerate(captions):
        objects = split.objects(row)
        named, present = grounding.count_correct(caption.words, objects)
        right += named
        total += present
        gains += grounding.attention_gains(caption.attention, caption.words, objects, grid)
    return SceneCheck(right, total, float(np.mean(gains)) if gains else float("nan"))
