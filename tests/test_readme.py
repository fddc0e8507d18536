"""The example of the README, run as it is printed there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    lines = [f"{line} {small}" if "jaxcap.train" in line else line for line in lines]
    (tmp_path / "home" / "Pictures").mkdir(parents=True)
    for seed, name in enumerate(names):
        photo = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(photo).save(tmp_path / "home" / "Pictures" / f"{name}.jpg")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    environment = os.environ | {
        "HOME": str(tmp_path / "home"),
        "JAXCAP_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
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
