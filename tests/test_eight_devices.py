"""The commands write on eight devices what they write on one.

Words, and all that follows from them, are equal. Other numbers are equal but for rounding: a device
that has an eighth of the photos adds up in another order.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests import small_run
from tests.xla_flags import virtual_devices

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
COUNTS = (1, 8)
RULES = (
    "--min-length",
    "4",
    "--no-repeat-ngram",
    "1",
)  # untrained weights would write <end> and little else
TRAINING = small_run.SMALL | {
    "head.dropout": 0.2,
    "regions.dropout": 0.2,
    "train.epochs": 2,
    "train.captions": "random",
    "train.select": "CIDEr-D",
    "self_critical.epochs": 1,
    "show.tensorboard_every": 1,
}
# Eleven photos do not divide by eight, and three are fewer than eight. Ten in calls of five are two
# calls.
TUNING = TRAINING | {"encoder.rates": "layer2_*:0.5@2,*:0"}
COMMANDS = {
    "train": (
        *("train", "--config", str(small_run.QUICKSTART), "--workdir", "new"),
        *(f"--config.{key}={value}" for key, value in TRAINING.items()),
    ),
    "tune": (
        *("train", "--config", str(small_run.QUICKSTART), "--workdir", "tuned"),
        *(f"--config.{key}={value}" for key, value in TUNING.items()),
    ),
    "evaluate": (
        "evaluate",
        "--workdir",
        "trained",
        "--split",
        "val",
        "--beam",
        "1",
        "--batch-size",
        "5",
        *RULES,
    ),
    "evaluate cached": (
        "evaluate",
        "--workdir",
        "frozen",
        "--split",
        "test",
        "--beam",
        "3",
        *RULES,
    ),
    "beam": ("caption", "--workdir", "trained", "photos", "--beam", "3", *RULES),
    "greedy": (
        "caption",
        "--workdir",
        "trained",
        "photos",
        "--beam",
        "1",
        "--json",
        "--attention",
        "drawn",
        *RULES,
    ),
    "sampling": (
        "caption",
        "--workdir",
        "frozen",
        "photos",
        "--search",
        "sample",
        "--batch-size",
        "5",
        "--json",
    ),
    "evaluate sampling": (
        "evaluate",
        "--workdir",
        "frozen",
        "--split",
        "val",
        "--search",
        "sample",
        "--batch-size",
        "5",
        *RULES,
    ),
    "ensemble": (
        "caption",
        "--workdir",
        "frozen",
        "gru",
        "photos",
        "--beam",
        "3",
        "--json",
        *RULES,
    ),
    "few": (
        "caption",
        "--workdir",
        "frozen",
        *(f"photos/{n}.png" for n in range(3)),
        "--beam",
        "2",
        "--json",
        *RULES,
    ),
}


# One process for all commands, each as if it were the only one: most of a command's time is the
# start of Python and the imports.
PROGRAM = """
import contextlib, importlib, io, json, sys
from jaxcap import errors

ended = {}
for name, (command, *arguments) in json.loads(sys.argv[1]).items():
    sys.argv = [f"jaxcap.{command}", *arguments]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            errors.exit_with(importlib.import_module(f"jaxcap.{command}").main)
        except SystemExit as end:
            code = end.code
    ended[name] = {"returncode": code, "stdout": out.getvalue(), "stderr": err.getvalue()}
print(json.dumps(ended))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """For each number of devices, the folder that all commands have run in, how each of them
    ended, and what came past Python on stderr.
    """
    prepared = tmp_path_factory.mktemp("prepared")
    prepare(prepared)
    found = []
    for count in COUNTS:
        folder = tmp_path_factory.mktemp("devices") / "runs"
        shutil.copytree(prepared, folder)
        done = run(folder, count)
        ended = {
            name: SimpleNamespace(**of_one) for name, of_one in json.loads(done.stdout).items()
        }
        found.append(SimpleNamespace(folder=folder, ended=ended, stderr=done.stderr))
    return found


