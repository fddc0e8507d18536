"""The command doctor, and the checks around a training: what is said, and the exit codes."""

import dataclasses
import json
import shutil

import pytest

from jaxcap import doctor, train
from jaxcap.checks import around_training, finished, outcome
from jaxcap.checks.finding import Finding
from jaxcap.errors import UserError
from jaxcap.experiment import build
from jaxcap.training import history
from tests import small_run

FAULT = Finding("arithmetic", "it is wrong", "so is the rest", "mend it")
OVERFITTING = Finding("overfitting", "it rose", "it is late", "stop")
# Of 24 photos, six steps: nothing is wrong with it.
SOUND = small_run.SMALL | {
    "train.epochs": 2,
    "train.warmup_steps": 0,
    "text.max_words": 20,
    "text.max_length": 30,
    "show.captions": 1,
}


@pytest.fixture(autouse=True)
def right_arithmetic(cache, monkeypatch):
    """The self-test has tests of its own."""
    for module in (doctor, around_training):
        monkeypatch.setattr(module, "check_arithmetic_once", lambda: ())


def typed(*others, **overrides):
    values = SOUND | {key.replace("__", "."): value for key, value in overrides.items()}
    keys = [f"--config.{key}={value}" for key, value in values.items()]
    return ["--config", str(small_run.QUICKSTART), *others, *keys]


def names(text):
    return [line.split(": ")[1] for line in text.splitlines() if line.startswith("doctor: ")]


def test_alone_it_describes_the_machine_and_tests_its_arithmetic(monkeypatch, capsys):
    assert doctor.main([]) == 0
    out = capsys.readouterr().out
    for said in ("jaxlib ", "devices: ", "memory: ", "free in ", "data: coco", "cache: "):
        assert said in out
    assert out.endswith("no faults found in this machine\n")
    monkeypatch.setattr(doctor, "check_arithmetic_once", lambda: (FAULT,))
    assert doctor.main([]) == 2
    out = capsys.readouterr().out
    assert out.endswith(f"{FAULT}\n1 fault found in this machine\n")
    assert str(FAULT) == "doctor: arithmetic: it is wrong: so is the rest; mend it"


def test_a_set_up_is_checked_and_only_error_makes_a_code_of_its_faults(monkeypatch, capsys):
    place = "this machine and the set-up of quickstart"
    built = build.build_experiment(doctor.parse(typed()).config)
    # Built once: what changes below is read from the config.
    monkeypatch.setattr(
        build, "build_experiment", lambda config: dataclasses.replace(built, config=config)
    )
    assert doctor.main(typed(doctor="error")) == 0
    assert capsys.readouterr().out.endswith(f"no faults found in {place}\n")
    assert doctor.main(typed(train__warmup_steps=100)) == 0
    out = capsys.readouterr().out
    assert names(out) == ["schedule-never-fires"]
    assert out.endswith(f"1 fault found in {place}\n")
    assert doctor.main(typed(train__warmup_steps=100, doctor="error")) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "quickstar"], "did you mean 'quickstart'?"),
        (["--config", "quickstart", "--config.doctor=loud"], "doctor=loud: must be one of warn, "),
        (["--config.doctor=off"], "--config.doctor=off overrides a key of an experiment, and none"),
        (["--workdir", "absent"], "no run in absent"),
        (["--workdir", ""], "the path is empty"),
        (["--config", "quickstart", "--config.train.batch_size=0"], "train.batch_size=0: must be"),
    ],
)
def test_a_mistake_is_one_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as mistake:
        doctor.main(arguments)
    assert said in str(mistake.value) and "\n" not in str(mistake.value)


def test_a_run_is_checked_by_its_losses_captions_and_evaluations(
    frozen_run, tmp_path, monkeypatch, capsys
):
    run = shutil.copytree(frozen_run, tmp_path / "run")
    shutil.rmtree(run / "evaluation", ignore_errors=True)
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        for step, loss in ((9, 5.0), (12, 6.0)):
            record = {"step": step, "split": "val", "epoch": step // 3, "loss": loss}
            file.write(json.dumps(record) + "\n")
    assert doctor.main(["--workdir", str(run)]) == 0
    out = capsys.readouterr().out
    assert "overfitting" in names(out)
    assert f"no scores to check: python -m jaxcap.evaluate --workdir {run}" in out
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"doctor": "error"}))
    # Captions have a test of their own.
    monkeypatch.setattr(finished, "check_captions", lambda *_: [])
    assert doctor.main(["--workdir", str(run)]) == 2
    assert names(capsys.readouterr().out) == ["overfitting"]


def test_an_evaluation_is_checked_and_runs_that_do_not_differ_are_told(
    made_run, scored, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(finished, "check_captions", lambda *_: [])
    other = shutil.copytree(made_run, tmp_path / "other")
    folder = other / "evaluation" / scored.name
    entries = json.loads((folder / "captions.json").read_text())
    entries = [entry | {"caption": "a b c d e f g h i j k"} for entry in entries] * 4
    (folder / "captions.json").write_text(json.dumps(entries))
    assert doctor.main(["--workdir", str(made_run), "--workdir", str(other)]) == 0
    of_first, of_other = capsys.readouterr().out.split(f"found in {made_run}\n")
    assert not {"one-caption", "interval-too-wide"} & {*names(of_first)}
    assert {"one-caption", "never-ends", "interval-too-wide"} <= {*names(of_other)}
    assert f"doctor: one-caption: {scored.name}: 12 of 12 photos" in of_other


@pytest.mark.slow
def test_training_warns_of_its_set_up_and_ends_with_the_checks_of_its_result(
    tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "run"
    monkeypatch.setattr(outcome, "check_history", lambda *_: OVERFITTING)
    monkeypatch.setattr(around_training, "check_captions", lambda *_: [])
    start = typed("--workdir", str(folder), train__warmup_steps=100)
    assert train.main(start) == 0
    assert names(capsys.readouterr().err) == ["schedule-never-fires", "overfitting"]
    records = history.read_lines(folder / history.METRICS)
    assert [record["epoch"] for record in records if record["split"] == "val"] == [1, 2]
    # The key changes nothing in the run, which goes on under another value of it.
    assert train.main([*start, "--config.doctor=off"]) == 0
    assert names(capsys.readouterr().err) == []
    with pytest.raises(UserError, match="doctor: schedule-never-fires: "):
        train.main([*start, "--config.doctor=error"])


@pytest.mark.slow
def test_a_faulty_result_is_written_before_its_exit_code(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    monkeypatch.setattr(outcome, "check_history", lambda *_: OVERFITTING)
    assert train.main(typed("--workdir", str(folder), doctor="error")) == 2
    assert "overfitting" in names(capsys.readouterr().err)
    for name in ("config.json", "curves.png", "metrics.jsonl", "scenes.png", "checkpoints"):
        assert (folder / name).exists()
