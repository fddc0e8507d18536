"""The checks of finished runs, from their workdirs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxcap.checks import outcome
from jaxcap.checks.captioned import check_captions
from jaxcap.checks.finding import Finding
from jaxcap.data.split import Split
from jaxcap.decoding.rules import make_plain_rules
from jaxcap.decoding.strategy import GREEDY
from jaxcap.errors import UserError
from jaxcap.evaluation import splits
from jaxcap.evaluation.comparison import compare_entries
from jaxcap.evaluation.entries import Entry, read_entries
from jaxcap.experiment.inputs import open_plain_inputs
from jaxcap.experiment.restore import TrainedRun, compile_search, explain_mismatch, restore_best
from jaxcap.io import plain
from jaxcap.training.history import METRICS, read_lines


class Report(NamedTuple):
    """What the checks of a run came to.

    Attributes:
      findings: what is wrong.
      notes: what could not be checked, and why.
      is_error: the run's config has doctor=error.
    """

    findings: list[Finding]
    notes: list[str]
    is_error: bool


def check_run(folder: Path) -> Report:
    """Checks a run: its losses, captions of its validation photos, and its evaluations.

    Raises:
      UserError: there is no run in `folder`, it has validated nothing yet, or it is damaged.
    """
    run = restore_best(folder)
    found = [outcome.check_history(read_lines(folder / METRICS), run.config.train.select)]
    notes = []
    try:
        _, val = splits.load_scored(run.config, "val")
        found += _check_captions(run, val)
    except UserError as error:
        notes.append(f"the captions of validation photos are not checked: {error}")
    scored = list_scored(folder)
    for entry in scored.values():
        found += check_evaluation(entry)
    if not scored:
        notes.append(f"no scores to check: python -m jaxcap.evaluate --workdir {folder} makes them")
    findings = [finding for finding in found if finding is not None]
    return Report(findings, notes, run.config.doctor == "error")


def compare_runs(first: Path, second: Path) -> Report:
    """Checks whether the scores of two runs differ by more than chance.

    Raises:
      UserError: one is no run, or a file of its evaluations is damaged.
    """
    before = list_scored(first)
    after = list_scored(second)
    findings = []
    common = [name for name in before if name in after]
    notes = []
    for name in common:
        differences = compare_entries(before[name], after[name]).differences
        if differences is None:
            notes.append(f"{name} of {first} and of {second} are of other images or references")
            continue
        finding = outcome.check_differences(
            plain.line(first / "evaluation" / name),
            plain.line(second / "evaluation" / name),
            differences,
        )
        if finding is not None:
            findings.append(finding)
    if not common:
        notes.append(f"no evaluation of {first} is like one of {second}: evaluate both alike")
    return Report(findings, notes, False)


def list_scored(folder: Path) -> dict[str, Entry]:
    """Returns the evaluations of a run by the names of their folders."""
    entries = {}
    for split in ("val", "test"):
        for entry in read_entries(folder, split, None):
            if entry.folder is not None:
                entries[entry.folder.name] = entry
    return entries


def check_evaluation(entry: Entry) -> Iterator[Finding]:
    """Yields what is wrong with an evaluation.

    Raises:
      UserError: its file of captions cannot be read.
    """
    assert entry.folder is not None  # as where it is scored
    assert entry.result is not None
    captions = _read_captions(entry.folder)
    checked = [
        outcome.check_variety(captions),
        outcome.check_ends(captions, entry.result.search.max_length),
        *outcome.check_result(entry.result),
    ]
    for finding in checked:
        if finding is not None:
            yield finding.of(entry.folder.name)


def _check_captions(run: TrainedRun, val: Split) -> list[Finding]:
    train: Split | None = None
    try:
        train = splits.load_training(run.config)
    except (UserError, OSError):  # the other baseline needs none of it
        train = None
    with explain_mismatch(run):
        inputs = open_plain_inputs(run, val)
        search = compile_search(run, make_plain_rules(run.config.text), GREEDY)
        return check_captions(run, search, run.params, inputs, val, train)


def _read_captions(folder: Path) -> list[list[str]]:
    """Reads the words of an evaluation's captions."""
    file = folder / "captions.json"
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        return [entry["caption"].split() for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{plain.line(file)} cannot be read ({error}): evaluate that run again"
        ) from error
