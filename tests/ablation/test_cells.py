"""A whole small grid: what it leaves behind, resuming, failing cells, the table."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxcap import ablate, compare, train
from jaxcap.ablation import cells, plan, record
from jaxcap.errors import UserError
from jaxcap.experiment import workdir
from jaxcap.training import history
from tests.ablation import grids

ARMS = {
    "plain": {},
    "greedy": {"search.kind": "greedy"},
    "broken": {"embedding.kind": "word2vec", "embedding.path": "/nowhere/vectors.bin"},
    "captions": {"embedding.kind": "train"},
}


@pytest.fixture(autouse=True)
def own_cache(cache):
    """The session's cache."""


def run(folder, *arguments, arms=ARMS, **fields):
    path = grids.write(folder, arms, **({"seeds": (0, 1)} | fields))
    return ablate.main(["--config", str(path), "--workdir", str(folder / "grid"), *arguments])


@pytest.fixture(scope="module")
def whole(session_cache, tmp_path_factory):
    """The folder of a grid in which one arm cannot be trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        folder = tmp_path_factory.mktemp("whole")
        assert run(folder) == 2
    return folder


def read_table(folder):
    return json.loads((folder / "grid" / "table.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_every_cell_but_the_broken_is_trained_and_scored(whole):
    state = record.read_state(whole / "grid")
    assert sorted(state.scored) == [
        f"{arm}/seed_{seed}" for arm in ("captions", "greedy", "plain") for seed in (0, 1)
    ]
    assert sorted(state.trainings) == [
        f"{arm}/seed_{seed}" for arm in ("captions", "plain") for seed in (0, 1)
    ]
    assert sorted(state.failed) == ["broken/seed_0", "broken/seed_1"]
    assert "cannot read the word vectors in /nowhere" in state.failed["broken/seed_0"]
    for name in state.trainings:
        assert workdir.load_config(whole / "grid" / name).seed == int(name[-1])
    assert state.scored["greedy/seed_1"].evaluation == "greedy/seed_1/evaluation/val-beam1"


@pytest.mark.slow
def test_the_table_has_means_differences_coverage_and_says_what_it_rests_on(whole):
    table = read_table(whole)
    plain, greedy, captions = table["rows"]
    assert [row["arm"] for row in table["rows"]] == ["plain", "greedy", "captions"]
    assert plain["seeds"] == [0, 1] and "difference" not in plain["score"]
    for row in (greedy, captions):
        score = row["score"]
        assert score["mean"]["value"] == pytest.approx(np.mean(score["each"]))
        assert score["difference"]["value"] == pytest.approx(
            score["mean"]["value"] - plain["score"]["mean"]["value"]
        )
        assert score["corrected_p"] >= score["difference"]["p"]
    assert plain["coverage"] is None and captions["coverage"]["by_word"] == 1
    assert greedy["seconds"] == plain["seconds"] > 0
    assert greedy["parameters"] == plain["parameters"] > 0
    text = (whole / "grid" / "table.md").read_text(encoding="utf-8")
    for said in (
        "| to plain |",
        "scenes val, 3 photos",
        "cores of",
        "jax ",
        "`python -m jaxcap.ablate --config ",
    ):
        assert said in text
    assert "Failed: broken/seed_1: cannot read" in text
    with Image.open(whole / "grid" / "table.png") as picture:
        assert picture.size[0] > 600


@pytest.mark.slow
def test_finished_cells_are_skipped_and_failed_ones_are_tried_again(whole, monkeypatch, capsys):
    def refuses(*_):
        raise AssertionError("nothing is left to train or to score")

    before = read_table(whole)
    with monkeypatch.context() as patch:
        patch.setattr(train, "train", refuses)
        patch.setattr(cells.evaluation, "evaluate", refuses)
        assert run(whole) == 2
    out, err = capsys.readouterr()
    assert out.count("finished before") == 6
    assert err.count("error: broken seed") == 2
    assert read_table(whole)["rows"] == before["rows"]
    assert run(whole, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "6 finished, 2 to train, 2 to score" in out and "cost: about" in out


@pytest.mark.slow
def test_compare_finds_the_same_groups(whole, capsys):
    folders = [str(whole / "grid" / arm) for arm in ("plain", "greedy", "captions")]
    assert compare.main([*folders, "--split", "val", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)
    for group, row in zip(groups, read_table(whole)["rows"], strict=True):
        assert group["seeds"] == row["seeds"]
        assert group["scores"]["CIDEr-D"] == row["score"]


@pytest.mark.slow
def test_seeds_that_train_together_are_those_that_train_alone(whole, tmp_path, capsys):
    assert run(tmp_path, "--together", arms={"plain": {}, "greedy": {"search.kind": "greedy"}}) == 0
    assert capsys.readouterr().out.count("seeds 0, 1 train together\n") == 1
    state = record.read_state(tmp_path / "grid")
    assert sorted(state.trainings) == ["plain/seed_0", "plain/seed_1"]
    assert state.trainings["plain/seed_0"] == state.trainings["plain/seed_1"]
    for name in state.trainings:
        together = tmp_path / "grid" / name
        alone = whole / "grid" / name
        assert workdir.load_config(together) == workdir.load_config(alone)
        ours = history.read_lines(together / history.METRICS)[-1]
        theirs = history.read_lines(alone / history.METRICS)[-1]
        assert ours["split"] == theirs["split"] == "val"
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    losses = [
        history.read_lines(tmp_path / "grid" / name / history.METRICS)[-1]["loss"]
        for name in state.trainings
    ]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


@pytest.mark.slow
def test_seeds_that_cannot_train_together_train_alone(tmp_path, capsys):
    """Frozen random encoders, whose features are cached, differ."""
    arms = {"frozen": {"encoder.rates": ("*:0",)}}
    assert run(tmp_path, "--together", arms=arms) == 0
    err = capsys.readouterr().err
    assert "frozen: its seeds train one by one, for train.replicas=2 share the features" in err
    assert len(record.read_state(tmp_path / "grid").scored) == 2


def test_seeds_that_fail_together_are_tried_alone(tmp_path, monkeypatch, capsys):
    tried = []

    def fails(self, group):
        tried.append([cell.seed for cell in group])
        raise RuntimeError("too little memory")

    monkeypatch.setattr(cells._Runner, "_train", fails)
    assert run(tmp_path, "--together", arms={"wide": {"decoder.hidden": 9}}) == 2
    assert tried == [[0, 1], [0], [1]]
    err = capsys.readouterr().err
    assert "wide: its seeds train one by one, for RuntimeError: too little memory\n" in err
    assert "error: wide seed 1: RuntimeError: too little memory\n" in err


def test_a_failing_training_fails_its_cells_once_and_the_rest_goes_on(
    tmp_path, monkeypatch, capsys
):
    """An error that is no user's is one line too; a stop by a signal ends the grid."""
    tried = []

    def prepare(config, folder, shared):
        tried.append(folder.relative_to(tmp_path / "grid").as_posix())
        raise ValueError("first line\nsecond line")

    monkeypatch.setattr(train, "prepare", prepare)
    arms = {"plain": {}, "greedy": {"search.kind": "greedy"}, "wide": {"decoder.hidden": 9}}
    assert run(tmp_path, arms=arms, seeds=(0,)) == 2
    assert tried == ["plain/seed_0", "wide/seed_0"]
    err = capsys.readouterr().err
    assert "error: plain seed 0: ValueError: first line second line\n" in err
    assert "error: greedy seed 0: its training failed: ValueError: first line" in err
    assert not (tmp_path / "grid" / "table.md").exists()

    def is_stopped(config, folder, shared):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "prepare", is_stopped)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, arms=arms, seeds=(0,))


