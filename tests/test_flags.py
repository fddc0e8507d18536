"""What the command lines share: values in their ranges, paths, one-line complaints, and help whose
examples run.
"""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcap import cache as cache_command
from jaxcap import caption, compare, denoise, doctor, errors, evaluate, train
from jaxcap.denoising import build
from jaxcap.errors import UserError
from jaxcap.experiment import ranges
from jaxcap.experiment.check import check
from jaxcap.experiment.ranges import KEYS
from tests.experiment.test_ranges import inside, typed_outside

ROOT = Path(__file__).parents[1]
COMMANDS = (train, denoise, evaluate, caption, compare, cache_command, doctor)
QUICKSTART = str(ROOT / "experiments" / "quickstart.py")
EVALUATE = ["--workdir", "DIR", "--split", "val"]
CAPTION = ["--workdir", "DIR", "photo.jpg"]
SEARCH = {
    "--search": KEYS["search.kind"],
    "--beam": KEYS["search.beam"],
    "--min-length": KEYS["search.min_length"],
    "--length-normalization": KEYS["search.length_normalization"],
    "--no-repeat-ngram": KEYS["search.no_repeat_ngram"],
    "--batch-size": ranges.BATCH,
    "--temperature": KEYS["search.temperature"],
    "--top-k": KEYS["search.top_k"],
    "--top-p": KEYS["search.top_p"],
    "--seed": KEYS["seed"],
}
FLAGS = [
    *((evaluate, EVALUATE, name, allowed) for name, allowed in SEARCH.items()),
    *((caption, CAPTION, name, allowed) for name, allowed in SEARCH.items()),
    (compare, ["DIR"], "--beam", KEYS["search.beam"]),
]


def label(command):
    return command.__name__.rpartition(".")[2]


@pytest.mark.parametrize(
    ("command", "needed", "flag", "allowed"),
    FLAGS,
    ids=[f"{label(flag[0])} {flag[2]}" for flag in FLAGS],
)
def test_a_flag_takes_its_range_and_nothing_else(command, needed, flag, allowed):
    for value in inside(allowed):
        options = vars(command.parse([*needed, f"{flag}={value}"]))
        assert options[flag.removeprefix("--").replace("-", "_")] == value
    for text in typed_outside(allowed):
        with pytest.raises(UserError) as mistake:
            command.parse([*needed, f"{flag}={text}"])
        assert str(mistake.value).startswith(f"argument {flag}: {text}: must be {allowed} (")


def test_a_shell_leaves_the_home_folder_to_the_flags(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    _, folder = train.parse(["--config=~/experiments/quickstart.py", "--workdir=~/run"])
    assert folder == tmp_path / "run"
    assert evaluate.parse(["--workdir=~/run", "--split=val"]).workdir == [tmp_path / "run"]
    options = caption.parse(["--workdir=~/run", "--attention=~/out", "photo.jpg"])
    assert (options.workdir, options.attention) == ([tmp_path / "run"], tmp_path / "out")
    assert compare.parse(["~/run"]).runs == [tmp_path / "run"]
    assert cache_command.parse(["--prepared-dir=~/sets"]).prepared_dir == tmp_path / "sets"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "the path is empty"),
        ("~no-such-user/x", "must be a path"),
        ("x" * 256, "must be a path"),
    ],
    ids=["empty", "of nobody", "too long"],
)
def test_a_path_that_cannot_be_is_named(path, said):
    parse = {
        train.parse: ["--config", QUICKSTART],
        evaluate.parse: ["--split=val"],
        caption.parse: ["photo.jpg"],
    }
    for command, needed in parse.items():
        with pytest.raises(UserError, match=f"argument --workdir: .*{said}"):
            command([*needed, f"--workdir={path}"])


