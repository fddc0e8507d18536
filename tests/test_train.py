"""The training command from end to end on a few small scenes: what it leaves behind, resuming, and wrong input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxcap import evaluate, train, workdir, writers
from jaxcap.checkpoint import Checkpoints
from jaxcap.errors import UserError
from jaxcap.loop import Loop, Progress, cost
from tests import small_run

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "experiments" / "quickstart.py"
SMALL = small_run.SMALL | {
    "decoder.hidden_dropout": 0.2,
    "train.epochs": 2,
    "train.captions": "random",
    "train.select": "CIDEr-D",
    "train.checkpoint_every": 2,
    "show.captions": 2,
    "show.tensorboard_every": 1,
}


@pytest.fixture(autouse=True)
def caches(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def arguments(workdir, **overrides):
    values = SMALL | {key.replace("__", "."): value for key, value in overrides.items()}
    return [
        "--config",
        str(QUICKSTART),
        "--workdir",
        str(workdir),
        *(f"--config.{key}={value}" for key, value in values.items()),
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The workdir of a run that nothing disturbed: 24 photos in batches of 8, two epochs, six steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        folder = tmp_path_factory.mktemp("whole") / "run"
        assert train.main(arguments(folder)) == 0
    return folder


def arrays(folder, step):
    """The bytes that the checksum of a step stands for, by the checksum that was saved with it."""
    manager = Checkpoints(folder / "checkpoints")
    assert step in manager.steps()
    progress = json.loads((folder / "checkpoints" / "steps" / str(step) / "progress" / "metadata").read_text())
    return progress


def numbers(folder):
    return writers.read_lines(folder / workdir.METRICS)


def test_a_workdir_holds_everything(whole):
    assert {path.name for path in whole.iterdir()} >= {
        "config.json",
        "vocabulary.json",
        "encoder.json",
        "checkpoints",
        "metrics.jsonl",
        "tensorboard",
        "samples",
        "curves.png",
        "scenes.png",
    }
    assert sorted(path.name for path in (whole / "samples").iterdir()) == ["epoch_001.png", "epoch_002.png"]
    assert list((whole / "tensorboard").glob("events*"))
    records = numbers(whole)
    assert [record["step"] for record in records if record["split"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [record["epoch"] for record in records if record["split"] == "val"] == [1, 2]
    assert all(np.isfinite(record["loss"]) for record in records)


def test_a_run_cut_off_in_an_epoch_resumes_bit_for_bit(whole, tmp_path, monkeypatch):
    """Killed in step 5 after the save of step 4 is lost to damage, it goes on from the one before, to equal numbers."""
    folder = tmp_path / "run"
    take = Loop._take

    def dies(self, waiting, progress):
        if waiting is not None and waiting[0] == 5:
            raise KeyboardInterrupt
        take(self, waiting, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_take", dies)
        with pytest.raises(KeyboardInterrupt):
            train.main(arguments(folder))
    assert max(record["step"] for record in numbers(folder)) < 6
    assert train.main(arguments(folder)) == 0
    assert numbers(folder) == numbers(whole)
    assert arrays(folder, 6) == arrays(whole, 6)  # progress, and the checksum of every array


def test_a_finished_run_says_so_and_trains_no_further(whole, capsys):
    before = numbers(whole)
    assert train.main(arguments(whole)) == 0
    out = capsys.readouterr().out
    best = max(record["CIDEr-D"] for record in before if record["split"] == "val")
    assert f"best validation CIDEr-D: {100 * best:.1f} after epoch" in out
    assert numbers(whole) == before


def test_another_config_on_the_same_workdir_is_refused(whole):
    with pytest.raises(UserError, match=r"decoder.hidden: 8 -> 9; seed: 0 -> 1"):
        train.main(arguments(whole, decoder__hidden=9, seed=1))


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_finishes(whole, tmp_path):
    """A run asked to stop leaves with 128 + 15, having saved its last step, and ends as if nothing had been."""
    command = [sys.executable, "-m", "jaxcap.train", *arguments(tmp_path / "run", train__checkpoint_every=1000)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not metrics.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=240) in (0, 128 + signal.SIGTERM)
    assert train.main(arguments(tmp_path / "run", train__checkpoint_every=1000)) == 0
    assert numbers(tmp_path / "run") == numbers(whole)


def test_the_epoch_of_the_best_score_is_the_one_that_is_evaluated(whole, capsys):
    """What validation called the best CIDEr-D is what the evaluation of greedy captions finds."""
    records = [record for record in numbers(whole) if record["split"] == "val"]
    best = max(reversed(records), key=lambda record: record["CIDEr-D"])  # of equals, the last
    assert evaluate.main(["--workdir", str(whole), "--split", "val", "--beam", "1", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["scores"]["CIDEr-D"]["value"] == pytest.approx(best["CIDEr-D"])
    assert (result["run"]["step"], result["run"]["val_loss"]) == (best["step"], best["loss"])


def test_the_best_epoch_is_chosen_by_loss_or_by_score(tmp_path):
    records = [
        {"split": "val", "loss": 2.0, "CIDEr-D": 0.3},
        {"split": "train", "loss": 1.0},
        {"split": "val", "loss": 2.5, "CIDEr-D": 0.4},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps({"step": 1} | record) + "\n" for record in records))
    assert [cost(records[0], select) for select in ("loss", "CIDEr-D")] == [2.0, -0.3]
    assert workdir.validation_loss(tmp_path, "loss") == 2.0
    assert workdir.validation_loss(tmp_path, "CIDEr-D") == 2.5
    assert workdir.validation_loss(tmp_path / "empty", "loss") is None


def test_early_stopping_counts_epochs_without_a_better_one():
    progress = Progress()
    for epoch, loss in enumerate((3.0, 2.0, 2.5, 2.0), start=1):
        progress.validated(loss, epoch, epochs=10, patience=2)
        assert progress.finished == (epoch == 4)
    assert (progress.best_epoch, progress.best_cost) == (4, 2.0)  # of equals, the last
    never = Progress()
    for epoch in range(1, 11):
        never.validated(float(epoch), epoch, epochs=10, patience=0)
        assert never.finished == (epoch == 10)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"data__name": "flicker8k"}, "flickr8k"),
        ({"data__name": "flickr30k", "data__dir": "/nowhere"}, "/nowhere"),
        ({"train__batch_size": 0}, "train.batch_size"),
        ({"train__schedule": "linear"}, "cosine"),
        ({"train__select": "BLEU-4"}, "loss, CIDEr-D"),
        ({"search__beam": 0}, "search.beam"),
        ({"search__min_length": 40}, "min_length"),
        ({"decoder__activation": "gelu"}, "relu, tanh"),
        ({"encoder__weights": "/nowhere.safetensors"}, "/nowhere.safetensors"),
        ({"embedding__kind": "word2vec"}, "embedding.path"),
        ({"embedding__kind": "word2vec", "embedding__path": "/nowhere.bin"}, "/nowhere.bin"),
        ({"text__min_count": 10**6}, "text.min_count"),
        ({"images__augment": "views"}, "images.augment"),
        ({"encoder__levels": 3}, "must be from 1 to 2"),
        ({"images__size": 36}, "must be a multiple of 8"),
        ({"decoder__feature_layers": 0}, "decoder.feature_layers=0: must be a whole number from 1"),
        ({"decoder__feature_embedding": 0}, "without a decoder.feature_embedding"),
        ({"images__augment": "free"}, "left and right"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_line_and_leaves_no_workdir(tmp_path, overrides, said):
    with pytest.raises(UserError) as mistake:
        train.main(arguments(tmp_path / "run", **overrides))
    assert said in str(mistake.value)
    assert "\n" not in str(mistake.value)
    assert not (tmp_path / "run").exists()


def test_a_mistake_on_the_command_line_ends_with_code_2_and_one_line(tmp_path):
    command = [sys.executable, "-m", "jaxcap.train", "--config", str(QUICKSTART), "--workdir", str(tmp_path / "run")]
    done = subprocess.run([*command, "--config.train.epoch=3"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: unknown config key 'train.epoch': did you mean 'train.epochs'? (experiments/base.py lists every key)"
    ]
    assert not (tmp_path / "run").exists()
