"""How a command ends when the user made a mistake: one line on stderr and exit code 2."""

import codecs
import errno
import os
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """A mistake of the user's. Its text is one line: what was wrong, where, and what to do about it."""


def out_of_space(error: OSError, path: os.PathLike | str) -> UserError:
    """Returns the one line for a full disk (or quota) met while writing to `path`."""
    return UserError(
        f"no space left on disk while writing {path}: free some space, or set another place for it ({error.strerror})"
    )


def is_out_of_space(error: BaseException) -> bool:
    """Tells whether `error` is the operating system's word for a full disk or an exhausted quota."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Runs a command's `main` and leaves the process: 0 or its own code, 2 after a mistake, 130 after Ctrl-C.

    Where the reader of a pipe, such as `head`, went before the last line: 141, as shells say it of SIGPIPE.
    """
    _quiet_pillow()
    _write_utf8()
    try:
        code = main() or 0
        sys.stdout.flush()
        sys.exit(code)
    except UserError as mistake:
        print(f"error: {' '.join(str(mistake).split())}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python meets the pipe again as it leaves
        sys.exit(141)
    except OSError as error:
        if not is_out_of_space(error):
            raise
        print(f"error: {out_of_space(error, error.filename or 'a file')}", file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(2)


def _quiet_pillow() -> None:
    """Silences Pillow's warnings, of large photos and small damage: a photo is either decoded or named in an error.

    Here and for good, as filters belong to the whole process: set around each call, they would be lost in its threads.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _write_utf8() -> None:
    """Lets captions be printed where the locale knows ASCII alone, as in many containers."""
    for stream in (sys.stdout, sys.stderr):
        if codecs.lookup(stream.encoding or "ascii").name == "ascii":
            stream.reconfigure(encoding="utf-8", errors=stream.errors)
