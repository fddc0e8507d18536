"""The benchmarks run, and their numbers are what their columns say."""

import json

import jax
import pytest

from tests.bench import __main__ as bench
from tests.bench import memory, report, stages


def test_contestants_are_compared_round_by_round():
    """A round in which everything is slow changes no ratio."""
    seconds = {"ours": [1.0, 10.0, 2.0], "theirs": [2.0, 20.0, 8.0]}
    ours, theirs = report.compare(seconds, "step", ["ours"])
    assert ours["ours takes of it"] == (1.0, 1.0, 1.0)
    assert theirs["ours takes of it"] == (0.5, 0.25, 0.5)
    assert theirs["seconds"] == 8.0


def test_rounds_are_taken_in_turn_and_the_first_two_are_not_counted():
    calls = []
    contestants = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = report.time_in_turn(contestants, 3, clock=lambda: float(len(calls)))
    assert calls == list("ab" * 5)
    assert seconds == {"a": [1.0] * 3, "b": [1.0] * 3}


def test_a_table_has_the_columns_of_all_rows_and_no_lists():
    rows = [{"name": "a", "rounds": [1.0]}, {"name": "b", "seconds": 0.01234}]
    table = report.format_table(rows)
    assert table.splitlines() == [
        "| name | seconds |",
        "|---|---|",
        "| a |  |",
        "| b | 0.0123 |",
    ]


def test_an_unknown_name_starts_nothing(capsys):
    assert bench.main(["stpe"]) == 2
    assert "step" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_every_benchmark_runs_and_writes_its_rows(name, tmp_path, capsys):
    pytest.importorskip("torch")
    file = tmp_path / "rows.json"
    few = ["--stages", "plan", "devices"] if name == "memory" else []
    assert bench.main([name, "--small", "--rounds", "1", "--json", str(file), *few]) == 0
    (result,) = json.loads(file.read_text())
    assert result["rows"]
    assert result["command"] in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("stage", memory.SIZES)
def test_every_stage_runs(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "FEW_STEPS", 1)
    (size,) = memory.SMALL.get(stage, memory.FEW)
    if stage == "devices":
        size = jax.device_count()
    stages.STAGES[stage](size, tmp_path)()
