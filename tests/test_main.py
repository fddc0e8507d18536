"""The command `jaxcap`: it hands its arguments on, and a mistake ends in one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jaxcap
from jaxcap import __main__ as command_line

ROOT = Path(__file__).parents[1]
# What the script does that pip makes of the entry point, under its name.
SCRIPT = "import sys; sys.argv[0] = '/x/bin/jaxcap'; from jaxcap.__main__ import run; run()"
CALLS = {"jaxcap": ["-c", SCRIPT], "python -m jaxcap": ["-m", "jaxcap"]}


@pytest.fixture(params=CALLS)
def called(request):
    """How jaxcap is called, and the function that calls it so."""

    def call(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *CALLS[request.param], *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    return request.param, call


def test_help_names_every_command(called):
    program, call = called
    done = call("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {program} COMMAND")
    for name in command_line.COMMANDS:
        assert f"\n  {name} " in done.stdout
        assert (ROOT / "jaxcap" / f"{name}.py").is_file()


def test_version(called):
    done = called[1]("--version")
    assert (done.returncode, done.stdout) == (0, f"jaxcap {jaxcap.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [],
            "no command: train, denoise, evaluate, caption, compare, ablate, cache, doctor "
            "({} --help explains)",
        ),
        (["nonsense"], "no command 'nonsense': did you mean '"),
        (["trian", "--config", "x"], "no command 'trian': did you mean 'train'?"),
        (["--confg"], "no command '--confg': did you mean '"),
    ],
)
def test_no_such_command_is_one_line_and_code_2(arguments, said, called):
    program, call = called
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said.format(program)}")
    assert done.stderr.count("\n") == 1


def test_a_command_gets_its_arguments_and_knows_how_it_was_called(called):
    program, call = called
    done = call("compare", "--beam", "0", "x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: argument --beam: 0: must be ")
    assert done.stderr.endswith(f"({program} compare --help explains)\n")


def test_only_what_is_asked_for_is_imported():
    program = (
        "import sys; from jaxcap import __main__ as m; m.main(['--help'], 'jaxcap');"
        "print([name for name in ('jax', 'numpy', 'ml_collections') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ctrl_c_while_a_command_is_imported_shows_no_traceback(call):
    # The imports say that they have begun, so that the signal comes in their midst.
    environment = os.environ | {"PYTHONVERBOSE": "1"}
    process = subprocess.Popen(
        [sys.executable, *call, "train", "--config", "quickstart", "--workdir", "/dev/null/x"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    while "import 'numpy'" not in said:
        said = process.stderr.readline()
        assert said, "the command ended before its imports"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    rest = process.communicate()[1]
    assert "Traceback" not in rest
    assert process.returncode in (-signal.SIGINT, 130)
