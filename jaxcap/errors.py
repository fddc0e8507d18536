"""How a command ends when the user made a mistake: one line on stderr and exit code 2."""

import codecs
import contextlib
import errno
import gc
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """A mistake of the user's, as one line: what was wrong, where, and what to do about it."""


def out_of_space(error: OSError, path: os.PathLike | str) -> UserError:
    """Returns the one line for a full disk (or quota) met while writing to `path`."""
    return UserError(
        f"no space left on disk while writing {path}: free some space, or set another place for it "
        f"({error.strerror})"
    )


def is_out_of_space(error: BaseException) -> bool:
    """Tells whether `error` is a full disk or an exhausted quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Runs a command's `main` and exits: with 0 or its own code, 2 after a mistake, 130 at Ctrl-C.

    What the system refuses, such as a file that cannot be read, is a mistake too. Where the reader
    of a pipe, such as `head`, ended before the last line, the code is 141, as after SIGPIPE.
    """
    if not sys.warnoptions:
        # What libraries warn of is for programmers, who can see it with `python -W default`.
        warnings.simplefilter("ignore")
    _make_printable()
    # What the imports have made stays to the end: no collection has to go through it again.
    gc.freeze()
    gc.enable()
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main() or 0
        sys.stdout.flush()
        sys.exit(code)
    except UserError as mistake:
        print_error(mistake)
    except BrokenPipeError:
        # Else Python writes into the pipe once more as it exits, and fails again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if not error.errno:
            raise
        name = error.filename or "a file"
        if is_out_of_space(error):
            print_error(out_of_space(error, name))
        else:
            print_error(f"{name}: {error.strerror}")
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        # Without Python's cleaning up, in which XLA crashes when it was stopped while it compiled.
        os._exit(130)
    sys.exit(2)


def print_error(message: UserError | str) -> None:
    """Prints the one line of a mistake on stderr."""
    print(f"error: {' '.join(str(message).split())}", file=sys.stderr)


def _make_printable() -> None:
    """Lets every caption and name be printed, whatever the locale's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue  # replaced, as in a notebook, by something that prints all of Unicode
        is_ascii = codecs.lookup(stream.encoding or "ascii").name == "ascii"
        # As in many containers, where nobody chose it.
        if is_ascii and not os.environ.get("PYTHONIOENCODING"):
            stream.reconfigure(encoding="utf-8", errors=stream.errors)
        elif stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
