"""How commands end: one line and an exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("main", "code", "said"),
    [
        ("lambda: None", 0, ""),
        ("lambda: 2", 2, ""),
        ("lambda: fail(UserError('two\\nlines'))", 2, "error: two lines\n"),
        (
            "lambda: fail(OSError(errno.ENOSPC, 'full', 'there'))",
            2,
            "error: no space left on disk while writing there",
        ),
        (
            "lambda: fail(PermissionError(errno.EACCES, 'Permission denied', 'there'))",
            2,
            "error: there: Permission denied",
        ),
        ("lambda: fail(KeyboardInterrupt())", 130, "stopped\n"),
    ],
)
def test_a_command_ends_in_one_line_and_its_code(main, code, said):
    ended = subprocess.run([sys.executable, "-c", program(main)], capture_output=True, text=True)
    assert ended.returncode == code
    assert ended.stderr.startswith(said) and ended.stderr.count("\n") == bool(said)


@pytest.mark.parametrize("seconds", [0.2, 0.6])
def test_ctrl_c_while_a_command_starts_shows_no_traceback(seconds):
    command = [
        sys.executable,
        "-m",
        "jaxcap.train",
        "--config",
        "experiments/quickstart.py",
        "--workdir",
        "/dev/null/x",
    ]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate()[1]


@pytest.mark.parametrize("lines", [1, 100_000], ids=["met in the last flush", "met at once"])
def test_a_reader_who_leaves_early_is_no_error(lines):
    main = f"lambda: print('a line\\n' * {lines})"
    writer = subprocess.Popen(
        [sys.executable, "-c", "input();" + program(main)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    writer.stdout.close()
    _, said = writer.communicate("go\n")
    assert (writer.returncode, said) == (141, "")


def test_captions_can_be_printed_where_the_locale_knows_ascii_alone():
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    main = "lambda: print('un caf\\xe9', os.fsdecode('caf\\xe9'.encode()))"
    command = [sys.executable, "-c", "import os;" + program(main)]
    ran = subprocess.run(command, capture_output=True, env=os.environ | locale)
    assert (ran.stdout.decode("utf-8"), ran.stderr, ran.returncode) == (
        "un caf\xe9 caf\xe9\n",
        b"",
        0,
    )


def test_a_letter_that_the_terminal_lacks_and_a_librarys_warning_end_nothing():
    main = "lambda: (__import__('warnings').warn('two\\nlines'), print('caf\\xe9'))[1]"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [sys.executable, "-c", program(main)], capture_output=True, text=True, env=environment
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "caf\\xe9\n", "")


def program(main: str) -> str:
    """A command whose main is the expression `main`."""
    fail = "fail = lambda error: (_ for _ in ()).throw(error)"
    return (
        f"import errno; from jaxcap.errors import UserError, exit_with; {fail}; exit_with({main})"
    )
