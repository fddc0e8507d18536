"""Evaluations of small runs, and folders of photos to evaluate them on."""

import csv
import json
import re
import shutil

import numpy as np
from PIL import Image

from jaxcap import evaluate
from jaxcap.evaluation import result as results
from tests import small_run


def run_command(workdir, *arguments):
    return evaluate.main(["--workdir", str(workdir), "--beam", "2", *arguments])


def photo_folder(folder, parts):
    """Writes a user's folder of photos: a csv of captions, with the split of each."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption", "split"])
        for number, split in enumerate(parts):
            pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
            rows.writerow([f"{number}.png", f"a red circle number {number}", split])
            rows.writerow([f"{number}.png", "the blue square is there", split])
    return folder


def read(folder, name="scores.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def from_file(folder):
    """The result that scores.json holds."""
    return results.from_json((folder / "scores.json").read_text(encoding="utf-8"))


def evaluation_of(workdir, folder, how="test-beam2"):
    """The folder of the only evaluation of the photos in `folder`, whose name ends in a digest of
    them.
    """
    (found,) = (workdir / "evaluation").glob(
        f"{how}-{re.sub(r'[^a-z]', '_', folder.name)}-????????"
    )
    return found


def of_a_folder(made_run, workdir, folder):
    """Copies a run, as if it had been trained on a folder of photos."""
    shutil.copytree(made_run, workdir, ignore=shutil.ignore_patterns("evaluation"))
    config = read(workdir, "config.json")
    config["data"] |= {"name": "folder", "dir": str(folder)}
    (workdir / "config.json").write_text(json.dumps(config))
    return workdir


def train_on(workdir, folder, **overrides):
    """Makes a run on a folder of photos, as `small_run.make` does."""
    return small_run.make(workdir, data__name="folder", data__dir=folder, **overrides)
