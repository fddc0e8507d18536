"""Measures the time and the peak memory of stages, each in a process of its own, as they grow.

    python -m tests.bench memory
    python -m tests.bench memory --stages plan --sizes 30000 60000 123287

`own` is the most memory that belongs to the process alone at one time, `mapped` the most that it
shares with files on disk, which the system takes back when others need it; MB, sampled from
/proc/PID/status (Linux), with what Python and its libraries take: `tests/bench/stages.py` says what
a stage does. `seconds` is of its work alone, the median of the rounds; `grows` is how many times
those of the size before, and `size grows` how many times the size is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.report import Row
from tests.xla_flags import virtual_devices

# Stage -> sizes.
SIZES = {
    "plan": (30_000, 60_000, 123_287),
    "cached epoch": (8_000, 16_000, 32_000),  # of 200 kB a photo: 1.6, 3.2 and 6.4 GB
    "scores": (5_000, 10_000, 20_000, 40_000),
    "health": (5_000, 10_000, 20_000, 40_000),
    "blind baselines": (5_000, 10_000, 20_000, 40_000),
    "nearest": (5_000, 10_000, 20_000, 40_000),
    "compare": (5_000, 10_000, 20_000, 40_000),
    "captions a photo": (1, 2, 4),
    "words": (5_000, 10_000, 20_000),
    "beam": (2, 4, 8),
    "devices": (1, 2, 4),
}
# The smallest that any stage takes.
SMALL = {"beam": (1,), "devices": (1,), "captions a photo": (1,), "words": (50,), "nearest": (10,)}
FEW = (70,)  # of the others
PAUSE = 0.02  # seconds between samples


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stages", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--sizes", type=int, nargs="+", help="in the place of each stage's own")


def run(options: argparse.Namespace) -> list[Row]:
    rows = []
    for stage in options.stages:
        sizes = options.sizes or SIZES[stage]
        if options.small:
            sizes = SMALL.get(stage, FEW)
        before: Row = {}
        for size in sizes:
            measured = [measure(stage, size) for _ in range(options.rounds)]
            row: Row = {"stage": stage, "size": size}
            for name in ("seconds", "own, MB", "mapped, MB"):
                row[name] = statistics.median(of_round[name] for of_round in measured)
            if before:
                row["grows"] = f"{row['seconds'] / before['seconds']:.2f}"
                row["size grows"] = f"{size / before['size']:.2f}"
            rows.append(row)
            before = row
    return rows


def measure(stage: str, size: int) -> dict[str, float]:
    """Runs a stage in a process of its own."""
    environment = dict(os.environ)
    if stage == "devices":
        environment.update(virtual_devices(size))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.bench.stages", stage, str(size), folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            peaks = watch(process)
            answer = process.stdout.read() if process.stdout else b""
    if process.returncode:
        raise RuntimeError(f"{stage} of {size} ended with code {process.returncode}")
    seconds = json.loads(answer.splitlines()[-1])
    return {
        "seconds": seconds,
        "own, MB": peaks["RssAnon"] / 1e6,
        "mapped, MB": peaks["RssFile"] / 1e6,
    }


def watch(process: subprocess.Popen) -> dict[str, int]:
    """Returns the peaks of a process's memory in bytes, once it has ended."""
    status = Path(f"/proc/{process.pid}/status")
    peaks = {"RssAnon": 0, "RssFile": 0}
    while process.poll() is None:
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name in peaks:
                peaks[name] = max(peaks[name], 1024 * int(value.split()[0]))
        time.sleep(PAUSE)
    return peaks
