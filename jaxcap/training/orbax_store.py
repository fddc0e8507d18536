"""Writes and restores checkpoints by orbax, which a command that only reads need not import.

Several processes may use it, each for itself: none waits for the others.
"""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxcap import processes

UNFINISHED = ocp.utils.TMP_DIR_SUFFIX  # in the names of folders that are being written

# orbax tells every small thing it does, and shows tracebacks of errors that it also raises.
logging.getLogger("absl").setLevel(logging.CRITICAL)


def _hide_closed_loops(found: Any, others: Callable = sys.unraisablehook) -> None:
    """Hides what orbax shows beside an error that it also raises.

    When one array cannot be read, each of the others shows a traceback of its own.
    """
    if not (
        isinstance(found.exc_value, RuntimeError) and str(found.exc_value) == "Event loop is closed"
    ):
        others(found)


sys.unraisablehook = _hide_closed_loops


def open_manager(folder: Path) -> ocp.CheckpointManager:
    """Returns what writes steps to a folder and keeps the last two and the best."""
    keep = policies.AnyPreservationPolicy(
        [
            # The step before the latest is what a damaged latest falls back on.
            policies.LatestN(2),
            policies.BestN(
                get_metric_fn=lambda metrics: metrics["value"],
                reverse=True,
                n=1,
                keep_checkpoints_without_metrics=False,
            ),
        ]
    )
    return ocp.CheckpointManager(
        folder,
        options=ocp.CheckpointManagerOptions(
            preservation_policy=keep,
            create=False,
            # Without it the manager writes no metrics down.
            best_fn=lambda metrics: metrics["value"],
            best_mode="min",
            multiprocessing_options=_work_alone(),
        ),
        item_names=("arrays", "progress"),
    )


def save_step(
    manager: ocp.CheckpointManager,
    step: int,
    arrays: Mapping[str, np.ndarray],
    progress: Mapping[str, Any],
    value: float | None,
) -> bool:
    """Writes a step, in the background where it can.

    Args:
      manager: from `open_manager`.
      step: its number.
      arrays: by name.
      progress: what lies beside them, as JSON.
      value: by which the best step is found; None: it cannot be the best.

    Returns:
      Whether it is being written.

    Raises:
      OSError: the system does not let it be written.
    """
    items = ocp.args.Composite(
        arrays=ocp.args.StandardSave(arrays), progress=ocp.args.JsonSave(progress)
    )
    with _system_errors():
        return manager.save(step, args=items, metrics=None if value is None else {"value": value})


def wait(manager: ocp.CheckpointManager) -> None:
    """Returns when everything is on disk; raises OSError as `save_step`."""
    with _system_errors():
        manager.wait_until_finished()


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name, in the place of what is in the folder; raises OSError."""
    with (
        _system_errors(),
        ocp.StandardCheckpointer(multiprocessing_options=_work_alone()) as checkpointer,
    ):
        checkpointer.save(folder, arrays, force=True)


def restore_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Reads what `save_arrays` has written.

    Raises:
      OSError: the system does not let it be read.
      Exception: of some other kind where it is damaged.
    """
    with (
        _system_errors(),
        ocp.StandardCheckpointer(multiprocessing_options=_work_alone()) as checkpointer,
    ):
        return _to_host(checkpointer.restore(folder))


def restore_step(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads the arrays and the progress of a step that `save_step` has written.

    Raises:
      Exception: as of `restore_arrays`.
    """
    options = _work_alone()
    handler = ocp.CompositeCheckpointHandler(
        "arrays",
        "progress",
        composite_options=ocp.CompositeOptions(multiprocessing_options=options),
    )
    items = ocp.args.Composite(arrays=ocp.args.StandardRestore(), progress=ocp.args.JsonRestore())
    with (
        _system_errors(),
        ocp.Checkpointer(handler, multiprocessing_options=options) as checkpointer,
    ):
        found = checkpointer.restore(folder, args=items)
    return _to_host(found["arrays"]), dict(found["progress"])


def _to_host(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in arrays.items()}


def _work_alone() -> ocp.options.MultiprocessingOptions:
    """Returns what lets orbax save and restore in one process without waiting for the others."""
    if processes.count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = processes.get_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )


@contextlib.contextmanager
def _system_errors() -> Iterator[None]:
    """Raises the system's errors as such.

    tensorstore's are all ValueErrors, with the system's number in their text.
    """
    try:
        yield
    except ValueError as error:
        number = re.search(r"os_error_code='(\d+)'", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
