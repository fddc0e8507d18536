"""Sets scored runs side by side: `python -m jaxcap.compare DIR DIR ... [--split val|test]`.

Runs that differ in nothing but seeds are one group.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcap import errors, flags
from jaxcap.errors import UserError
from jaxcap.evaluation.comparison import (
    Comparison,
    Group,
    compare_entries,
    compare_groups,
    group_entries,
)
from jaxcap.evaluation.entries import SCORES, expand_replicas, read_entries
from jaxcap.evaluation.groups import METHOD, format_p
from jaxcap.evaluation.scoring import LEVEL
from jaxcap.evaluation.tables import align_columns, format_interval, format_percent
from jaxcap.experiment.ranges import KEYS
from jaxcap.figures.intervals import Line, make_line, write_intervals
from jaxcap.io import plain, records

DESCRIPTION = """Compare runs by what jaxcap.evaluate wrote: scores with intervals, the validation
loss, words of the vocabulary, parameters that were trained, the keys of the config that differ, and
the difference in BLEU-4 and CIDEr-D to the first run, with a paired bootstrap interval over the
images where both captioned the same ones. Runs that cannot be compared are said to be so.

Runs that differ in nothing but their seeds are one group, and where there is such a group, groups
are compared: means over seeds, intervals over seeds and images together, and p of the differences
to the first group, corrected for their number. A folder of seed_K folders stands for all of them.
--picture draws CIDEr-D with its intervals.

DIR is a run's folder, or one evaluation: DIR/evaluation/test-beam5, or what evaluate --out named.
An evaluation tells all that is compared, so its run may have moved."""
DRAWN = "CIDEr-D"
EXAMPLE = """example, once jaxcap.evaluate has scored both:
  %(prog)s checkpoints/quickstart checkpoints/short --split test"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    entries = []
    for path in options.runs:
        for run in expand_replicas(path):
            entries += read_entries(run, options.split, options.beam)
    groups = group_entries(entries)
    if len(groups) < len(entries):
        compared_groups = compare_groups(groups)
        if options.picture:
            _draw(options.picture, [_make_group_line(group) for group in compared_groups])
        if options.json:
            _print_json(compared_groups)
        else:
            print("\n".join(format_groups(compared_groups, options.split)))
        return 0
    compared = [compare_entries(entries[0], entry) for entry in entries]
    if options.picture:
        _draw(options.picture, [_make_line(one) for one in compared])
    if options.json:
        _print_json(compared)
    else:
        print("\n".join(format_comparisons(compared, options.split)))
    return 0


def _draw(path: Path, lines: Sequence[Line | None]) -> None:
    """Draws what was scored.

    Raises:
      UserError: nothing was.
    """
    scored = [line for line in lines if line is not None]
    if not scored:
        raise UserError("--picture: none of the runs has been scored, so there is nothing to draw")
    write_intervals(scored, path, label=f"{DRAWN} x 100 with its {LEVEL:.0%} interval")
    print(f"written to {plain.line(path)}", file=sys.stderr)


def _make_line(one: Comparison) -> Line | None:
    """Returns what the picture shows of an entry; None where it has no scores."""
    if one.scores is None:
        return None
    return make_line(_name(one), one.scores[DRAWN])


def _make_group_line(group: Group) -> Line | None:
    """Returns what the picture shows of a group; None where it has no scores."""
    if group.scores is None:
        return None
    score = group.scores[DRAWN]
    return make_line(_name_group(group), score.mean, score.each)


def _print_json(compared: Sequence[Any]) -> None:
    values = [records.to_values(one) for one in compared]
    print(plain.to_json(values, indent=2, ascii_only=True))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("compare", DESCRIPTION, EXAMPLE, compiles=False)
    parser.add_argument(
        "runs", type=flags.path, nargs="+", metavar="DIR", help="a run or an evaluation"
    )
    parser.add_argument(
        "--split", choices=("val", "test"), default="test", help="whose evaluations are read (test)"
    )
    parser.add_argument(
        "--beam",
        type=flags.within(KEYS["search.beam"]),
        metavar="K",
        help="only evaluations at this beam (all)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--picture", type=flags.path, metavar="FILE", help=f"draw {DRAWN} to this PNG as well"
    )
    return parser.parse_args(argv)


