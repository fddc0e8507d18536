"""Checks of a result: the captions of some photos, their attention, losses and scores."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxcap.checks.finding import Finding
from jaxcap.evaluation.result import Result
from jaxcap.io.plain import list_some
from jaxcap.scores import attention as attention_scores
from jaxcap.scores.intervals import Estimate
from jaxcap.training.history import selection_value

COMPARED = ("BLEU-4", "CIDEr-D")
_SHARE = 0.1  # of the captions
_FEWEST = 10  # photos: a tenth of fewer is none
_STILL = 0.01  # of the attention, moved from a word to the next
_EPOCHS = 3  # that rise one after another


def check_variety(captions: Sequence[Sequence[str]]) -> Finding | None:
    """Checks that no caption is that of more than a tenth of the photos (`one-caption`).

    Args:
      captions: the words of each photo's.
    """
    if len(captions) < _FEWEST:
        return None
    words, count = Counter(map(tuple, captions)).most_common(1)[0]
    if count <= _SHARE * len(captions):
        return None
    return Finding(
        "one-caption",
        f'{count:,} of {len(captions):,} photos have the caption "{" ".join(words)}"',
        "the decoder says what is common and hardly looks at the photo",
        "train longer, and see whether the features are those of the photos (jaxcap.cache)",
    )


def check_ends(captions: Sequence[Sequence[str]], max_length: int) -> Finding | None:
    """Checks that captions end before their positions are over (`never-ends`).

    Args:
      captions: the words of each photo's, without the end mark.
      max_length: positions, the start mark among them.
    """
    if not captions:
        return None
    endless = sum(len(words) >= max_length - 1 for words in captions)
    if endless <= _SHARE * len(captions):
        return None
    return Finding(
        "never-ends",
        f"{endless:,} of {len(captions):,} captions fill all positions and never end",
        "they are cut off and no sentences",
        "train with text.end_mark=True, and longer",
    )


def measure_change(attentions: Sequence[np.ndarray]) -> float:
    """Returns the mean part of the attention that moves from a word to the next.

    Args:
      attentions: [T, L] for each caption; T differs.

    Returns:
      0 to 1, and NaN where no caption has two words.
    """
    moved = [attention_scores.change(attention) for attention in attentions if len(attention) > 1]
    return float(np.concatenate(moved).mean()) if moved else float("nan")


def check_attention(change: float) -> Finding | None:
    """Checks that the attention moves (`attention-still`); `change` is of `measure_change`."""
    if not change < _STILL:  # nor is NaN
        return None
    return Finding(
        "attention-still",
        f"{change:.2%} of the attention moves from one word to the next",
        "every word sees the same mean of the regions, and maps of attention show nothing",
        "train longer or at another train.learning_rate, or set loss.doubly_stochastic=1",
    )


def check_floor(
    scores: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]
) -> Finding | None:
    """Checks that scores are above those of image-agnostic baselines (`below-baselines`).

    Args:
      scores: by name, those of `COMPARED` among them.
      baselines: name of the baseline -> its scores.
    """
    below = []
    for baseline, floor in baselines.items():
        for name in COMPARED:
            if scores[name] <= floor[name]:
                below.append(
                    f"{name} {100 * scores[name]:.1f} ({baseline}: {100 * floor[name]:.1f})"
                )
    if not below:
        return None
    return Finding(
        "below-baselines",
        f"no better than baselines that use little or nothing of the photo: {', '.join(below)}",
        "these scores do not show that anything was seen in the photos",
        "train longer, and see whether captions belong to their photos",
    )


def check_result(result: Result) -> list[Finding]:
    """Checks what an evaluation has found beside its captions."""
    change = result.attention.get("change")
    found = [
        check_attention(change.value if change else float("nan")),
        check_floor(
            _list_values(result.scores), {b.name: _list_values(b.scores) for b in result.baselines}
        ),
    ]
    return [finding for finding in found if finding is not None]


def check_history(records: Sequence[Mapping[str, Any]], select: str) -> Finding | None:
    """Checks that validation did not rise at the end (`overfitting`).

    Args:
      records: of metrics.jsonl.
      select: the config's `train.select`.
    """
    validations = [record for record in records if record.get("split") == "val"]
    if any(record.get(select) is None for record in validations):
        select = "loss"
    complete = [record for record in validations if record.get(select) is not None]
    values = [selection_value(record, select) for record in complete]
    rises = 0
    while rises + 1 < len(values) and values[-1 - rises] > values[-2 - rises]:
        rises += 1
    if rises < _EPOCHS:
        return None
    before = abs(values[-1 - rises])
    return Finding(
        "overfitting",
        f"the validation {select} got worse in each of the last {rises} epochs "
        f"({before:.3f} -> {abs(values[-1]):.3f})",
        "training beyond the best epoch, which is kept, has cost time and learnt the captions by "
        "heart",
        "fewer train.epochs, a train.patience, or more dropout",
    )


def check_frozen(saved: Any, at_hand: Any) -> Finding | None:
    """Checks that frozen parameters are bit for bit those that were saved (`encoder-moves`).

    Args:
      saved: those of the checkpoint.
      at_hand: those that training used.
    """
    moved = []
    pairs = zip(jax.tree_util.tree_leaves_with_path(saved), jax.tree.leaves(at_hand), strict=True)
    for (path, before), after in pairs:
        if np.asarray(before).tobytes() != np.asarray(after).tobytes():
            moved.append(jax.tree_util.keystr(path, simple=True, separator="/"))
    if not moved:
        return None
    return Finding(
        "encoder-moves",
        f"{len(moved)} frozen parameters are not those that training began with "
        f"({list_some(moved)})",
        "features that were cached before no longer belong to the captioner",
        "begin anew in another --workdir, and report it",
    )


def check_differences(
    first: str, second: str, differences: Mapping[str, Estimate]
) -> Finding | None:
    """Checks that a difference is larger than its uncertainty (`interval-too-wide`).

    Args:
      first: a run.
      second: the other one.
      differences: score -> `second` minus `first`, with the interval of a paired bootstrap.
    """
    wide = []
    for name, difference in differences.items():
        holds_zero = difference.low <= 0 <= difference.high
        if holds_zero or difference.high - difference.low > abs(difference.value):
            ends = f"{100 * difference.low:+.1f} to {100 * difference.high:+.1f}"
            wide.append(f"{name} {100 * difference.value:+.1f} ({ends})")
    if not wide:
        return None
    return Finding(
        "interval-too-wide",
        f"from {first} to {second}: {', '.join(wide)}",
        "the interval holds 0 or is wider than the difference, which may be chance",
        "score more photos, and train both with several seeds",
    )


def _list_values(scores: Mapping[str, Estimate]) -> dict[str, float]:
    return {name: estimate.value for name, estimate in scores.items()}
