"""Times how long a command is waited for before it does its work.

    python -m tests.bench start --rounds 5

Each command runs in a process of its own, with a cache folder of this benchmark's alone, in turn
over several rounds. No data is needed: the photos are scenes, and the ResNet50 at 224 pixels has
random weights.

    import jax        as a program that imports nothing else
    import MODULE     the same of a command of jaxcap's, jax included
    MODULE --help     until the process ends
    caption, first    `jaxcap caption` of one photo until the process ends; nothing is compiled yet
    caption, warm     the same with what the first one has compiled
    train, first      `jaxcap train` until the numbers of its first step are written, which is when
                      the second one has begun; scenes, features and programs are made
    train, warm       the same with those at hand, in a new workdir
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

from tests import small_run
from tests.bench.report import Row
from tests.small_run import QUICKSTART

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "evaluate", "caption", "compare", "cache", "doctor")
# ResNet50, and a decoder of a usual width.
MODEL = {
    "images.size": 224,
    "encoder.stage_sizes": "(3, 4, 6, 3)",
    "encoder.width": 64,
    "encoder.levels": 1,
    "encoder.rates": "('*:0',)",
    "embedding.dim": 300,
    "decoder.hidden": 512,
    "decoder.attention": 256,
    "regions.embedding": 512,
}
RUN = {"data.scenes": 60, "train.batch_size": 8, "show.tensorboard_every": 1}
LONGEST = 600  # seconds that anything may take


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--commands", nargs="*", default=COMMANDS, help="to import and ask for help"
    )


def run(options: argparse.Namespace) -> list[Row]:
    model = {} if options.small else MODEL
    commands = options.commands[:1] if options.small else options.commands
    kinds = ("first",) if options.small else ("first", "warm")
    seconds: dict[str, list[float]] = {}

    def add(what: str, taken: float) -> None:
        seconds.setdefault(what, []).append(taken)

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        cache = place / "cache"
        environment = dict(os.environ) if options.small else make_environment()
        environment |= {"JAXCAP_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
        workdir = make_run(place / "run", cache, model)
        photo = draw_photo(place / "photo.png")
        caption = ["-m", "jaxcap.caption", "--workdir", str(workdir), str(photo)]
        for _ in range(options.rounds):
            for module in ("jax", *(f"jaxcap.{command}" for command in commands)):
                add(f"import {module}", time_process(["-c", f"import {module}"], environment))
            for command in commands:
                taken = time_process(["-m", f"jaxcap.{command}", "--help"], environment)
                add(f"{command} --help", taken)
            shutil.rmtree(cache, ignore_errors=True)
            for kind in kinds:
                add(f"caption, {kind}", time_process(caption, environment))
            shutil.rmtree(cache, ignore_errors=True)
            for kind in kinds:
                add(f"train, {kind}", time_first_step(place / "new", model | RUN, environment))
    rows = []
    for what, taken in seconds.items():
        spread = f"{min(taken):.2f} to {max(taken):.2f}"
        rows.append({"what": what, "seconds": statistics.median(taken), "spread": spread})
    return rows


def make_environment() -> dict[str, str]:
    """Returns the variables of a user who has set none of JAX's or Python's."""
    ours = ("JAX_COMPILATION_", "JAX_PERSISTENT_", "XLA_FLAGS", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def make_run(folder: Path, cache: Path, model: dict) -> Path:
    """Makes a run that looks trained."""
    with mock.patch.dict(os.environ, {"JAXCAP_CACHE": str(cache)}):
        return small_run.make(folder, **model)


def draw_photo(path: Path) -> Path:
    """Draws a photo of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def time_process(arguments: list[str], environment: dict[str, str]) -> float:
    """Runs Python with arguments and returns how long it took, in seconds."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        check=True,
        capture_output=True,
        timeout=LONGEST,
    )
    return time.perf_counter() - start


def time_first_step(workdir: Path, values: dict, environment: dict[str, str]) -> float:
    """Begins to train and returns how many seconds passed until a step's numbers were written."""
    shutil.rmtree(workdir, ignore_errors=True)
    command = [sys.executable, "-m", "jaxcap.train", "--config", str(QUICKSTART)]
    command += ["--workdir", str(workdir)]
    command += [f"--config.{key}={value}" for key, value in values.items()]
    start = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        metrics = workdir / "metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None or time.perf_counter() - start > LONGEST:
                process.kill()
                raise RuntimeError(f"no step was taken by {' '.join(command)}")
            time.sleep(0.01)
        taken = time.perf_counter() - start
        process.kill()
    return taken