def format_comparisons(compared: Sequence[Comparison], split: str) -> list[str]:
    """Returns the table as lines, and below it what differs between the runs.

    Args:
      compared: the first entry beside itself, then the others.
      split: whose evaluations were asked for.
    """
    head = ["x 100", "val loss", "words", "trained"]
    for name in SCORES:
        head += [name, "95% interval", "to the first"]
    rows = [head]
    remarks = []
    for one in compared:
        loss = "-" if one.val_loss is None else f"{one.val_loss:.3f}"
        row = [_name(one), loss, *_format_sizes(one)]
        for name in SCORES:
            row += _format_score(one, name)
        rows.append(row)
        remarks += [f"{_name(one)}: {remark}" for remark in _list_remarks(compared[0], one, split)]
    return [*align_columns(rows), "", *remarks]


def format_groups(groups: Sequence[Group], split: str) -> list[str]:
    """Returns the table of groups as lines, and below it what differs between them.

    Args:
      groups: the first one, then the others.
      split: whose evaluations were asked for.
    """
    head = ["x 100", "seeds", "words", "trained"]
    for name in SCORES:
        head += [name, "95% interval", "to the first", "p"]
    rows = [head]
    remarks = []
    for group in groups:
        one = group.first
        name = _name_group(group)
        row = [name, str(len(group.seeds)), *_format_sizes(one)]
        for score in SCORES:
            row += _format_group_score(group, score)
        rows.append(row)
        of_group = _list_remarks(groups[0].first, one, split)
        if one.scores is not None and len(group.runs) > 1:
            of_group.insert(0, _list_seeds(group))
        remarks += [f"{name}: {remark}" for remark in of_group]
    return [*align_columns(rows), "", *remarks, METHOD]


def _format_sizes(one: Comparison) -> list[str]:
    """Returns the cells of the vocabulary's size and of the parameters that were trained."""
    trained = "-" if one.parameters is None else f"{one.parameters:,}"
    return [f"{one.vocabulary_size:,}", trained]


def _format_group_score(group: Group, name: str) -> list[str]:
    """Returns the cells of a group's score: mean, interval, difference to the first group, p."""
    if group.scores is None:
        return ["-", "-", "-", "-"]
    score = group.scores[name]
    gain = "-"
    if score.difference is not None:
        value = round(100 * score.difference.value, 1) + 0.0
        gain = f"{value:+.1f} ({format_interval(score.difference)})"
    return [
        format_percent(score.mean.value),
        format_interval(score.mean),
        gain,
        format_p(score.corrected_p),
    ]


def _list_seeds(group: Group) -> str:
    """Returns a line with the scores of each seed."""
    assert group.scores is not None
    parts = []
    for name, score in group.scores.items():
        each = [
            f"{format_percent(value)} ({seed})"
            for seed, value in zip(group.seeds, score.each, strict=True)
        ]
        parts.append(f"{name} {', '.join(each)}")
    return f"by seed: {'; '.join(parts)}"


def _name(one: Comparison) -> str:
    return _name_run(one.run, one)


def _name_group(group: Group) -> str:
    """Names a group by the folder that holds the seeds' folders, where there is one."""
    runs = [Path(run) for run in group.runs]
    same_parent = len({run.parent for run in runs}) == 1
    named_by_seed = all(
        run.name == f"seed_{seed}" for run, seed in zip(runs, group.seeds, strict=True)
    )
    if len(runs) > 1 and same_parent and named_by_seed:
        return _name_run(str(runs[0].parent), group.first)
    return _name(group.first)


def _name_run(run: str, one: Comparison) -> str:
    return f"{run} ({Path(one.evaluation).name})" if one.evaluation else run


def _format_score(one: Comparison, name: str) -> list[str]:
    """Returns the three cells of a score: value, interval, and difference to the first entry."""
    if one.scores is None:
        return ["-", "-", "-"]
    gain = "-"
    if one.differences:
        difference = one.differences[name]
        # + 0.0, so that there is no -0.0.
        value = round(100 * difference.value, 1) + 0.0
        gain = f"{value:+.1f} ({format_interval(difference)})"
    score = one.scores[name]
    return [format_percent(score.value), format_interval(score), gain]


def _list_remarks(first: Comparison, one: Comparison, split: str) -> list[str]:
    """Returns what is to be said of an entry beside its row in the table."""
    if one.scores is None:
        command = f"python -m jaxcap.evaluate --workdir {one.run} --split {split}"
        return [f"not scored; run {command}"]
    remarks = []
    if one is first and one.signature:
        remarks.append(one.signature)
    if one.signature_differs:
        remarks.append(f"signature differs: {'; '.join(one.signature_differs)}")
    if one is not first and first.scores and one.differences is None:
        remarks.append("other images or references than the first: the scores cannot be compared")
    if not one.same_vocabulary:
        remarks.append(
            "another vocabulary than the first: the validation losses cannot be compared"
        )
    return remarks + [f"config {line}" for line in one.config]


if __name__ == "__main__":
    errors.exit_with(main)
