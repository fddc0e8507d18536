"""What the command lines share: one-line errors, values in their ranges, the flags of search."""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ml_collections import ConfigDict

from jaxcap.decoding.rules import Rules, make_rules
from jaxcap.decoding.strategy import Strategy, make_strategy
from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import ranges
from jaxcap.experiment.catalog import find_experiment, list_experiments
from jaxcap.experiment.kinds import DENOISER, Kind
from jaxcap.experiment.ranges import Range
from jaxcap.inputs.noise import Noise

_RULES = ("min_length", "length_normalization", "no_repeat_ngram")  # that a flag can change
_KIND_OF_FLAG = {  # flags that only one kind of search reads
    "beam": "beam",
    "temperature": "sample",
    "top_k": "sample",
    "top_p": "sample",
    "seed": "sample",
}


def name_program(command: str) -> str:
    """Returns how `command` was called, as usage lines and examples show it."""
    called = Path(sys.argv[0])
    if called.stem == "jaxcap":  # the script that pip installs
        return f"jaxcap {command}"
    if called.parts[-2:] == ("jaxcap", "__main__.py"):
        return f"python -m jaxcap {command}"
    return f"python -m jaxcap.{command}"


_COMPILED = """What JAX compiles is kept for the next time, at most 2 GB, in `compiled` of the
folder that the environment variable JAXCAP_CACHE names, or of ~/.cache/jaxcap, or where
JAX_COMPILATION_CACHE_DIR says. Programs are run from there, so the folder must be private."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `UserError`, one line like every other, and whose help is raw.

    Args:
      command: as "train".
      description: what it does.
      epilog: examples, in which `%(prog)s` stands for how the command was called.
      compiles: the help says where the command keeps what it compiles.
    """

    def __init__(self, command: str, description: str, epilog: str, *, compiles: bool = True):
        super().__init__(
            name_program(command),
            description=description,
            epilog=f"{epilog}\n\n{_COMPILED}" if compiles else epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises the error that argparse has found."""
        raise UserError(f"{message} ({self.prog} --help explains)")


def within(allowed: Range) -> Callable[[str], Any]:
    """Returns the `type` of a flag whose values lie in a range."""

    def read(text: str) -> Any:
        try:
            return allowed.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{ranges.shorten(text)}: {error}") from None

    return read


def path(text: str) -> Path:
    """The `type` of a flag that is a path.

    The shell expands no ~ inside --workdir=~/x, so that it is expanded here.
    """
    if not text:  # as of "$DIR" where DIR is not set
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(within(ranges.Place())(text)).expanduser()


def read_experiment(
    kind: Kind,
    description: str,
    epilog: str,
    argv: Sequence[str] | None,
    add: Callable[[argparse.ArgumentParser], None] | None = None,
) -> tuple[ConfigDict, Path]:
    """Reads the command line of a command that trains.

    Args:
      kind: of the experiments that it takes.
      description: what the command does.
      epilog: examples.
      argv: as typed; None for the process's own.
      add: adds flags that the command reads by itself.

    Returns:
      The resolved config, and the workdir.
    """

    parser = Parser(kind.command, description, epilog)
    add_experiment(parser, kind)
    parser.add_argument(
        "--workdir",
        type=path,
        metavar="DIR",
        help="where the run is kept (checkpoints/NAME)",
    )
    if add is not None:
        add(parser)
    # Overrides are taken out first: their names are the config's business, not the parser's.
    overrides, others = configs.split(sys.argv[1:] if argv is None else argv)
    options = parser.parse_args(others)
    config = configs.load(options.config, overrides, kind)
    return config, options.workdir or Path("checkpoints") / options.config.stem


def add_experiment(parser: argparse.ArgumentParser, kind: Kind, *, required: bool = True) -> None:
    """Adds the flag that names an experiment, and the help of those that override its keys.

    Overrides themselves are no flags of the parser: `configs.split` takes them out first.

    Args:
      parser: gets the flags.
      kind: of the experiment.
      required: it must be named.
    """

    def find(text: str) -> Path:
        path(text)
        return find_experiment(text, kind)

    names = ", ".join(list_experiments(kind))
    parser.add_argument(
        "--config",
        type=find,
        required=required,
        metavar="NAME",
        help=f"an experiment of jaxcap's ({names}) or the path of a file",
    )
    parser.add_argument(
        "--config.KEY",
        dest="override",
        metavar="VALUE",
        help="overrides a key of the experiment, as --config.train.epochs 3; the last counts",
    )


def add_workdirs(parser: argparse.ArgumentParser, nargs: str | int = "+") -> None:
    """Adds the flag that names a trained run, or several for an ensemble.

    Args:
      parser: gets the flag, which may be repeated.
      nargs: how many runs follow it each time.
    """
    parser.add_argument(
        "--workdir",
        type=path,
        nargs=nargs,
        action="extend",
        required=True,
        metavar="DIR",
        help="the run's folder, as checkpoints/quickstart; several runs write as an ensemble, and "
        "the folder of a run of replicas stands for all of them",
    )


def add_search(parser: argparse.ArgumentParser, batch_size: int | None = 32) -> None:
    """Adds the flags that decide how captions are written.

    Those not typed are left to the run's config.

    Args:
      parser: gets the flags.
      batch_size: photos at a time where none is typed; None leaves it to the devices.
    """
    group = parser.add_argument_group(
        "search", "what is not given is as `search` in the run's config.json"
    )
    _add_key(group, "--search", "kind", "KIND", "beam, greedy, or sample: words drawn at random")
    _add_key(group, "--beam", "beam", "K", "hypotheses kept; 1 is greedy search")
    _add_key(group, "--min-length", "min_length", "N", "fewest words of a caption")
    _add_key(
        group,
        "--length-normalization",
        "length_normalization",
        "A",
        "compare log-probabilities over ((5 + length) / 6) ** A; 0: the most probable caption wins",
    )
    _add_key(
        group,
        "--no-repeat-ngram",
        "no_repeat_ngram",
        "N",
        "no N words twice in a caption; 0: off",
    )
    group.add_argument(
        "--allow-unk",
        action="store_true",
        help="let <unk>, which stands for rare words, be written",
    )
    usual = "32, on processors 4" if batch_size is None else "%(default)s"
    group.add_argument(
        "--batch-size",
        type=within(ranges.BATCH),
        default=batch_size,
        metavar="N",
        help=f"photos at a time ({usual})",
    )
    _add_sampling(parser)


def add_denoiser(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that puts a denoiser before a run's encoder."""

    def read(text: str) -> Path | str:
        return text if text == ranges.NO_DENOISER else path(text)

    parser.add_argument(
        "--denoiser",
        type=read,
        metavar="DENOISER",
        help="put the denoiser of this workdir before the encoder, in the place of the run's own; "
        "none: leave the run's own out",
    )


def noise(text: str) -> Noise:
    """The `type` of a flag that names kinds of noise with their levels."""
    levels: dict[str, float] = {}
    for part in text.split(","):
        kind, _, level = part.partition("=")
        allowed = DENOISER.keys.get(f"noise.{kind}")
        if allowed is None or kind in levels or not level:
            raise argparse.ArgumentTypeError(
                f"{ranges.shorten(text)}: must be gaussian=LEVEL, salt_and_pepper=LEVEL, or both "
                "with a comma between them"
            )
        levels[kind] = within(allowed)(level)
    if not any(levels.values()):
        raise argparse.ArgumentTypeError(f"{ranges.shorten(text)}: must be above 0 for some kind")
    return Noise(**levels)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that belong to --search sample."""
    group = parser.add_argument_group("sampling", "with --search sample, or a run that samples")
    _add_key(group, "--temperature", "temperature", "T", "below 1: probable words more often")
    _add_key(group, "--top-k", "top_k", "N", "draw among the N most probable words; 0: all")
    _add_key(
        group,
        "--top-p",
        "top_p",
        "P",
        "draw among the fewest words that together have probability P; 1: all",
    )
    group.add_argument("--seed", type=within(ranges.SEED), metavar="N", help="of the draws (0)")


def _add_key(group: argparse._ArgumentGroup, flag: str, key: str, metavar: str, text: str) -> None:
    """Adds a flag that stands for a key of the section `search`."""
    allowed = ranges.KEYS[f"search.{key}"]
    group.add_argument(flag, type=within(allowed), metavar=metavar, help=text)


def read_search(options: argparse.Namespace, config: ConfigDict) -> tuple[Rules, Strategy]:
    """Returns the rules and the strategy that the flags of `add_search` ask for.

    Args:
      options: what was typed.
      config: the run's, which decides what was not typed.

    Raises:
      UserError: a value that no caption can satisfy, or a flag of another kind of search.
    """
    rules = dataclasses.replace(
        make_rules(config), unk=options.allow_unk, **_list_typed(options, _RULES)
    )
    kind = options.search or config.search.kind
    typed = _list_typed(options, _KIND_OF_FLAG)
    for name in typed:
        if _KIND_OF_FLAG[name] != kind:
            clash = f"this run's search.kind is {kind}: add --search {_KIND_OF_FLAG[name]}"
            if options.search:
                clash = f"--search {kind} is there too: choose one"
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} belongs to --search {_KIND_OF_FLAG[name]}, and {clash}")
    return rules, make_strategy({**config.search, **typed, "kind": kind})


def _list_typed(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Returns the values of those flags that were typed."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}
