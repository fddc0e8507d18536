"""What needs the training data: baselines and novelty, or notes in their place."""

import pytest

from jaxcap.errors import UserError
from jaxcap.evaluation import baselines, splits
from tests.evaluation.runs import evaluation_of, of_a_folder, photo_folder, read, run_command

pytestmark = pytest.mark.usefixtures("cache")


def test_without_the_training_data_the_rest_is_scored_and_it_is_said(made_run, tmp_path):
    workdir = of_a_folder(made_run, tmp_path / "run", "/nowhere")
    folder = photo_folder(tmp_path / "photos", ["val"] * 3)
    run_command(workdir, "--split", "val", "--data-dir", str(folder))
    result = read(evaluation_of(workdir, folder, "val-beam2"))
    assert [baseline["name"] for baseline in result["baselines"]] == ["shuffled"]
    assert "novel" not in result["health"]["captions"]
    assert any("/nowhere" in note for note in result["notes"])


@pytest.mark.parametrize(
    "error", [UserError("photo 3 is damaged"), OSError(5, "Input/output error")], ids=repr
)
def test_a_baseline_that_fails_is_a_note(made_run, tmp_path, monkeypatch, capsys, error):
    def failing(*arguments):
        raise error

    monkeypatch.setattr(baselines, "_mean_features", failing)
    assert run_command(made_run, "--split", "val", "--out", str(tmp_path)) == 0
    result = read(tmp_path)
    assert [baseline["name"] for baseline in result["baselines"]] == ["most common", "shuffled"]
    assert f"the baseline 'nearest' is left out: {error}" in result["notes"]
    assert f"the baseline 'nearest' is left out: {error}" in capsys.readouterr().out.splitlines()


def test_training_data_that_cannot_be_read_are_a_note(made_run, tmp_path, monkeypatch):
    def failing(config):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(splits, "load_training", failing)
    assert run_command(made_run, "--split", "val", "--out", str(tmp_path)) == 0
    assert [baseline["name"] for baseline in read(tmp_path)["baselines"]] == ["shuffled"]
    assert any("Permission denied" in note for note in read(tmp_path)["notes"])


def test_nearest_is_computed_where_it_costs_little_or_is_asked_for(
    frozen_run, tmp_path, monkeypatch
):
    """Not for many training photos, unless their features are cached or all baselines are
    wanted.
    """
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(baselines, "FEW", 23)  # there are 24 training photos

    def names(*flags):
        run_command(frozen_run, "--split", "val", "--out", str(tmp_path / "out"), *flags)
        return [baseline["name"] for baseline in read(tmp_path / "out")["baselines"]]

    assert names("--baselines", "none") == []
    assert names() == ["most common", "shuffled"]
    assert any(
        "24 training photos" in note and "--baselines all" in note
        for note in read(tmp_path / "out")["notes"]
    )
    assert names("--baselines", "all") == ["most common", "shuffled", "nearest"]
    assert names("--baselines", "cheap") == ["most common", "shuffled", "nearest"]


def test_one_photo_is_scored_without_shuffling_and_without_a_warning(
    made_run, tmp_path, recwarn, capsys
):
    folder = photo_folder(tmp_path / "photos", ["val"])
    run_command(
        made_run, "--split", "val", "--data-dir", str(folder), "--out", str(tmp_path / "out")
    )
    result = read(tmp_path / "out")
    assert [baseline["name"] for baseline in result["baselines"]] == ["most common", "nearest"]
    assert any("'shuffled' is left out" in note for note in result["notes"])
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]
