"""How commands end: one line and an exit code."""

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
        ("lambda: fail(OSError(errno.ENOSPC, 'full', 'there'))", 2, "error: no space left on disk while writing there"),
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
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stderr=subprocess.PIPE, text=True)
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


def program(main: str) -> str:
    """A command whose main is the expression `main`."""
    fail = "fail = lambda error: (_ for _ in ()).throw(error)"
    return f"import errno; from jaxcap.errors import UserError, exit_with; {fail}; exit_with({main})"
