"""What the command lines of several commands share: one-line complaints, and the flags of search."""

import argparse
from typing import NoReturn

from jaxcap.errors import UserError
from jaxcap.search import Rules


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is a `UserError`, one line like every other; its help keeps the lines as written."""

    def __init__(self, prog: str, description: str, epilog: str):
        raw = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, epilog=epilog, formatter_class=raw, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help explains)")


def add_search(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that decide how captions are searched for."""
    parser.add_argument("--beam", type=_at_least_1, metavar="K", help="beams; 1 is greedy search (5)")
    parser.add_argument("--min-length", type=int, default=0, metavar="N", help="fewest words of a caption (0)")
    parser.add_argument(
        "--length-normalisation",
        type=float,
        default=0.0,
        metavar="A",
        help="compare log-probabilities over ((5 + length) / 6) ** A; 0: the most probable caption wins (0)",
    )
    parser.add_argument(
        "--no-repeat-ngram", type=int, default=0, metavar="N", help="no N words twice in a caption; 0: off (0)"
    )
    parser.add_argument("--allow-unk", action="store_true", help="let <unk> be written")
    parser.add_argument("--batch-size", type=_at_least_1, metavar="N", help="photos captioned at a time (32)")
    parser.set_defaults(batch_size=32)


def rules(options: argparse.Namespace, max_length: int) -> Rules:
    """Returns the rules that the flags of `add_search` ask for.

    Raises:
      UserError: a value that no caption can satisfy.
    """
    return Rules(
        max_length=max_length,
        min_length=options.min_length,
        length_normalisation=options.length_normalisation,
        unk=options.allow_unk,
        no_repeat_ngram=options.no_repeat_ngram,
    )


def _at_least_1(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


_at_least_1.__name__ = "whole number"  # what argparse calls it when the text is no number
