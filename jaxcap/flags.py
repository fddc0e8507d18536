"""What the command lines share: one-line complaints, values in their ranges, and the flags of
search.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ml_collections import ConfigDict

from jaxcap.decoding.rules import Rules, make_rules
from jaxcap.errors import UserError
from jaxcap.experiment import ranges
from jaxcap.experiment.ranges import Range


def program(command: str) -> str:
    """Returns how `command` was called, as usage lines and examples show it."""
    called = Path(sys.argv[0])
    if called.stem == "jaxcap":  # the script that pip installs
        return f"jaxcap {command}"
    if called.parts[-2:] == ("jaxcap", "__main__.py"):
        return f"python -m jaxcap {command}"
    return f"python -m jaxcap.{command}"


class Parser(argparse.ArgumentParser):
    """A parser that complains by `UserError`, one line like every other, and prints help as written.

    In the epilog `%(prog)s` stands for how the command was called.
    """

    def __init__(self, command: str, description: str, epilog: str):
        super().__init__(
            program(command),
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help explains)")


def within(allowed: Range) -> Callable[[str], Any]:
    """Returns the `type` of a flag whose values lie in a range."""

    def read(text: str) -> Any:
        try:
            return allowed.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{ranges.shortened(text)}: {error}") from None

    return read


def path(text: str) -> Path:
    """The `type` of a flag that is a path; shells leave the ~ of --workdir=~/x to us."""
    if not text:  # as of "$DIR" where DIR is not set
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(within(ranges.Place())(text)).expanduser()


def add_search(parser: argparse.ArgumentParser, batch_size: int | None = 32) -> None:
    """Adds the flags that decide how captions are searched for; those not typed are left to the
    run's config.

    Args:
      parser: gets the flags.
      batch_size: photos at a time where none is typed; None leaves it to the devices.
    """
    add = parser.add_argument_group(
        "search", "what is not given is as `search` in the run's config.json"
    ).add_argument

    def key(name: str) -> Callable[[str], Any]:
        return within(ranges.KEYS[f"search.{name}"])

    add("--beam", type=key("beam"), metavar="K", help="hypotheses kept; 1 is greedy search")
    add("--min-length", type=key("min_length"), metavar="N", help="fewest words of a caption")
    add(
        "--length-normalization",
        type=key("length_normalization"),
        metavar="A",
        help="compare log-probabilities over ((5 + length) / 6) ** A; 0: the most probable caption wins",
    )
    add(
        "--no-repeat-ngram",
        type=key("no_repeat_ngram"),
        metavar="N",
        help="no N words twice in a caption; 0: off",
    )
    add(
        "--allow-unk",
        action="store_true",
        help="let <unk>, which stands for rare words, be written",
    )
    usual = "32, on processors 4" if batch_size is None else "%(default)s"
    add(
        "--batch-size",
        type=within(ranges.BATCH),
        default=batch_size,
        metavar="N",
        help=f"photos at a time ({usual})",
    )


def rules(options: argparse.Namespace, config: ConfigDict) -> tuple[Rules, int]:
    """Returns the rules and the beam that the flags of `add_search` ask for, over those of the
    run's config.

    Raises:
      UserError: a value that no caption can satisfy.
    """
    usual = make_rules(config)
    names = ("min_length", "length_normalization", "no_repeat_ngram")
    typed = {name: value for name in names if (value := getattr(options, name)) is not None}
    return dataclasses.replace(
        usual, unk=options.allow_unk, **typed
    ), options.beam or config.search.beam
