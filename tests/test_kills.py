"""A run that is killed, at whatever moment and how often, and resumed ends as one that was not."""

import json
import random
import signal
import time

import orbax.checkpoint as ocp
import pytest

from jaxcap.training import checkpoint
from tests import kills, small_run

OPTIONS = small_run.SMALL | {
    "doctor": "off",
    "encoder.rates": "*:0",
    "head.dropout": 0.2,
    "train.epochs": 2,
    "train.select": "CIDEr-D",
    "train.checkpoint_every": 2,
    "self_critical.epochs": 2,
    "self_critical.captions": 2,
    "show.captions": 1,
    "show.tensorboard_every": 1,
}
# Three steps an epoch; each kill meets a run that goes on from the last one.
MOMENTS = [
    ("file", 3, False),  # while the workdir is made
    ("step", 2, False),
    ("save", 1, True),  # while it is written
    ("samples", 1, False),
    ("samples", 1, True),
    ("validation", 1, True),
    ("save", 2, True),
    ("step", 6, True),  # learning from its own captions from here on
    ("file", 25, False),
    ("samples", 1, True),
]


def arguments(folder):
    return small_run.arguments(folder, OPTIONS)


@pytest.fixture(scope="module")
def whole(session_cache, tmp_path_factory):
    """What a run leaves that nothing disturbed, and how many seconds it took."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    assert kills.run(arguments(folder), session_cache) == 0
    return left(folder), time.monotonic() - began


def left(folder):
    """The files of a workdir but TensorBoard's, checkpoints as what they stand for."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in ("tensorboard", "checkpoints"):
            found[str(name)] = path.read_bytes()
    for path in (folder / "checkpoints").iterdir():
        found[f"checkpoints/{path.name}"] = path.read_bytes() if path.is_file() else None
    for path in (folder / "checkpoints" / "steps").iterdir():
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler("arrays", "progress")) as checkpointer:
            items = {"arrays": ocp.args.StandardRestore(), "progress": ocp.args.JsonRestore()}
            saved = checkpointer.restore(path, args=ocp.args.Composite(**items))
        progress = {name: value for name, value in saved.progress.items() if name != "checksum"}
        assert checkpoint.compute_checksum(saved.arrays, progress) == saved.progress["checksum"]
        metrics = path / "metrics" / "metrics"
        found[f"step {path.name}"] = (
            saved.progress,
            json.loads(metrics.read_text()) if metrics.exists() else None,
        )
    return found


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name]] == []


@pytest.mark.slow
def test_kills_at_chosen_moments_change_nothing(whole, session_cache, tmp_path):
    folder = tmp_path / "run"
    ends = [kills.run(arguments(folder), session_cache, moment) for moment in MOMENTS]
    assert ends == [-signal.SIGKILL] * len(MOMENTS)
    assert kills.run(arguments(folder), session_cache) == 0
    assert_same(left(folder), whole[0])


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(whole, session_cache, tmp_path):
    folder = tmp_path / "run"
    rng = random.Random(0)
    for _ in range(2):
        kills.run(
            arguments(folder), session_cache, ("file", rng.randrange(1, 80), rng.random() < 0.5)
        )
        kills.run(arguments(folder), session_cache, seconds=rng.uniform(0.3, 1) * whole[1])
    assert kills.run(arguments(folder), session_cache) == 0
    assert_same(left(folder), whole[0])
