"""Taking up a run: what is restored, without its data, and what is refused."""

import importlib
import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcap.errors import UserError
from jaxcap.experiment import build
from jaxcap.experiment.restore import restore_best
from tests import small_run
from tests.evaluation.runs import read

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("kind", ["made_run", "frozen_run"])
def test_the_average_of_the_best_checkpoint_is_restored(kind, request):
    """Not the latest one's, and not the parameters beside the average, which have another sign."""
    run = restore_best(request.getfixturevalue(kind))
    assert (run.step, run.epoch) == (small_run.BEST, 1)
    drawn = build.draw_params(run.config, run.model)
    jax.tree.map(np.testing.assert_array_equal, run.params, small_run.bold(drawn))
    assert any(rate == 0 for rate in jax.tree.leaves(run.rates)) == (kind == "frozen_run")


def test_a_run_is_restored_without_its_data_and_the_file_of_its_weights(
    frozen_run, tmp_path, monkeypatch
):
    folder = tmp_path / "moved"
    shutil.copytree(frozen_run, folder)
    config = read(folder, "config.json")
    config["encoder"]["weights"] = "/nowhere.safetensors"
    config["data"] |= {"name": "flickr8k", "dir": "/nowhere"}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "empty"))
    jax.tree.map(
        np.testing.assert_array_equal, restore_best(frozen_run).params, restore_best(folder).params
    )
    assert not (tmp_path / "empty").exists()


def test_a_run_that_cannot_be_taken_up_says_why(made_run, frozen_run, tmp_path):
    with pytest.raises(UserError, match="no run in"):
        restore_best(tmp_path)
    young = tmp_path / "young"
    shutil.copytree(made_run, young, ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(UserError, match="no checkpoint of a finished epoch"):
        restore_best(young)
    headless = tmp_path / "headless"
    shutil.copytree(frozen_run, headless)
    shutil.rmtree(headless / "checkpoints" / "frozen")
    (headless / "checkpoints" / "frozen.json").unlink()
    with pytest.raises(UserError, match="of another model than its config.json tells"):
        restore_best(headless)
    damaged = tmp_path / "damaged"
    shutil.copytree(made_run, damaged)
    for file in (damaged / "checkpoints" / "steps").rglob("*"):
        if file.is_file() and "arrays" in file.parts:
            file.write_bytes(b"")
    with pytest.raises(UserError, match=r"checkpoint \d+ in"):
        restore_best(damaged)


@pytest.mark.parametrize("key", ["encoder.width", "decoder.hidden", "embedding.dim"])
@pytest.mark.parametrize("command", ["caption", "evaluate"])
def test_a_config_that_was_changed_by_hand_is_one_line(made_run, tmp_path, command, key):
    changed = tmp_path / "changed"
    shutil.copytree(made_run, changed)
    config = read(changed, "config.json")
    section, _, name = key.partition(".")
    config[section][name] = config[section][name] + 1
    (changed / "config.json").write_text(json.dumps(config))
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    given = {"caption": [str(tmp_path / "photo.png")], "evaluate": ["--split", "val"]}[command]
    with pytest.raises(UserError, match="of another model than its config.json tells"):
        importlib.import_module(f"jaxcap.{command}").main(["--workdir", str(changed), *given])
