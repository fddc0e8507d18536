"""What all benchmarks share: rounds in turn, ratios, the machine, and the table of the results."""

import datetime
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxcap import devices

# Column -> value; lists, as the seconds of each round, are in the JSON alone.
Row = dict[str, Any]

VERSIONS = ("jax", "jaxlib", "torch", "numpy")
UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


class Ratio(NamedTuple):
    """How much of another's time one takes: the median over the rounds, and the range."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def time_in_turn(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Returns the seconds that each contestant takes in each round; they run in turn.

    Two rounds before the first are not counted: they compile, a step once for the state that it is
    given and once for the state that it returns.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 2):
        for name, run in contestants.items():
            start = clock()
            run()
            if number > 1:
                seconds[name].append(clock() - start)
    return seconds


def take_ratio(seconds: Sequence[float], of_other: Sequence[float]) -> Ratio:
    """Compares round by round, so that what slows all of a round down slows no single one."""
    ratios = sorted(one / other for one, other in zip(seconds, of_other, strict=True))
    return Ratio(statistics.median(ratios), ratios[0], ratios[-1])


def compare(seconds: Mapping[str, Sequence[float]], column: str, ours: Sequence[str]) -> list[Row]:
    """Returns a row for each contestant: its median, and what each of `ours` takes of it."""
    rows = []
    for name, of_one in seconds.items():
        row: Row = {column: name, "seconds": statistics.median(of_one)}
        for mine in ours:
            row[f"{mine} takes of it"] = take_ratio(seconds[mine], of_one)
        rows.append({**row, "rounds": list(of_one)})
    return rows


def describe_machine() -> dict[str, str]:
    """Returns what a number is worth nothing without: processor, versions and date."""
    return {
        "processor": describe_processor(),
        "versions": describe_versions(),
        "date": datetime.date.today().isoformat(),
    }


def describe_processor() -> str:
    """Names the devices, and the processor with those of its units that matter here."""
    model = platform.machine()
    flags: set[str] = set()
    if devices.CPU_INFO.exists():
        for line in devices.CPU_INFO.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            elif name.strip() == "flags":
                flags = set(value.split())
    units = " ".join(unit for unit in UNITS if unit in flags)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = f"{cores} cores of {model} ({units})"
    device = jax.devices()[0]
    return processor if device.platform == "cpu" else f"{device.device_kind}, {processor}"


def describe_versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in VERSIONS:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def format_result(result: Mapping[str, Any]) -> str:
    """Writes a result as Markdown: the command, the machine, and the table."""
    return (
        f"`{result['command']}`\n\n{result['processor']}; {result['versions']}; {result['date']}\n"
        f"\n{format_table(result['rows'])}\n"
    )


def format_table(rows: Sequence[Row]) -> str:
    """Writes rows as a Markdown table; a column that a row does not have stays empty in it."""
    columns: list[str] = []
    for row in rows:
        for column, value in row.items():
            if column not in columns and not isinstance(value, list):
                columns.append(column)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [format_cell(row.get(column, "")) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def format_cell(value: Any) -> str:
    """Writes a number of three digits or more as a whole one, others with three digits."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
