"""Checks the machine, a set-up, or what came of runs: `python -m jaxcap.doctor`."""

import argparse
import sys
from collections.abc import Sequence

from jaxcap import cache, errors, flags
from jaxcap.checks.arithmetic import OPERATIONS, check_arithmetic_once
from jaxcap.checks.finding import Finding
from jaxcap.checks.finished import check_run, compare_runs
from jaxcap.checks.machine import describe_machine
from jaxcap.checks.setup import check_setup
from jaxcap.errors import UserError
from jaxcap.experiment import build, defaults
from jaxcap.experiment import config as configs
from jaxcap.experiment.check import check
from jaxcap.experiment.kinds import CAPTIONER
from jaxcap.io import plain
from jaxcap.io.compiled import compiled_root, keep_compiled
from jaxcap.io.files import cache_root

DESCRIPTION = """Look for what makes results worth less than they look. Without a flag: the machine
(versions, devices, memory, disks, caches, data) and a self-test of its arithmetic, with exit code 2
when that fails. Each fault is a line: its name, what was found, what it means, how to mend it.

  --config   also the set-up of an experiment: its splits, captions, marks, schedule, loss, vectors
             and encoder
  --workdir  a run instead: its losses, captions of up to 200 validation photos, its evaluations;
             of several runs also whether their scores differ from the first one's

A run does the same by itself: its key `doctor` is warn, error or off. Where it is error, any fault
of a set-up or a run means exit code 2."""
EXAMPLE = """examples:
  %(prog)s
  %(prog)s --config quickstart --config.doctor=error
  %(prog)s --workdir checkpoints/quickstart --workdir checkpoints/short"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    keep_compiled()
    codes = []
    if options.config is not None or not options.workdir:
        codes.append(_examine_machine(options))
    if options.workdir:
        codes.append(_examine_runs(options))
    return max(codes)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line.

    Returns:
      The options; `config` is the resolved config of the experiment that was named, or None.
    """
    parser = flags.Parser("doctor", DESCRIPTION, EXAMPLE)
    flags.add_experiment(parser, CAPTIONER, required=False)
    parser.add_argument(
        "--workdir",
        type=flags.path,
        action="append",
        default=[],
        metavar="DIR",
        help="a run's folder; several are compared with the first",
    )
    overrides, others = configs.split(sys.argv[1:] if argv is None else argv)
    options = parser.parse_args(others)
    if overrides and options.config is None:
        raise UserError(
            f"{overrides[0]} overrides a key of an experiment, and none is named: add --config NAME"
        )
    options.experiment = None
    if options.config is not None:
        options.experiment = options.config.stem
        options.config = configs.load(options.config, overrides)
    return options


def _examine_machine(options: argparse.Namespace) -> int:
    """Prints what the machine is, tests its arithmetic, and checks the set-up that was named."""
    config = options.config
    if config is not None:
        check(config)
    section = defaults.data() if config is None else dict(config.data)
    print("\n".join([*describe_machine(section), _describe_cache()]), flush=True)
    findings = list(check_arithmetic_once())
    if not findings:
        print(f"arithmetic: {len(OPERATIONS)} compiled operations agree with NumPy", flush=True)
    if config is None:
        _print_findings(findings, "this machine")
        return 2 if findings else 0
    experiment = build.build_experiment(config)
    print("\n".join(build.describe(experiment)), flush=True)
    findings += check_setup(experiment)
    _print_findings(findings, f"this machine and the set-up of {options.experiment}")
    return 2 if findings and config.doctor == "error" else 0


def _examine_runs(options: argparse.Namespace) -> int:
    """Prints what is wrong with each run, and with what several runs seem to show."""
    code = 0
    first = options.workdir[0]
    for folder in options.workdir:
        reports = [check_run(folder)]
        if folder != first:
            reports.append(compare_runs(first, folder))
        findings = []
        for report in reports:
            findings += report.findings
            for note in report.notes:
                print(note)
        _print_findings(findings, plain.line(folder))
        if findings and reports[0].is_error:
            code = 2
    return code


def _print_findings(findings: Sequence[Finding], place: str) -> None:
    for finding in findings:
        print(finding)
    count = "1 fault" if len(findings) == 1 else f"{len(findings) or 'no'} faults"
    print(f"{count} found in {place}", flush=True)


def _describe_cache() -> str:
    """Returns one line on the caches and their sizes."""
    root = cache_root()
    entries = cache.list_entries(root / "prepared", root / "features", compiled_root())
    parts = []
    for kind in ("prepared", "features"):
        sizes = [entry.size for entry in entries if entry.name.startswith(f"{kind}/")]
        parts.append(f"{len(sizes):,} {kind} ({plain.format_bytes(sum(sizes))})")
    return f"cache: {', '.join(parts)} in {plain.line(root)}; jaxcap.cache lists them"


if __name__ == "__main__":
    errors.exit_with(main)