@pytest.mark.parametrize("experiment_named", ["quickstart", QUICKSTART], ids=["name", "path"])
def test_a_run_without_a_workdir_has_the_experiments_name(experiment_named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, folder = train.parse(["--config", experiment_named])
    assert (config.data.name, folder) == ("scenes", Path("checkpoints/quickstart"))


def test_a_key_is_overridden_with_an_equals_sign_or_a_space():
    config, folder = train.parse(
        [
            "--config.seed",
            "1",
            "--config",
            QUICKSTART,
            "--config.train.epochs=3",
            "--config.seed=2",
            "--workdir",
            "x",
        ]
    )
    assert (config.seed, config.train.epochs, folder) == (2, 3, Path("x"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: --config"),
        (["--config"], "argument --config: expected one argument"),
        (["--config", "--config.seed=3"], "argument --config: expected one argument"),
        (["--config", "experiments/quickstart"], "did you mean experiments/quickstart.py?"),
        (["--config", "nowhere.py"], "no experiment file at nowhere.py"),
        (["--config", "quickstar"], "no experiment is called 'quickstar': did you mean 'quickst"),
        (["--config", ""], "argument --config: the path is empty"),
        (["--config", "experiments"], "experiments is a folder"),
        (["--config", QUICKSTART, "--workdr", "x"], "unrecognized arguments: --workdr x"),
        (
            ["--config", QUICKSTART, "--config.seed"],
            "--config.seed has no value: it must be a whole number",
        ),
        (["--config", QUICKSTART, "--config.seed", "--workdir", "x"], "--config.seed has no value"),
        (
            ["--config", QUICKSTART, "--config.sed", "3"],
            "unknown config key 'sed': did you mean 'seed'?",
        ),
        (
            ["--config", QUICKSTART, "--config.train=3"],
            "unknown config key 'train': did you mean 'train.",
        ),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_a_mistake_in_the_training_command_is_one_line(arguments, said, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as end:
        errors.exit_with(lambda: train.main(arguments))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and said in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        ("/x/jaxcap/train.py", "python -m jaxcap.train"),
        ("/x/jaxcap/__main__.py", "python -m jaxcap train"),
        ("/x/bin/jaxcap", "jaxcap train"),
        ("jaxcap.exe", "jaxcap train"),
        ("/x/pytest/__main__.py", "python -m jaxcap.train"),
    ],
)
def test_help_shows_how_the_command_was_called(called, shown, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [called])
    with pytest.raises(SystemExit):
        train.parse(["--help"])
    out = capsys.readouterr().out
    assert out.startswith(f"usage: {shown} [-h] --config NAME")
    assert f"\n  {shown} --config quickstart\n" in out


@pytest.mark.parametrize("command", COMMANDS, ids=label)
def test_help_is_printed_with_every_example(command, capsys):
    with pytest.raises(SystemExit) as end:
        command.parse(["--help"])
    assert end.value.code == 0
    assert command.EXAMPLE % {"prog": f"python -m {command.__name__}"} in capsys.readouterr().out


def examples(command):
    """The arguments of each example in a command's help."""
    start = "  %(prog)s "
    lines = [
        line.removeprefix(start) for line in command.EXAMPLE.splitlines() if line.startswith(start)
    ]
    assert lines
    return [shlex.split(line) for line in lines]


def test_the_examples_of_training_name_an_experiment_that_can_run(monkeypatch):
    monkeypatch.chdir(ROOT)
    folders = []
    for arguments in examples(train):
        config, folder = train.parse(arguments)
        check(config)
        folders.append(str(folder))
    assert folders == [
        "checkpoints/quickstart",
        "checkpoints/short",
    ]  # what the examples of the others go on with


def test_the_examples_of_denoising_name_an_experiment_that_can_run():
    folders = []
    for arguments in examples(denoise):
        config, folder = denoise.parse(arguments)
        build.check(config)
        folders.append(str(folder))
    assert folders == ["checkpoints/denoiser", "checkpoints/denoiser299"]


def test_the_examples_of_the_doctor_are_of_these_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    options = [doctor.parse(arguments) for arguments in examples(doctor)]
    assert [one.experiment for one in options] == ["quickstart", None]
    assert [str(folder) for folder in options[-1].workdir] == [
        "checkpoints/quickstart",
        "checkpoints/short",
    ]


def test_the_examples_of_the_other_commands_run(made_run, cache, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    Path("folder").mkdir()
    photo.save("photo.jpg")
    photo.save("folder/other.png")
    # Another test may have scored the run already.
    unscored = shutil.ignore_patterns("evaluation")
    for name in ("quickstart", "short"):
        shutil.copytree(made_run, f"checkpoints/{name}", ignore=unscored)
    for arguments in examples(evaluate):
        assert evaluate.main(arguments) == 0
    shutil.copytree("checkpoints/quickstart/evaluation", "checkpoints/short/evaluation")
    for command in (caption, compare):
        for arguments in examples(command):
            assert command.main(arguments) == 0


def test_a_flag_outside_its_range_is_one_line_on_stderr_and_code_2(tmp_path):
    command = [
        sys.executable,
        "-m",
        "jaxcap.caption",
        "--workdir",
        str(tmp_path),
        "x.jpg",
        "--search=sample",
        "--seed=-1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: argument --seed: -1: must be a whole number from 0 to 2,147,483,647 "
        "(python -m jaxcap.caption --help explains)\n"
    )
