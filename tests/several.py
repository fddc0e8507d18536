"""Several processes on this machine that train together, each with virtual devices of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.xla_flags import virtual_devices

ROOT = Path(__file__).parents[1]


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def place(index: int, processes: int, port: int, wait: int = 120) -> list[str]:
    """The flags of one of some processes on this machine."""
    flags = {"coordinator": f"localhost:{port}", "processes": processes, "process": index}
    return [f"--{name}={value}" for name, value in {**flags, "wait": wait}.items()]


def find_port() -> int:
    """A port that is free now."""
    with socket.socket() as trial:
        trial.bind(("", 0))
        return trial.getsockname()[1]


def start(command: Sequence[str], devices: int = 1, **environment: str) -> subprocess.Popen:
    """Starts Python with some arguments."""
    return subprocess.Popen(
        [sys.executable, *command],
        env=os.environ | virtual_devices(devices) | {"PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def wait(processes: Sequence[subprocess.Popen], seconds: float = 300) -> list[Ended]:
    """Waits until all have ended; a deadlock ends in TimeoutExpired."""
    ended = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=seconds)
            ended.append(Ended(process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
    return ended


def run(command: Sequence[str], count: int, devices: int = 1, **environment: str) -> list[Ended]:
    """Runs a program that takes the flags of `place` in some processes together."""
    port = find_port()
    started = []
    for index in range(count):
        flags = place(index, count, port)
        started.append(start([*command, *flags], devices, **environment))
    return wait(started)
