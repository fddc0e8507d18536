"""What the pages for people say: links lead somewhere, commands parse, the example runs."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxcap
from jaxcap.__main__ import COMMANDS
from jaxcap.experiment.catalog import list_experiments

ROOT = Path(__file__).parents[1]
# Random weights and small sizes in the place of a download and an hour: nothing that the lines
# themselves say.
SMALL = {
    "encoder.weights": "random",
    "encoder.stage_sizes": "(1,1)",
    "encoder.width": 4,
    "images.size": 32,
    "images.resize": 36,
    "embedding.dim": 8,
    "decoder.hidden": 8,
    "decoder.attention": 8,
    "regions.embedding": 8,
    "train.epochs": 1,
    "self_critical.epochs": 1,
}


PAGES = {
    name: ROOT / name
    for name in (
        "README.md",
        "experiments/README.md",
        ".github/CONTRIBUTING.md",
        ".github/CHANGELOG.md",
    )
}
# What stands for the user's own in a command, and optional parts.
FILLED = {"[": "", "]": "", "...": "", "NAME": "quickstart", "KEY=VALUE": "seed=1", " K ": " 3 "}


def read(name):
    return PAGES[name].read_text(encoding="utf-8")


def links(text):
    """The places that a page's links and pictures name, but for the web's."""
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not link.startswith(("http:", "https:", "#", "mailto:"))]


def commands(text):
    """The arguments of every `jaxcap` command of a page, in its blocks and in its lines."""
    text = text.replace("\\\n", " ")
    found = []
    for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            found += re.findall(r"(?:^|!|&& |-v )jaxcap ([a-z]+ .*|--.*)", line)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found += re.findall(r"`(?:python -m )?jaxcap ([a-z]+ [^`]+)`", prose)
    return [fill(line) for line in found]


def fill(line):
    line = line.partition(" #")[0]
    for placeholder, value in FILLED.items():
        line = line.replace(placeholder, value)
    return shlex.split(line)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file(name):
    folder = PAGES[name].parent
    broken = [link for link in links(read(name)) if not (folder / link.partition("#")[0]).exists()]
    assert broken == []


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, arguments) for name in PAGES for arguments in commands(read(name))],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_every_command_parses(name, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = importlib.import_module(f"jaxcap.{arguments[0]}")
    command.parse(arguments[1:])


def test_commands_are_found():
    assert {arguments[0] for arguments in commands(read("README.md"))} == set(COMMANDS)
    text = "```\n!jaxcap train --config NAME [--workdir DIR] \\\n    --config.KEY=VALUE\n```\n"
    assert commands(text + "`jaxcap compare DIR`") == [
        ["train", "--config", "quickstart", "--workdir", "DIR", "--config.seed=1"],
        ["compare", "DIR"],
    ]


def test_the_readme_stays_short():
    lines = read("README.md").splitlines()
    assert len(lines) < 200
    prose = [line for line in lines if not line.startswith(("|", "!", "for "))]
    assert [line for line in prose if len(line) > 100] == []


def test_every_experiment_is_described():
    text = read("experiments/README.md")
    assert [name for name in list_experiments() if f"[`{name}.py`]({name}.py)" not in text] == []


def test_every_page_speaks_of_this_version():
    assert f"\nversion: {jaxcap.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(r"\n## ([\d.]+)", read(".github/CHANGELOG.md"))[1] == jaxcap.__version__


def test_the_drawing_is_well_formed_and_has_a_title():
    drawing = ET.parse(ROOT / ".github" / "model.svg").getroot()
    assert drawing.find("{http://www.w3.org/2000/svg}title").text


def example():
    """The lines under "Your own photos in five lines"."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"Your own photos in five lines:\n\n```\n(.*?)```", text, re.DOTALL).group(1)
    return block.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("names", [["two dogs run, and bark", "caf\u00e9", "IMG_0001"]])
def test_ones_own_photos_in_five_lines(tmp_path, names):
    lines = example()
    assert len(lines) == 5
    small = " ".join(f"'--config.{key}={value}'" for key, value in SMALL.items())
    lines = [f"{line} {small}" if "jaxcap train" in line else line for line in lines]
    (tmp_path / "home" / "Pictures").mkdir(parents=True)
    for seed, name in enumerate(names):
        photo = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(photo).save(tmp_path / "home" / "Pictures" / f"{name}.jpg")
    script = tmp_path / "bin" / "jaxcap"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jaxcap "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    environment = os.environ | {
        "HOME": str(tmp_path / "home"),
        "JAXCAP_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(script.parent), os.environ["PATH"]]),
    }
    ran = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    captioned = [
        line.partition(":")[0] for line in ran.stdout.splitlines() if line.startswith("mine/")
    ]
    assert captioned == sorted(f"mine/{name}.jpg" for name in names)
