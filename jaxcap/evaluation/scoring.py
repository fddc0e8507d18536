"""Scores of several systems' captions of the same images, with what each image adds to a score."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from jaxcap.errors import UserError
from jaxcap.evaluation import meteor
from jaxcap.scores import bleu, cider, rouge
from jaxcap.scores.intervals import Estimate, estimate_scores
from jaxcap.scores.tokenizer import ptb_tokenize

LEVEL = 0.95  # of all intervals

Words = list[list[str]]  # of each caption


class Metric(Protocol):
    """A module that computes K scores: rows of S numbers an image, and scores from their sum."""

    @property
    def NAMES(self) -> tuple[str, ...]:  # noqa: N802  (a constant of the module)
        """The names of the K scores."""

    def statistics(
        self, hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
    ) -> np.ndarray:
        """Returns what each image adds, from the words of captions and of references. [N, S]"""

    def from_statistics(self, total: np.ndarray) -> np.ndarray:
        """Computes the scores from summed rows: [..., S] to [..., K]."""


METRICS: dict[str, Metric] = {
    "BLEU": bleu,
    "ROUGE-L": rouge,
    "CIDEr-D": cider,
    "METEOR": meteor,
}


class Scored(NamedTuple):
    """One system's scores.

    Attributes:
      scores: by name.
      rows: metric -> what each image adds to it, [N, S]; see `Metric`.
    """

    scores: dict[str, Estimate]
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
    # All systems share the references, which are tokenized once.
    theirs = [[ptb_tokenize(caption) for caption in captions] for captions in references]
    ours = {}
    for system, captions in systems.items():
        ours[system] = [ptb_tokenize(caption) for caption in captions]
    rows: dict[str, dict[str, np.ndarray]] = {system: {} for system in systems}
    for metric, module in METRICS.items():
        if metric != "METEOR":  # which is counted below, in one call for all systems
            for system, words in ours.items():
                rows[system][metric] = module.statistics(words, theirs)
    notes = ["CIDEr-D weighs words by how rare they are in the references scored here."]
    if len(theirs) == 1:
        notes = ["CIDEr-D of one image is always 0, for no word is rarer than another there."]
    try:
        for system, of_images in _align_by_meteor(ours, theirs).items():
            rows[system]["METEOR"] = of_images
    except UserError as absent:
        notes.append(str(absent))
    return {system: _estimate(rows[system]) for system in systems}, notes


def _align_by_meteor(ours: Mapping[str, Words], theirs: Sequence[Words]) -> dict[str, np.ndarray]:
    """Aligns all systems' captions in one call, for Java takes longer to start than to score."""
    together = [words for captions in ours.values() for words in captions]
    rows = meteor.statistics(together, list(theirs) * len(ours))
    return dict(zip(ours, np.split(rows, len(ours)), strict=True))


def _estimate(rows: dict[str, np.ndarray]) -> Scored:
    """Computes one system's scores from what each image adds to each metric."""
    scores: dict[str, Estimate] = {}
    for name, of_images in rows.items():
        metric = METRICS[name]
        scores |= estimate_scores(metric.NAMES, of_images, metric.from_statistics, level=LEVEL)
    return Scored(scores, rows)
