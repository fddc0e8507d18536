"""The command denoise from end to end on a few small scenes: what it leaves behind, resuming, and
wrong input.
"""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcap import caption, denoise, evaluate, train
from jaxcap.data import datasets
from jaxcap.denoising.batches import NoisyPhotos
from jaxcap.denoising.restore import restore_denoiser
from jaxcap.errors import UserError
from jaxcap.experiment import workdir
from jaxcap.experiment.kinds import DENOISER
from jaxcap.inputs.noise import Noise
from jaxcap.io import locks
from jaxcap.models.denoiser import build_denoiser
from jaxcap.scores import image_quality
from jaxcap.training import history
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.loop import Loop
from tests import small_denoiser, small_run
from tests.small_denoiser import arguments

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def whole(made_denoiser):
    """The workdir of a denoiser that nothing disturbed: 24 photos in batches of 8, two epochs."""
    return made_denoiser


def checksums(folder):
    """What the checkpoints stand for, by step."""
    found = {}
    for step in Checkpoints(folder / "checkpoints").steps():
        path = folder / "checkpoints" / "steps" / str(step) / "progress" / "metadata"
        found[step] = json.loads(path.read_text(encoding="utf-8"))
    return found


def numbers(folder):
    return history.read_lines(folder / history.METRICS)


def test_a_workdir_holds_everything(whole):
    assert sorted(path.name for path in whole.iterdir()) == [
        "checkpoints",
        "contents.json",
        "curves.png",
        "denoiser.json",
        "metrics.jsonl",
        "samples",
        "scores.json",
        "tensorboard",
    ]
    assert len(list((whole / "samples").iterdir())) == 2
    records = numbers(whole)
    assert [record["step"] for record in records if record["split"] == "train"] == [*range(1, 7)]
    validations = [record for record in records if record["split"] == "val"]
    assert [record["epoch"] for record in validations] == [1, 2]
    # The validation's noise is the same each time, and the training's another in each epoch.
    assert len({record["noisy_PSNR"] for record in validations}) == 1
    assert len({record["train_noisy_PSNR"] for record in validations}) == 2


def test_the_scores_are_those_of_the_pictures(whole):
    """The test photos, noised and denoised once more by hand, have the PSNR and SSIM written."""
    scores = json.loads((whole / "scores.json").read_text(encoding="utf-8"))
    assert (scores["split"], scores["images"]) == ("test", 3)
    assert scores["noise"] == {"gaussian": 0.1, "salt_and_pepper": 0.05}
    config = workdir.load_config(whole, DENOISER)
    test = datasets.load(config.data)["test"]
    with ThreadPoolExecutor(2) as pool:
        (batch,) = NoisyPhotos(test, 32, Noise(**config.noise), pool).iterate(3)
    denoiser = restore_denoiser(whole, 32)
    params = {"params": denoiser.params}
    denoised = build_denoiser(denoiser.info).apply(params, batch["noisy"] / np.float32(255))
    pictures = {"noisy": batch["noisy"], "denoised": np.rint(255 * denoised).astype(np.uint8)}
    for which, photos in pictures.items():
        measured = [
            image_quality.measure(*pair) for pair in zip(batch["images"], photos, strict=True)
        ]
        for name, values in zip(("PSNR", "SSIM"), zip(*measured, strict=True), strict=True):
            found = scores["scores"][f"{which} {name}"]
            assert found["value"] == pytest.approx(np.mean(values), rel=1e-4)
            assert found["low"] <= found["value"] <= found["high"]