def test_a_signal_in_a_training_stops_the_grid(tmp_path, monkeypatch):
    started = []

    def is_stopped(self, cell, title):
        started.append(cell.name)
        return 143

    monkeypatch.setattr(cells._Runner, "run", is_stopped)
    assert run(tmp_path) == 143
    assert started == ["plain/seed_0"]


def test_the_cost_is_that_of_finished_cells(tmp_path):
    """A training takes as long as the mean of the finished ones, a cell as long to score."""
    training = record.Training(finished=True, seconds=100.0, preparing=5.0, machine="")
    state = record.State(
        trainings={"a/seed_0": training},
        scored={"a/seed_0": record.Scored("a/seed_0", "a/seed_0/evaluation/x", 10.0)},
    )
    for name in ("scores.json", "config.json"):
        place = tmp_path / ("a/seed_0/evaluation/x" if name == "scores.json" else "a/seed_0")
        place.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    listed = [
        plan.Cell(arm, 0, None, trained)
        for arm, trained in (
            ("a", "a/seed_0"),
            ("b", "a/seed_0"),
            ("c", "c/seed_0"),
            ("d", "c/seed_0"),
        )
    ]
    assert plan.estimate_seconds(tmp_path, state, listed) == 105 + 3 * 10
    assert plan.estimate_seconds(tmp_path, state, listed[:1]) == 0
    assert plan.estimate_seconds(tmp_path, record.State(), listed) is None


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "cells.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="cells.json cannot be read"):
        run(tmp_path)
