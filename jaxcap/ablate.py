"""Runs a grid of arms by seeds: `python -m jaxcap.ablate --config experiments/ablation_NAME.py`.

Running the same command again goes on with what is not finished.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcap import errors, flags
from jaxcap.ablation import grid, plan, record
from jaxcap.ablation.cells import run_cells
from jaxcap.ablation.grid import Ablation
from jaxcap.ablation.machine import describe_versions
from jaxcap.ablation.plan import Cell
from jaxcap.ablation.table import JSON, MARKDOWN, Table, format_markdown, make_table, write_table
from jaxcap.allocation import keep_freed_memory
from jaxcap.experiment import config as configs
from jaxcap.experiment import ranges
from jaxcap.experiment.catalog import find_ablation, list_ablations
from jaxcap.figures.intervals import make_line, write_intervals
from jaxcap.io import locks, plain
from jaxcap.io.compiled import keep_compiled
from jaxcap.io.progress import format_time

DESCRIPTION = """Train and score every arm of an ablation with every seed, and set the arms side by
side. Finished cells are skipped, so the same command again goes on; a cell that fails is named, the
others go on, and the exit code is 2 at the end.

Written to DIR:
  ARM/seed_K     the workdir of each run, with its evaluation
  table.md       each arm: mean over seeds, interval over seeds and photos together, difference to
                 the first arm with p (corrected by Holm), parameters, seconds
  table.json     the same as numbers
  table.png      the same as a picture"""
EXAMPLE = """examples:
  %(prog)s --config ablation_decoder --config.data.dir=DIR --dry-run
  %(prog)s --config ablation_decoder --config.data.dir=DIR --arms recipe,gru --seeds 0,1
  %(prog)s --config ablation_words --config.embedding.path=FILE \\
      --arm glove_frozen:embedding.path=GLOVE"""
PICTURE = "table.png"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    options, typed = parse(arguments)
    whole = _load(options)
    ablation = grid.choose_arms(whole, options.arms)
    arms, left_out = grid.resolve_arms(ablation, options.config.parent, typed)
    folder = options.workdir or Path("checkpoints") / options.config.stem
    known = record.open_grid(folder, ablation, arms)
    cells = plan.list_cells(known, arms, ablation.seeds)
    print("\n".join([*_describe(folder, ablation, cells), *left_out]), flush=True)
    if options.dry_run:
        return 0
    keep_freed_memory()
    keep_compiled()
    with locks.hold_folder(folder):
        record.write_grid(folder, known)
        code = run_cells(folder, cells, ablation.split, ablation.metric, together=options.together)
        names = [arm.name for arm in whole.arms if arm.name in known.arms]
        command = f"{flags.name_program('ablate')} {shlex.join(arguments)}"
        table = make_table(
            folder,
            record.read_state(folder),
            names,
            ablation.metric,
            versions=describe_versions(),
            command=command,
        )
        if table is not None:
            _write(folder, table)
    return code


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Reads the command line into its options and the `--config.KEY` overrides."""
    parser = flags.Parser("ablate", DESCRIPTION, EXAMPLE)

    def find(text: str) -> Path:
        flags.path(text)
        return find_ablation(text)

    names = ", ".join(list_ablations())
    parser.add_argument(
        "--config",
        type=find,
        required=True,
        metavar="NAME",
        help=f"an ablation of jaxcap's ({names}) or the path of a file",
    )
    parser.add_argument(
        "--workdir",
        type=flags.path,
        metavar="DIR",
        help="where the grid is kept (checkpoints/NAME)",
    )
    parser.add_argument(
        "--seeds",
        type=flags.within(ranges.Several(ranges.SEED)),
        metavar="K,...",
        help="instead of the ablation's",
    )
    parser.add_argument(
        "--arms",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME,...",
        help="run these alone; the table has all that are finished",
    )
    parser.add_argument(
        "--arm",
        action="append",
        default=[],
        metavar="NAME:KEY=VALUE",
        help="overrides a key of one arm",
    )
    parser.add_argument(
        "--config.KEY",
        dest="override",
        metavar="VALUE",
        help="overrides a key of the base for all arms that do not set it themselves",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="train the seeds of an arm side by side as one program, which on a GPU or TPU takes "
        "less time than one after the other; each is the run that it would be alone",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done, and write nothing"
    )
    overrides, others = configs.split(argv)
    return parser.parse_args(others), configs.read_overrides(overrides)


def _load(options: argparse.Namespace) -> Ablation:
    """Loads the ablation with the seeds and the overrides of the command line."""
    ablation = grid.load_ablation(options.config)
    if options.seeds:
        ablation = dataclasses.replace(ablation, seeds=options.seeds)
    grid.check_ablation(ablation)
    return grid.add_overrides(ablation, options.arm)


def _describe(folder: Path, ablation: Ablation, cells: Sequence[Cell]) -> list[str]:
    """Returns what is to be done, and what it costs as far as finished cells tell."""
    state = record.read_state(folder)
    left = [cell for cell in cells if not plan.is_finished(folder, state, cell)]
    trainings = {cell.training for cell in left}
    trainings = {name for name in trainings if not plan.is_trained(folder, state, name)}
    lines = []
    run = {cell.arm for cell in cells}
    for arm in ablation.arms:
        if arm.name not in run:
            continue
        changes = [f"{key}={value}" for key, value in arm.overrides.items()]
        lines.append(f"{arm.name}: {', '.join(changes) or 'the base as it is'}")
    lines.append(
        f"{len(cells)} cells of seeds {', '.join(map(str, ablation.seeds))} in "
        f"{plain.line(folder)}: {len(cells) - len(left)} finished, {len(trainings)} to train, "
        f"{len(left)} to score"
    )
    seconds = plan.estimate_seconds(folder, state, cells)
    if seconds is None:
        lines.append(
            "cost: not known before the first cell is finished; run that alone with "
            f"--arms {cells[0].arm} --seeds {cells[0].seed}"
        )
    elif left:
        lines.append(
            f"cost: about {format_time(seconds)}, reckoned from the finished cells; features that "
            "none of them computed come on top"
        )
    return lines


def _write(folder: Path, table: Table) -> None:
    """Writes and prints the table."""
    write_table(folder, table)
    lines = [make_line(row.arm, row.score.mean, row.score.each) for row in table.rows]
    write_intervals(
        lines,
        folder / PICTURE,
        label=f"{table.metric} x 100, mean over seeds with its {table.level:.0%} interval",
        note=table.data,
    )
    print(f"\n{format_markdown(table)}")
    for name in (MARKDOWN, JSON, PICTURE):
        print(f"written to {plain.line(folder / name)}", file=sys.stderr)


if __name__ == "__main__":
    errors.exit_with(main)
