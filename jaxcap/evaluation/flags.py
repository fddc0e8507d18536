"""What the command lines of several commands share: one-line complaints, and the flags of search."""

import argparse
import dataclasses
from typing import NoReturn

from ml_collections import ConfigDict

from jaxcap import experiment
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
    """Adds the flags that decide how captions are searched for; those not typed are left to the run's config."""
    parser.add_argument("--beam", type=_at_least_1, metavar="K", help="beams; 1 is greedy search (search.beam)")
    parser.add_argument("--min-length", type=int, metavar="N", help="fewest words of a caption (search.min_length)")
    parser.add_argument(
        "--length-normalisation",
        type=float,
        metavar="A",
        help="compare log-probabilities over ((5 + length) / 6) ** A; 0: the most probable caption wins "
        "(search.length_normalisation)",
    )
    parser.add_argument(
        "--no-repeat-ngram",
        type=int,
        metavar="N",
        help="no N words twice in a caption; 0: off (search.no_repeat_ngram)",
    )
    parser.add_argument("--allow-unk", action="store_true", help="let <unk> be written")
    parser.add_argument("--batch-size", type=_at_least_1, metavar="N", help="photos captioned at a time (32)")
    parser.set_defaults(batch_size=32)


def rules(options: argparse.Namespace, config: ConfigDict) -> tuple[Rules, int]:
    """Returns the rules and the beam that the flags of `add_search` ask for, over those of the run's config.

    Raises:
      UserError: a value that no caption can satisfy.
    """
    usual = experiment.search_rules(config)
    names = ("min_length", "length_normalisation", "no_repeat_ngram")
    typed = {name: value for name in names if (value := getattr(options, name)) is not None}
    return dataclasses.replace(usual, unk=options.allow_unk, **typed), options.beam or config.search.beam


def _at_least_1(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


_at_least_1.__name__ = "whole number"  # what argparse calls it when the text is no number
