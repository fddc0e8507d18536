"""Scores of several systems' captions of the same images: tokenised once, with what each image adds
to a score.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcap.errors import UserError
from jaxcap.evaluation import meteor
from jaxcap.scores import bleu, cider, rouge, with_intervals
from jaxcap.scores.tokenizer import ptb_tokenize

LEVEL = 0.95
METRICS = {"BLEU": bleu, "ROUGE-L": rouge, "CIDEr-D": cider, "METEOR": meteor}
Words = list[list[str]]


class Scored(NamedTuple):
    """One system's scores.

    Attributes:
      scores: NAME -> {"value", "low", "high"}.
      rows: metric -> what each image adds to it, [N, S]; see the metric's `from_statistics`.
    """

    scores: dict[str, dict[str, float]]
    rows: dict[str, np.ndarray]


def score(
    systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]]
) -> tuple[dict[str, Scored], list[str]]:
    """Scores captions against the references of the same images.

    Args:
      systems: name -> one caption for each of N images.
      references: the captions that people wrote for each image.

    Returns:
      Each system's scores, and notes on how to read them or what is left out.
    """
    theirs = [[ptb_tokenize(caption) for caption in captions] for captions in references]
    ours = {
        name: [ptb_tokenize(caption) for caption in captions] for name, captions in systems.items()
    }
    rows = {
        metric: {name: METRICS[metric].statistics(words, theirs) for name, words in ours.items()}
        for metric in ("BLEU", "ROUGE-L", "CIDEr-D")
    }
    notes = ["CIDEr-D weighs words by how rare they are in the references scored here."]
    if len(theirs) == 1:
        notes = ["CIDEr-D of one image is always 0, for no word is rarer than another there."]
    try:
        rows["METEOR"] = _meteor(ours, theirs)
    except UserError as absent:
        notes.append(str(absent))
    return {name: _scored({metric: rows[metric][name] for metric in rows}) for name in ours}, notes


def _meteor(ours: Mapping[str, Words], theirs: Sequence[Words]) -> dict[str, np.ndarray]:
    """Aligns all systems' captions in one call, for Java takes longer to start than to score."""
    together = [words for captions in ours.values() for words in captions]
    rows = meteor.statistics(together, list(theirs) * len(ours))
    return dict(zip(ours, np.split(rows, len(ours)), strict=True))


def _scored(rows: dict[str, np.ndarray]) -> Scored:
    table: dict[str, Any] = {}
    for name, of_images in rows.items():
        metric = METRICS[name]
        table |= with_intervals(metric.NAMES, of_images, metric.from_statistics, level=LEVEL)
    return Scored(table, rows)
