"""How a command ends when the user made a mistake: one line on stderr and exit code 2."""

import codecs
import contextlib
import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """A mistake of the user's. Its text is one line: what was wrong, where, and what to do about
    it.
    """


def out_of_space(error: OSError, path: os.PathLike | str) -> UserError:
    """Returns the one line for a full disk (or quota) met while writing to `path`."""
    return UserError(
        f"no space left on disk while writing {path}: free some space, or set another place for it "
        f"({error.strerror})"
    )


def is_out_of_space(error: BaseException) -> bool:
    """Tells whether `error` is the operating system's word for a full disk or an exhausted
    quota.
    """
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Runs a command's `main` and leaves the process: 0 or its own code, 2 after a mistake, 130
    after Ctrl-C.

    What the system refuses, such as a file that cannot be read, is a mistake too. Where the reader
    of a pipe, such as `head`, went before the last line: 141, as shells say it of SIGPIPE.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn programmers; `python -W default` shows it
    _make_printable()
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main() or 0
        sys.stdout.flush()
        sys.exit(code)
    except UserError as mistake:
        print(f"error: {' '.join(str(mistake).split())}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python meets the pipe again as it leaves
        sys.exit(141)
    except OSError as error:
        if not error.errno:
            raise
        name = error.filename or "a file"
        said = out_of_space(error, name) if is_out_of_space(error) else f"{name}: {error.strerror}"
        print(f"error: {' '.join(str(said).split())}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        # At once: XLA, when it was stopped while it compiled, crashes as Python takes itself down.
        os._exit(130)
    sys.exit(2)


def _make_printable() -> None:
    """Lets every caption and name be printed, whatever the locale's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        is_ascii = codecs.lookup(stream.encoding or "ascii").name == "ascii"
        if is_ascii and not os.environ.get(
            "PYTHONIOENCODING"
        ):  # as in many containers, where nobody chose it
            stream.reconfigure(encoding="utf-8", errors=stream.errors)
        elif stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
