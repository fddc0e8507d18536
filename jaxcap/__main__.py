"""The command line: `jaxcap train|denoise|evaluate|caption|compare|ablate|cache|doctor ...`."""

import difflib
import functools
import gc
import importlib
import signal
import sys
from typing import NoReturn

from jaxcap import __version__, errors

COMMANDS = {
    "train": "train a captioner, or resume a run",
    "denoise": "train a denoiser of photos",
    "evaluate": "score a run's captions of a split",
    "caption": "caption photos with a run",
    "compare": "set scored runs side by side",
    "ablate": "run a grid of arms by seeds, and compare the arms",
    "cache": "list and remove prepared data, features and compiled programs",
    "doctor": "check the machine, a set-up, or what came of a run",
}


def main(arguments: list[str], program: str) -> int:
    """Runs `jaxcap` without a command and returns its exit code.

    Args:
      arguments: as typed.
      program: how it was called.

    Raises:
      UserError: `arguments` ask for nothing that jaxcap knows.
    """
    word = arguments[0] if arguments else ""
    if word in ("-h", "--help"):
        print(_help(program))
        return 0
    if word == "--version":
        print(f"jaxcap {__version__}")
        return 0
    if not word:
        raise errors.UserError(f"no command: {', '.join(COMMANDS)} ({program} --help explains)")
    nearest = difflib.get_close_matches(word.lower(), COMMANDS, n=1, cutoff=0.0)[0]
    raise errors.UserError(
        f"no command {word!r}: did you mean {nearest!r}? ({program} --help lists all)"
    )


def run(program: str = "jaxcap") -> NoReturn:
    """Runs the command that the command line names, and leaves the process."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in COMMANDS:
        errors.exit_with(functools.partial(main, arguments, program))
    gc.disable()  # as in __init__.py, for the imports below
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # As in __init__.py: the imports take seconds, and Ctrl-C must end them quietly.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Only this command's module: a list of the cache need not wait for what training imports.
    command = importlib.import_module(f"jaxcap.{arguments[0]}")
    errors.exit_with(functools.partial(command.main, arguments[1:]))


def _help(program: str) -> str:
    """Returns the text of `jaxcap --help`."""
    commands = "\n".join(f"  {name:<10}{purpose}" for name, purpose in COMMANDS.items())
    return f"""usage: {program} COMMAND ...

Image captioning with soft attention in JAX. The commands, each with its own --help:

{commands}

{program} --version prints the version."""


if __name__ == "__main__":
    run("python -m jaxcap")
