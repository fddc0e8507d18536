"""Training runs that are killed at a chosen moment, each in a process of its own."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxcap import train
from jaxcap.scores import tokenizer
from jaxcap.training import checkpoint, loop

# What a moment is counted in: calls of these, all together.
CALLS = {
    "step": [(loop.Loop, "_record_step")],
    "validation": [(tokenizer, "tokenize_pairs")],
    "samples": [(train.EpochSamples, "__call__")],
    "save": [(checkpoint.Checkpoints, "save")],
    "file": [
        (os, name)
        for name in ("mkdir", "rename", "replace", "unlink", "remove", "rmdir", "truncate")
    ],
}


def run(
    arguments: Sequence[str],
    cache: Path,
    moment: tuple[str, int, bool] | None = None,
    seconds: float = 0,
) -> int:
    """Trains with `arguments` and returns the exit code, -9 after a kill.

    Args:
      arguments: of `train.main`.
      cache: $JAXCAP_CACHE.
      moment: the key of `CALLS`, the number of the call, and whether the kill comes after it
        instead of before it.
      seconds: after which the kill comes; 0 for never.
    """
    # What takes long to import is imported once, in the process from which all the others fork.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__, "jaxcap.training.orbax_store"])
    process = processes.Process(target=_train, args=(list(arguments), str(cache), moment))
    process.start()
    if seconds:
        time.sleep(seconds)
        process.kill()
    process.join()
    return process.exitcode


def _train(arguments: list[str], cache: str, moment: tuple[str, int, bool] | None) -> None:
    os.environ["JAXCAP_CACHE"] = cache
    if moment is not None:
        _kill_at(*moment)
    sys.exit(train.main(arguments))


def _kill_at(calls: str, number: int, after: bool) -> None:
    left = number

    def counted(function: Callable) -> Callable:
        def call(*args, **options):
            nonlocal left
            left -= 1
            last = left == 0
            if last and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **options)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for owner, name in CALLS[calls]:
        setattr(owner, name, counted(getattr(owner, name)))