def prepare(folder):
    """Makes runs, one whose encoder was trained along and two with a frozen one, and photos to
    caption.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(folder / "cache"))
        for name, rates in (("trained", "*:1"), ("frozen", "*:0")):
            small_run.make(folder / name, data__scenes=110, encoder__rates=rates)
        small_run.make(folder / "gru", data__scenes=110, encoder__rates="*:0", decoder__cell="gru")
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(11):
        blocks = random.integers(20, 236, (2, 2, 3)).repeat(20, axis=0).repeat(25, axis=1)
        pixels = blocks + random.integers(-20, 20, blocks.shape)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / f"{number}.png")


def run(folder, count):
    """Runs the commands in `folder` on `count` devices; a deadlock ends in TimeoutExpired."""
    here = {"JAXCAP_CACHE": "cache", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(COMMANDS)],
        env=os.environ | virtual_devices(count) | here,
        cwd=folder,
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=1200,
    )


def read(folder, name):
    """The values of a file of JSON or of JSON lines."""
    text = (folder / name).read_text(encoding="utf-8")
    return (
        [json.loads(line) for line in text.splitlines()] if name.endswith("l") else json.loads(text)
    )


def assert_equal(one, eight, **tolerance):
    """Asserts that two values of JSON are equal but for the rounding of numbers that are not
    whole.
    """
    if isinstance(one, dict):
        assert one.keys() == eight.keys()
        one = list(one.values())
        eight = list(eight.values())
    if isinstance(one, list):
        for value, other in zip(one, eight, strict=True):
            assert_equal(value, other, **tolerance)
    elif isinstance(one, float):
        assert eight == pytest.approx(one, **tolerance)
    else:
        assert one == eight


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_end_well_and_say_nothing_else(results, name):
    """What is said on stderr begins with the same words: no warning comes of having several
    devices.
    """
    one, eight = (result.ended[name] for result in results)
    assert (one.returncode, eight.returncode) == (0, 0), eight.stderr
    for pair in ((one, eight), results):  # from Python, and past it
        labels = [{line.split(":")[0] for line in said.stderr.splitlines()} for said in pair]
        assert labels[0] == labels[1]


@pytest.mark.parametrize(("name", "workdir"), [("train", "new"), ("tune", "tuned")])
def test_training_gives_the_same_numbers_and_captions(results, name, workdir):
    """With dropout, validation, and an epoch of self-critical training.

    Of the whole encoder, and of its last stage from the second epoch on, on cached grids.
    """
    told = []
    for result, count in zip(results, COUNTS, strict=True):
        ended = result.ended[name]
        assert f"devices: {count} x " in ended.stdout
        lines = (ended.stdout + ended.stderr).splitlines()
        told.append([line for line in lines if line.startswith(("  ", "best", "3 held-out"))])
    assert (
        told[0] == told[1] and len(told[0]) == 3 * 3 + 1 + 3 + 1
    )  # photos an epoch, and what the run ends with
    one, eight = (read(result.folder / workdir, "metrics.jsonl") for result in results)
    assert [record["split"] for record in one].count("val") == 3 and "reward" in one[-2]
    assert_equal(one, eight, rel=1e-5)


@pytest.mark.parametrize(
    "where",
    [
        "trained/evaluation/val-beam1",
        "frozen/evaluation/test-beam3",
        "frozen/evaluation/val-sample",
    ],
)
def test_evaluation_gives_the_same_captions_and_scores(results, where):
    one, eight = (result.folder / f"{where}-min4-ngram1" for result in results)
    captions = read(one, "captions.json")
    assert len({pair["caption"] for pair in captions}) > 2
    assert read(eight, "captions.json") == captions
    images = [read(folder, "images.jsonl") for folder in (one, eight)]
    # Sums over up to twelve words, each with its own rounding.
    assert_equal(*([image.pop("log_prob") for image in part] for part in images), rel=1e-5)
    assert images[0] == images[1]
    scores = [read(folder, "scores.json") for folder in (one, eight)]
    assert_equal(*(part.pop("attention") for part in scores), abs=1e-5)
    homes = [part["run"].pop("folder") for part in scores]
    assert homes == [str((folder / ".." / "..").resolve()) for folder in (one, eight)]
    assert scores[0] == scores[1]
    assert (eight / "report.html").stat().st_size > 1000


def test_beam_search_prints_the_same_lines(results):
    one, eight = (result.ended["beam"].stdout for result in results)
    assert len({line.split(": ")[1] for line in one.splitlines()}) > 3
    assert one == eight


@pytest.mark.parametrize(
    ("name", "photos"), [("greedy", 11), ("sampling", 11), ("ensemble", 11), ("few", 3)]
)
def test_json_tells_the_same(results, name, photos):
    one, eight = (json.loads(result.ended[name].stdout) for result in results)
    assert len(one) == photos and len({answer["caption"] for answer in one}) > 1
    assert_equal(one, eight, abs=2e-4)  # printed with four digits


def test_attention_is_drawn_alike(results):
    drawn = [sorted((result.folder / "drawn").iterdir()) for result in results]
    assert [path.name for path in drawn[0]] == [path.name for path in drawn[1]]
    assert len(drawn[0]) == 2 * 11
    for paths in zip(*drawn, strict=True):
        one, eight = (np.asarray(Image.open(path).convert("RGB"), np.int16) for path in paths)
        np.testing.assert_allclose(eight, one, atol=1)
