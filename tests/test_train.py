"""The training command from end to end on a few small scenes: what it leaves behind, resuming, and
wrong input.
"""

import dataclasses
import errno
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxcap import evaluate, train
from jaxcap.errors import UserError
from jaxcap.experiment import build, phases, workdir
from jaxcap.figures import samples
from jaxcap.io import files, locks
from jaxcap.training import history, writers
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.loop import Loop
from jaxcap.training.phases import Phase
from jaxcap.training.progress import TrainingProgress
from jaxcap.training.stacking import Stacking
from tests import small_run

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "experiments" / "quickstart.py"
SMALL = small_run.SMALL | {
    "encoder.rates": "*:0",
    "head.dropout": 0.2,
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
    return small_run.arguments(workdir, SMALL, **overrides)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The workdir of a run that nothing disturbed: 24 photos in batches of 8, two epochs, six
    steps.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        folder = tmp_path_factory.mktemp("whole") / "run"
        assert train.main(arguments(folder)) == 0
    return folder


def arrays(folder, step):
    """The bytes that the checksum of a step stands for, by the checksum that was saved with it."""
    manager = Checkpoints(folder / "checkpoints")
    assert step in manager.steps()
    return json.loads(
        (folder / "checkpoints" / "steps" / str(step) / "progress" / "metadata").read_text()
    )


def numbers(folder):
    return history.read_lines(folder / workdir.METRICS)


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
    assert sorted(path.name for path in (whole / "samples").iterdir()) == [
        "epoch_001.png",
        "epoch_002.png",
    ]
    assert list((whole / "tensorboard").glob("events*"))
    records = numbers(whole)
    assert [record["step"] for record in records if record["split"] == "train"] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert [record["epoch"] for record in records if record["split"] == "val"] == [1, 2]
    assert all(np.isfinite(record["loss"]) for record in records)


def test_a_run_cut_off_in_an_epoch_resumes_bit_for_bit(whole, tmp_path, monkeypatch):
    """Killed in step 5 after the save of step 4 is lost to damage, it goes on from the one before,
    to equal numbers.
    """
    folder = tmp_path / "run"
    record = Loop._record_step

    def dies(self, group, step, *rest):
        if step == 5:
            raise KeyboardInterrupt
        record(self, group, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_record_step", dies)
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
    with pytest.raises(UserError, match=r"decoder.hidden: 8 -> 9; seed: 5 -> 1"):
        train.main(arguments(whole, decoder__hidden=9, seed=1))


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_finishes(whole, tmp_path):
    """A run asked to stop leaves with 128 + 15, having saved its last step, and ends as if nothing
    had been.
    """
    command = [
        sys.executable,
        "-m",
        "jaxcap.train",
        *arguments(tmp_path / "run", train__checkpoint_every=1000),
    ]
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


def test_early_stopping_counts_epochs_without_a_better_one():
    phase = Phase(None, None, None, epochs=10, patience=2, select="loss")
    progress = TrainingProgress()
    for epoch, loss in enumerate((3.0, 2.0, 2.5, 2.0), start=1):
        progress.record_validation(loss, epoch, phase)
        assert progress.finished == (epoch == 4)
    assert (progress.best_epoch, progress.best_value) == (4, 2.0)  # of equals, the last
    never = TrainingProgress()
    for epoch in range(1, 11):
        never.record_validation(float(epoch), epoch, dataclasses.replace(phase, patience=0))
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
        ({"embedding__missing_rate": 1}, "embedding.kind=word2vec, or missing_rate to -1"),
        ({"text__min_count": 10**6}, "text.min_count"),
        ({"images__augment": "views"}, "images.augment"),
        ({"encoder__levels": 3}, "must be from 1 to 2"),
        ({"images__size": 36}, "must be a multiple of 8"),
        ({"regions__layers": 0}, "regions.layers=0: must be a whole number from 1"),
        ({"regions__embedding": 0}, "without a regions.embedding"),
        ({"images__augment": "free"}, "left and right"),
        ({"head__hidden": 4, "head__deep_output": True}, "head.hidden=4 and head.deep_output=True"),
        (
            {"head__hidden": 4, "head__tie_weights": True, "head__deep_output": False},
            "head.hidden=4 and head.tie_weights=True",
        ),
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
    command = [
        sys.executable,
        "-m",
        "jaxcap.train",
        "--config",
        str(QUICKSTART),
        "--workdir",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        [*command, "--config.train.epoch=3"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: unknown config key 'train.epoch': did you mean 'train.epochs'? "
        "(jaxcap/experiment/defaults.py lists every key)\n"
    )
    assert not (tmp_path / "run").exists()


def poisoned(run, *arguments, at, params, metric, seen, build_phase=phases._build_teacher_forcing):
    """The phase whose step `at` leaves not-a-number in a metric, or in the parameters."""
    phase = build_phase(run, *arguments)
    step = phase.build_step(Stacking(1, None, shares_batch=True), (run.config.seed,))

    def call(state, frozen, batch):
        state, metrics = step(state, frozen, batch)
        if int(state.step) == at:
            seen.extend(run.splits["train"].ids[row] for row in batch["rows"])
            if metric:
                metrics = metrics | {metric: (jnp.float32("nan"), 1)}
            if params:
                spoilt = jax.tree.map(lambda x: x + jnp.nan, (state.ema, state.params))
                state = state.replace(ema=spoilt[0], params=spoilt[1])
        return state, metrics

    return dataclasses.replace(phase, build_step=lambda *_: call)


@pytest.mark.parametrize(
    ("at", "params", "metric", "said", "good", "last"),
    [
        (1, True, "loss", "at step 1 ", None, 0),  # nothing is saved yet
        (4, True, "loss", "at step 4 ", 3, 3),  # after which it would be saved
        (5, False, "gradient_norm", "at step 5 ", 4, 4),
        (3, True, "", "at the validation after step 3 ", 2, 3),
        (4, True, "", "after step 4 ", 3, 4),  # no number tells, but what is to be saved
        (5, True, "", "at step 6 ", 4, 5),
    ],
)
def test_what_is_not_finite_stops_the_run_and_is_not_saved(
    whole, tmp_path, monkeypatch, at, params, metric, said, good, last
):
    """The line names the step and its photos; `good` is the last checkpoint, `last` the step of the
    last record.
    """
    folder = tmp_path / "run"
    seen = []
    with monkeypatch.context() as patch:
        poison = functools.partial(poisoned, at=at, params=params, metric=metric, seen=seen)
        patch.setattr(phases, "_build_teacher_forcing", poison)
        with pytest.raises(UserError) as stopped:
            train.main(arguments(folder))
    line = str(stopped.value)
    assert line.startswith(f"training stopped {said}") and "\n" not in line
    assert "train.learning_rate (now 0.0015)" in line and "train.clip_norm (now 5)" in line
    if metric:
        assert f"(photos {', '.join(seen[:4])}, ...)" in line
    assert ("nothing is saved" in line) if good is None else (f"goes on from step {good}," in line)
    assert max(Checkpoints(folder / "checkpoints").steps(), default=None) == good
    written = numbers(folder)
    assert max((record["step"] for record in written), default=0) == last
    assert all(value is not None for record in written for value in record.values())
    assert [record["epoch"] for record in written if record["split"] == "val"] == (
        [1] if last > 3 or good == 3 else []
    )
    assert train.main(arguments(folder)) == 0
    assert numbers(folder) == numbers(whole)
    assert arrays(folder, 6) == arrays(whole, 6)


def tree(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_second_training_on_a_workdir_is_refused(whole):
    before = tree(whole)
    code = (
        "import time; from jaxcap.io import locks\n"
        f"with locks.hold_folder({str(whole)!r}): print(flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    holder.stdout.readline()
    try:
        held = tree(whole)
        with pytest.raises(UserError, match=rf"{whole} is in use by process {holder.pid} on "):
            train.main(arguments(whole))
        assert tree(whole) == held
        assert evaluate.main(["--workdir", str(whole), "--split", "val", "--beam", "1"]) == 0
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    # A killed process holds nothing.
    assert train.main(arguments(whole)) == 0
    assert not (whole / ".lock").exists()
    for name in ("config.json", "metrics.jsonl"):
        assert (whole / name).read_bytes() == before[whole / name]


def test_a_folder_is_given_back_and_removed_when_it_is_empty(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(KeyboardInterrupt), locks.hold_folder(folder):
        assert folder.is_dir()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with locks.hold_folder(folder):
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]


def test_where_locks_are_unknown_training_goes_on(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with locks.hold_folder(tmp_path / "run"):
        pass


def test_a_workdir_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(
        UserError, match=r"cannot write to .*run .File exists.: choose another folder"
    ):
        train.main(arguments(tmp_path / "run"))


HOSTILE = (
    "two\nlines and\r\nthree",
    "a bell \x07, a zero \x00 and \x1b[31mred",
    "\u05e9\u05dc\u05d5\u05dd \u202e reversed",
    "\ud800 alone",
    "\u2028 separated \x85 again",
    "",
    " \t\n ",
)


def test_captions_of_any_text_are_drawn_and_printed(tmp_path, monkeypatch, capfd):
    load = build.load_splits

    def hostile(config):
        splits = load(config)
        captions = tuple((one, *HOSTILE) for one in HOSTILE)
        captions = (captions * len(splits["val"]))[: len(splits["val"])]
        ids = tuple(f"{row}\n\x1b[2J.jpg" for row in range(len(captions)))
        return splits | {"val": dataclasses.replace(splits["val"], captions=captions, ids=ids)}

    monkeypatch.setattr(build, "load_splits", hostile)
    folder = tmp_path / "run"
    assert (
        train.main(
            arguments(folder, data__scenes=100, train__epochs=1, show__captions=len(HOSTILE))
        )
        == 0
    )
    assert (folder / "samples" / "epoch_001.png").is_file()
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("  ")]
    assert len(said) == len(HOSTILE)
    assert all(
        character.isprintable() or character == "\u202e" for line in said for character in line
    )
    assert said[0].endswith("[two lines and three]")


def with_one_val_photo(monkeypatch):
    load = build.load_splits

    def few(config):
        splits = load(config)
        val = splits["val"]
        val = dataclasses.replace(
            val,
            ids=val.ids[:1],
            captions=val.captions[:1],
            photos=val.photos[:1],
            records=[val.records[0]],
        )
        return splits | {"val": val}

    monkeypatch.setattr(build, "load_splits", few)


def test_with_one_validation_photo_the_loss_chooses(tmp_path, monkeypatch, capsys):
    with_one_val_photo(monkeypatch)
    folder = tmp_path / "run"
    assert train.main(arguments(folder)) == 0
    out = capsys.readouterr().out
    assert "CIDEr-D of 1 validation photo is always 0: the best epoch is chosen by the loss" in out
    val = [record for record in numbers(folder) if record["split"] == "val"]
    assert len(val) == 2 and not any("CIDEr-D" in record for record in val)
    best = min(val, key=lambda record: record["loss"])
    assert f"best validation loss: {best['loss']:.4f} nats/word after epoch {best['epoch']}" in out
    assert Checkpoints(folder / "checkpoints").best_step() == best["step"]
    assert history.validation_loss(folder / workdir.METRICS, "CIDEr-D") == best["loss"]
    assert (
        workdir.load_config(folder).train.select == "CIDEr-D"
    )  # as it was typed, so that it can be resumed
    assert train.main(arguments(folder)) == 0
    assert evaluate.main(["--workdir", str(folder), "--split", "val", "--beam", "1", "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out.split("\n{", 1)[-1].join(["{", ""]))["run"]["val_loss"]
        == best["loss"]
    )


def test_one_validation_photo_is_too_few_for_self_critical_training(tmp_path, monkeypatch, capsys):
    with_one_val_photo(monkeypatch)
    assert train.main(arguments(tmp_path / "run", self_critical__epochs=1)) == 0
    assert "chosen by the loss, and no self-critical epochs follow" in capsys.readouterr().out
    records = numbers(tmp_path / "run")
    assert [record["epoch"] for record in records if record["split"] == "val"] == [1, 2]
    assert not any("reward" in record for record in records)


@pytest.mark.parametrize("where", ["checkpoint", "metrics", "picture", "tensorboard"])
def test_a_full_disk_ends_in_one_line_and_loses_nothing(whole, tmp_path, monkeypatch, where):
    """The disk is full from some write of the second epoch on."""
    folder = tmp_path / "run"
    calls = []
    owner, name, first = {
        "checkpoint": (ocp.CheckpointManager, "save", 3),
        "metrics": (writers.JsonLines, "__call__", 6),
        "picture": (samples, "sample_sheet", 2),
        "tensorboard": (writers.TensorBoard, "_write", 30),
    }[where]
    original = getattr(owner, name)

    def full(*arguments, **options):
        calls.append(name)
        if len(calls) < first:
            return original(*arguments, **options)
        with files.report_full_disk(folder):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, full)
        with pytest.raises(UserError, match="no space left on disk"):
            train.main(arguments(folder))
    assert Checkpoints(folder / "checkpoints").steps()
    assert train.main(arguments(folder)) == 0
    assert numbers(folder) == numbers(whole)
    assert arrays(folder, 6) == arrays(whole, 6)
