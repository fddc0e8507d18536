"""What is measured of captions and attention beside their scores."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from jaxcap.data.split import Split
from jaxcap.decoding.captions import Caption
from jaxcap.evaluation.result import Health, SceneObjects
from jaxcap.evaluation.scenes import check_scenes
from jaxcap.evaluation.scoring import LEVEL
from jaxcap.scores import attention, grounding, health
from jaxcap.scores.intervals import Estimate, estimate_scores
from jaxcap.text import count_places, split_captions


def measure_health(config: ConfigDict, split: Split, captions: Sequence[Caption]) -> Health:
    """Measures how varied captions are, beside the references of the same photos.

    Args:
      config: the run's.
      split: the scored photos.
      captions: the run's, in the split's order.
    """
    ours = [caption.words for caption in captions]
    theirs = _split_captions(config, split)
    return Health(
        captions=summarize_captions(config, captions),
        references=health.summarize(theirs),
        overused=tuple(health.find_overused(ours, theirs)),
    )


def summarize_captions(
    config: ConfigDict, captions: Sequence[Caption], train: Split | None = None
) -> health.Summary:
    """Measures how varied captions are and, with the training split, how many are novel."""
    known = None
    if train:
        # Cut as a caption is, or a long training caption could never be repeated.
        longest = count_places(config.text.max_length, end_mark=config.text.end_mark)
        known = {tuple(words[:longest]) for words in _split_captions(config, train)}
    return health.summarize([caption.words for caption in captions], known)


def measure_attention(captions: Sequence[Caption], grid: tuple[int, int]) -> dict[str, Estimate]:
    """Measures how sharp the attention is, whether it moves, and whether it stays in the middle.

    Args:
      captions: the run's.
      grid: rows and columns of regions.

    Returns:
      The measures by their names, `scores.attention.NAMES`.
    """
    rows = attention.statistics([caption.attention for caption in captions], grid)
    return estimate_scores(attention.NAMES, rows, attention.from_statistics, level=LEVEL)


def measure_grounding(
    split: Split, captions: Sequence[Caption], grid: tuple[int, int]
) -> tuple[dict[str, Estimate], SceneObjects | None]:
    """Measures on rendered scenes whether attention and words find the objects.

    Args:
      split: the scored photos.
      captions: the run's, in the split's order.
      grid: rows and columns of regions.

    Returns:
      The measures by their names, `scores.grounding.NAMES`, and the objects named rightly; nothing
      and None where the objects are not known.
    """
    if not split.objects(0):
        return {}, None
    rows = grounding.statistics(
        [caption.attention for caption in captions],
        [caption.words for caption in captions],
        [split.objects(row) for row in range(len(split))],
        grid,
    )
    measures = estimate_scores(grounding.NAMES, rows, attention.from_statistics, level=LEVEL)
    check = check_scenes(split, captions, grid)
    return measures, SceneObjects(right=check.right, total=check.total)


def _split_captions(config: ConfigDict, split: Split) -> list[list[str]]:
    """Returns the words of all captions of a split, as the run's vocabulary cuts them."""
    images = split_captions(split.captions, config.text)
    return [words for of_image in images for words in of_image]
