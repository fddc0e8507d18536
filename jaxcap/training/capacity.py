"""How many positions a step predicts at: enough for a batch's words, and few different numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxcap.text import PAD

PARTS = 8  # sizes between nothing and all positions; each is compiled by itself
LEAST = 128  # positions between two sizes: fewer take no time that could be saved


def choose_words(batch: Mapping[str, Any], least: int = LEAST) -> dict[str, int]:
    """Returns the argument `words` of `train_step` and `eval_step` for a batch.

    Captions fill about two thirds of their positions, and a batch of many always nearly as many, so
    that nearly all batches of a run get one of two sizes.

    Args:
      batch: shared out over the devices, with "tokens" [devices, ..., B, C, T + 1].
      least: positions between two sizes.

    Returns:
      The most words that one device has to predict, rounded up to an eighth of all positions.
    """
    targets = np.asarray(batch["tokens"])[..., 1:]
    positions = int(np.prod(targets.shape[-3:]))
    most = int((targets != PAD).sum(axis=(-3, -2, -1)).max())
    part = max(-(-positions // PARTS), least)
    return {"words": min(positions, max(1, -(-most // part)) * part)}
