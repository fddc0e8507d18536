"""Scores of captions in plain Python and numpy, equal to coco-caption's, each with an interval over
images.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxcap.scores import bleu, bootstrap, cider, rouge
from jaxcap.scores.tokenizer import ptb_tokenize

_CIDER_NOTE = "CIDEr-D takes its document frequencies from the scored references; its interval keeps them fixed."
_ONE_IMAGE_NOTE = (
    "CIDEr-D of a single image is always 0, because no word is rarer than another there."
)


def score(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores one caption for each image against the image's references.

    Args:
      hypotheses: image id to caption.
      references: image id to at least one reference; images without a hypothesis are left out.
      resamples: bootstrap samples of the images.
      level: of the intervals.
      seed: of the bootstrap.

    Returns:
      "images"; "level"; "scores": name to {"value", "low", "high"} for BLEU-1 .. 4, ROUGE-L (all in
      0 .. 1) and CIDEr-D (in 0 .. 10); "notes": sentences to print under the table.

    Raises:
      ValueError: there is no hypothesis, or one without a reference.
    """
    ours, theirs = words_of(hypotheses, references)
    table = {}
    for metric in (bleu, rouge, cider):
        rows = metric.statistics(ours, theirs)
        table |= with_intervals(
            metric.NAMES, rows, metric.from_statistics, resamples=resamples, level=level, seed=seed
        )
    notes = [_ONE_IMAGE_NOTE if len(ours) == 1 else _CIDER_NOTE]
    return {"images": len(ours), "level": level, "scores": table, "notes": notes}


def words_of(
    hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> tuple[list[list[str]], list[list[list[str]]]]:
    """Tokenises captions and their references, in the order of `hypotheses`.

    Returns:
      The words of each caption, and of each of its references.

    Raises:
      ValueError: there is no hypothesis, or one without a reference.
    """
    bare = [name for name in hypotheses if not references.get(name)]
    if bare or not hypotheses:
        raise ValueError(
            f"{len(bare)} captions without a reference, as of image {bare[0]}"
            if bare
            else "no captions"
        )
    ours = [ptb_tokenize(caption) for caption in hypotheses.values()]
    return ours, [[ptb_tokenize(caption) for caption in references[name]] for name in hypotheses]


def with_intervals(
    names: Sequence[str],
    statistics: np.ndarray,
    from_statistics: Callable[[np.ndarray], np.ndarray],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Computes scores of all images and their bootstrap intervals.

    Args:
      names: of the K scores.
      statistics: one row an image. [N, S]
      from_statistics: takes summed rows [..., S] to scores [..., K].
      resamples: bootstrap samples of the images.
      level: of the intervals.
      seed: of the bootstrap.

    Returns:
      Name to {"value", "low", "high"}.
    """
    values = from_statistics(statistics.sum(0))
    lows, highs = bootstrap.interval(
        statistics, from_statistics, resamples=resamples, level=level, seed=seed
    )
    return {
        name: {"value": float(value), "low": float(low), "high": float(high)}
        for name, value, low, high in zip(names, values, lows, highs, strict=True)
    }
