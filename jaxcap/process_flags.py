"""The flags of a process that trains together with others."""

import argparse
import sys
from collections.abc import Sequence

from jaxcap import flags
from jaxcap.errors import UserError
from jaxcap.experiment import ranges
from jaxcap.processes import Place

_PROCESSES = ranges.Whole(at_least=1, at_most=65_536)
_PROCESS = ranges.Whole(at_least=0, at_most=65_535)
_WAIT = ranges.Whole(at_least=1, at_most=86_400)


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a process that trains together with others."""
    group = parser.add_argument_group(
        "several processes",
        "one on each machine, started by the same command, with the workdir and the caches on a "
        "disk that they share; a machine by itself needs none of these, whatever its devices",
    )
    group.add_argument(
        "--distributed",
        action="store_true",
        help="train with the processes that JAX finds by itself, as on TPU slices, with SLURM or "
        "Open MPI",
    )
    group.add_argument(
        "--coordinator",
        type=_address,
        metavar="HOST:PORT",
        help="train with the processes that meet here, a free port of process 0's machine",
    )
    group.add_argument(
        "--processes", type=flags.within(_PROCESSES), metavar="N", help="how many they are"
    )
    group.add_argument(
        "--process", type=flags.within(_PROCESS), metavar="I", help="which this one is, 0 to N - 1"
    )
    group.add_argument(
        "--wait",
        type=flags.within(_WAIT),
        default=300,
        metavar="SECONDS",
        help="for all of them to start (%(default)s)",
    )


def read_processes(argv: Sequence[str] | None) -> Place | None:
    """Reads which of several processes this one is; None where it is by itself.

    Args:
      argv: as typed; None for the process's own.

    Raises:
      UserError: the flags contradict each other.
    """
    parser = flags.Parser("train", "", "")
    add_processes(parser)
    options, _ = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    given = {
        "--coordinator": options.coordinator,
        "--processes": options.processes,
        "--process": options.process,
    }
    missing = [flag for flag, value in given.items() if value is None]
    if options.distributed:
        if len(missing) < len(given):
            raise UserError(
                "--distributed finds out by itself who takes part: leave it out, or "
                f"{', '.join(flag for flag in given if flag not in missing)}"
            )
        return Place("", 0, 0, options.wait)
    if len(missing) == len(given):
        return None
    if missing:
        raise UserError(
            f"{', '.join(given)} belong together: {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing"
        )
    if options.process >= options.processes:
        raise UserError(
            f"--process {options.process}: of {options.processes} processes the last is "
            f"{options.processes - 1}"
        )
    return Place(options.coordinator, options.processes, options.process, options.wait)


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise argparse.ArgumentTypeError(
            f"{ranges.shorten(text)}: must be HOST:PORT, as 10.0.0.1:1234"
        )
    return text
