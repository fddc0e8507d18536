"""What the machine is: versions, devices, memory, disks, and the data sets that are found."""

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import jaxcap
from jaxcap import devices
from jaxcap.data import datasets, locations
from jaxcap.data.source import Section
from jaxcap.io import plain
from jaxcap.io.files import cache_root

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
SEARCHED = ("flickr8k", "flickr30k", "coco")  # the data sets with usual places


def describe_machine(data: Section) -> list[str]:
    """Returns the lines that describe the machine.

    Args:
      data: a section `data` of a config. Its folder is that of the data set it names; the others
        are looked for in their usual places.
    """
    data_sets = []
    for name in SEARCHED:
        folder = data["dir"] if name == data["name"] else ""
        data_sets.append(describe_data({**data, "name": name, "dir": folder}))
    return [
        f"jaxcap {jaxcap.__version__}, Python {platform.python_version()}, {platform.platform()}",
        ", ".join(f"{name} {_find_version(name)}" for name in PACKAGES),
        f"devices: {devices.describe()}",
        f"processors: {os.cpu_count()}; memory: {_describe_memory()}",
        f"disk: {_describe_disk(Path.cwd())}; {_describe_disk(cache_root())}",
        *data_sets,
    ]


def describe_data(section: Section) -> str:
    """Returns one line on where the raw files of a data set lie.

    Args:
      section: the section `data` that names it.
    """
    name = section["name"]
    roots = locations.list_roots(name, section["dir"])
    for root in roots:
        # Random splits, so that a folder counts that lacks the published lists.
        if datasets.is_layout({**section, "dir": str(root), "splits": "random"}):
            return f"data: {name} in {plain.line(root)}"
    looked = ""
    if roots:
        looked = f" in {plain.list_some([plain.line(root) for root in roots])}"
    return f"data: {name} not found{looked}: data.dir names its folder"


def _find_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "without a version"


def _describe_memory() -> str:
    memory = devices.read_machine_memory()
    if memory is None:
        return "unknown"
    total = plain.format_bytes(memory.total)
    return f"{total}, {plain.format_bytes(memory.free)} of it free"


def _describe_disk(folder: Path) -> str:
    """Returns how much is free where a folder is, or will be made."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return f"{plain.format_bytes(shutil.disk_usage(place).free)} free in {plain.line(folder)}"
