"""The machine and the versions that a table of an ablation names."""

import os
import platform
from pathlib import Path

import flax
import jax

import jaxcap
from jaxcap import devices

_CPU_INFO = Path("/proc/cpuinfo")  # Linux


def describe_machine() -> str:
    """Returns a line that names the devices and the processor."""
    return f"{devices.describe()}, {os.cpu_count()} cores of {_name_processor()}"


def describe_versions() -> str:
    """Returns a line with the versions that results depend on."""
    return (
        f"jaxcap {jaxcap.__version__}, jax {jax.__version__}, flax {flax.__version__}, "
        f"Python {platform.python_version()}"
    )


def _name_processor() -> str:
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()