def test_a_run_cut_off_in_an_epoch_resumes_bit_for_bit(whole, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    record = Loop._record_step

    def dies(self, group, step, *rest):
        if step == 5:
            raise KeyboardInterrupt
        record(self, group, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_record_step", dies)
        with pytest.raises(KeyboardInterrupt):
            denoise.main(arguments(folder))
    assert max(record["step"] for record in numbers(folder)) < 6
    with pytest.raises(UserError, match="has not finished training: the command that trains it"):
        restore_denoiser(folder, 32)
    assert denoise.main(arguments(folder)) == 0
    assert numbers(folder) == numbers(whole)
    assert checksums(folder)[6] == checksums(whole)[6]
    for name in ("scores.json", "denoiser.json", "contents.json", "samples/epoch_002.png"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_finishes(whole, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "jaxcap.denoise", *arguments(folder, train__epochs=200)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=240) == 128 + signal.SIGTERM
    assert Checkpoints(folder / "checkpoints").steps()
    assert not (folder / "scores.json").exists()


def test_a_finished_denoiser_trains_no_further_and_says_what_it_reached(whole, capsys):
    before = numbers(whole)
    assert denoise.main(arguments(whole, data__download=True)) == 0
    out = capsys.readouterr().out
    assert "resuming with data.download: False -> True" in out
    assert "3 held-out photos (test), gaussian=0.1,salt_and_pepper=0.05" in out
    scores = json.loads((whole / "scores.json").read_text(encoding="utf-8"))["scores"]
    line = next(line for line in out.splitlines() if line.startswith("PSNR (dB)"))
    assert f"  {scores['gained PSNR']['value']:.2f} (" in line
    assert numbers(whole) == before
    assert denoise.main(arguments(whole)) == 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"noise__gaussian": 0, "noise__salt_and_pepper": 0}, "there is nothing to learn"),
        ({"images__crop": 64}, "images.crop=64 is larger than the photo, images.size=32"),
        ({"noise__gaussian": -1}, "noise.gaussian=-1: must be"),
        ({"data__name": "flicker8k"}, "data.name=flicker8k"),
        ({"data__name": "flickr30k", "data__dir": "/nowhere"}, "/nowhere"),
        ({"train__batch_size": 0}, "train.batch_size"),
        ({"decoder__hidden": 3}, "unknown config key 'decoder.hidden'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_line_and_leaves_no_workdir(tmp_path, overrides, said):
    with pytest.raises(UserError) as mistake:
        denoise.main(arguments(tmp_path / "run", **overrides))
    assert said in str(mistake.value)
    assert "\n" not in str(mistake.value)
    assert not (tmp_path / "run").exists()


def test_another_config_on_the_same_workdir_is_refused(whole):
    with pytest.raises(UserError, match=r"holds a denoiser of another config \(seed: 0 -> 1\)"):
        denoise.main(arguments(whole, seed=1))


def test_neither_kind_of_run_is_taken_for_the_other(whole, made_run, tmp_path):
    mistakes = {
        "holds a run of jaxcap train: choose another": (denoise, arguments(made_run)),
        "holds a denoiser of jaxcap denoise: choose another": (
            train,
            ["--config", "quickstart", "--workdir", str(whole)],
        ),
        "it holds no config.json": (evaluate, ["--workdir", str(whole), "--split", "val"]),
        "no run in": (caption, ["--workdir", str(whole), "photo.jpg"]),
    }
    for said, (command, options) in mistakes.items():
        with pytest.raises(UserError, match=said) as mistake:
            command.main(options)
        assert "\n" not in str(mistake.value)


def test_an_experiment_of_the_other_kind_ends_with_code_2(tmp_path):
    for name, options in (("train", "denoiser"), ("denoise", "quickstart")):
        command = [sys.executable, "-m", f"jaxcap.{name}", "--config", options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=here())
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert f"not of jaxcap {name}" in done.stderr
    assert not list(tmp_path.iterdir())


def here():
    return os.environ | {"PYTHONPATH": str(ROOT)}


def test_a_second_training_on_a_workdir_is_refused(whole):
    with locks.hold_folder(whole), pytest.raises(UserError, match="is in use by process"):
        denoise.main(arguments(whole))


def test_samples_show_noisy_denoised_and_clean_rows(whole):
    picture = Image.open(whole / "samples" / "epoch_002.png")
    photos = small_denoiser.SMALL["show.photos"]
    assert photos * 224 < picture.width < (photos + 1) * 224
    assert 3 * 224 < picture.height < 4 * 224
    assert small_run.SMALL["images.size"] == 32
