"""Scored runs set beside the first of them: differences with their intervals, and what differs."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxcap.errors import UserError
from jaxcap.evaluation import scoring
from jaxcap.evaluation.entries import IMAGES, SCORES, Entry, read_statistics
from jaxcap.evaluation.groups import GroupScore, estimate_groups
from jaxcap.evaluation.result import Result
from jaxcap.experiment import config as configs
from jaxcap.io import plain
from jaxcap.scores import bootstrap
from jaxcap.scores.intervals import Estimate

# In nothing but these do the runs of a group differ.
SEEDS = ("seed", "train.replicas", "train.order_seed")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An entry beside the first one.

    Attributes:
      run: the workdir, as typed.
      evaluation: its folder; None where the run has not been scored.
      val_loss: of the checkpoint, in nats per word.
      vocabulary_size: words of the vocabulary.
      parameters: that were trained; None where the run has not been scored.
      same_vocabulary: it is that of the first entry.
      signature: of the scores.
      scores: by name; None where the run has not been scored.
      config: one line for each key that differs from the first entry's.
      signature_differs: one line for each field that differs from the first entry's.
      differences: score -> this entry minus the first; None where the images or their references
        are not the same.
    """

    run: str
    evaluation: str | None
    val_loss: float | None
    vocabulary_size: int
    parameters: int | None
    same_vocabulary: bool
    signature: str | None
    scores: dict[str, Estimate] | None
    config: list[str]
    signature_differs: list[str]
    differences: dict[str, Estimate] | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Entries that differ in nothing but their seeds, beside the first group.

    Attributes:
      first: its first entry beside the first entry of all; no seeds are in `config`.
      runs: the workdirs, as typed.
      seeds: of each run.
      scores: by name; None where the run has not been scored.
    """

    first: Comparison
    runs: list[str]
    seeds: list[int]
    scores: dict[str, GroupScore] | None


def group_entries(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Groups the entries that differ in nothing but their seeds.

    Of entries that are equal in their seeds too, each stands in another group: a run counts once.
    """
    groups: dict[str, list[Entry]] = {}
    seen: Counter[str] = Counter()
    for number, entry in enumerate(entries):
        values = configs.flatten(entry.config)
        seeds = [values.pop(key, None) for key in SEEDS]
        # Entries without scores stand alone, each with its remark.
        signature = entry.result.signature if entry.result else number
        group = json.dumps([values, signature], sort_keys=True)
        run = json.dumps([group, seeds])
        groups.setdefault(f"{seen[run]} {group}", []).append(entry)
        seen[run] += 1
    return list(groups.values())


def compare_groups(groups: Sequence[Sequence[Entry]]) -> list[Group]:
    """Sets groups beside the first one."""
    scored = [group for group in groups if group[0].folder]
    # The differences are those to the first group, so that there are none where it has no scores.
    folders = [[entry.folder for entry in group if entry.folder] for group in scored]
    scores = {name: estimate_groups(folders, name) for name in SCORES} if folders else {}
    places = {id(group): place for place, group in enumerate(scored)}
    compared = []
    for group in groups:
        place = places.get(id(group))
        of_group = None
        if place is not None:
            of_group = {name: rows[place] for name, rows in scores.items()}
            if not groups[0][0].folder:
                of_group = {
                    name: GroupScore(each=score.each, mean=score.mean)
                    for name, score in of_group.items()
                }
        first = compare_entries(groups[0][0], group[0])
        kept = [line for line in first.config if line.partition(":")[0] not in SEEDS]
        compared.append(
            Group(
                first=dataclasses.replace(first, config=kept),
                runs=[plain.name(entry.run) for entry in group],
                seeds=[entry.config.seed for entry in group],
                scores=of_group,
            )
        )
    return compared


def compare_entries(first: Entry, entry: Entry) -> Comparison:
    """Sets an entry beside the first one."""
    signature_differs = []
    differences = None
    if first.result and entry.result and entry is not first:
        signature_differs = _signature_differences(first.result, entry.result)
        if _scores_same_images(first.result, entry.result):
            assert first.folder and entry.folder  # as where there is a result
            differences = _score_differences(first.folder, entry.folder)
    return Comparison(
        run=plain.name(entry.run),
        evaluation=plain.name(entry.folder) if entry.folder else None,
        val_loss=entry.val_loss,
        vocabulary_size=entry.vocabulary_size,
        parameters=entry.result.run.parameters.trained if entry.result else None,
        same_vocabulary=entry.vocabulary == first.vocabulary,
        signature=entry.result.signature if entry.result else None,
        scores=entry.result.scores if entry.result else None,
        config=configs.differences(first.config, entry.config),
        signature_differs=signature_differs,
        differences=differences,
    )


def _scores_same_images(first: Result, other: Result) -> bool:
    same_ids = first.data.ids == other.data.ids
    return same_ids and first.data.captions == other.data.captions


def _signature_differences(first: Result, other: Result) -> list[str]:
    """Returns one line for each field in which two signatures differ."""
    before = dict(field.split(":", 1) for field in first.signature.split("|"))
    after = dict(field.split(":", 1) for field in other.signature.split("|"))
    lines = []
    for key in after | before:
        if before.get(key) != after.get(key):
            lines.append(f"{key}: {before.get(key)} -> {after.get(key)}")
    return lines


def _score_differences(first: Path, other: Path) -> dict[str, Estimate]:
    """Computes the scores of `other` minus those of `first`, with paired bootstrap intervals."""
    before = read_statistics(first)
    after = read_statistics(other)
    if before.keys() != after.keys():
        raise UserError(
            f"{plain.line(first / IMAGES)} and {plain.line(other / IMAGES)} "
            "should hold the same images and do not: evaluate both runs again"
        )
    differences = {}
    for name, metric in SCORES.items():
        # Both runs' rows of an image side by side, so that the bootstrap draws them together.
        rows = [before[image][metric] + after[image][metric] for image in before]
        paired = np.array(rows, np.float64)  # [N, 2 S]
        subtract = _subtract_scores(name)
        low, high = bootstrap.interval(paired, subtract, level=scoring.LEVEL)
        value = subtract(paired.sum(0))
        differences[name] = Estimate(float(value[0]), float(low[0]), float(high[0]))
    return differences


def _subtract_scores(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the function that subtracts the first of two runs' scores from the second's.

    It takes both runs' summed statistics side by side, [..., 2 S], to the difference, [..., 1].
    """
    metric = scoring.METRICS[SCORES[name]]
    index = metric.NAMES.index(name)

    def subtract(total: np.ndarray) -> np.ndarray:
        first, other = np.split(total, 2, axis=-1)
        difference = metric.from_statistics(other) - metric.from_statistics(first)
        return difference[..., [index]]

    return subtract
