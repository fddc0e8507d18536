"""Checkpoints: the latest and the best; a kill at any moment costs the steps since the latest.

Frozen parameters never change, so they are written once, beside the steps. Each step carries a
checksum of itself: a truncated step fails to restore and a flipped bit fails the checksum, and in
both cases training goes on from the step before it. A step that only could not be read, as when a
network disk does not answer, is no damaged one. Reading alone changes nothing in the folder.
"""

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxcap import processes
from jaxcap.errors import UserError
from jaxcap.io.files import report_full_disk, write_atomically
from jaxcap.training.train_step import TrainState

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


class Damaged(UserError):
    """Files that were read and are not what was saved, unlike those that could not be read."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
      folder: where they lie; made at the first save.
    """

    def __init__(self, folder: os.PathLike | str):
        self.folder = Path(folder).resolve()
        self._steps = self.folder / "steps"

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """Writes steps and deletes those that are no longer kept."""
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
            self._steps,
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

    def save(
        self, state: TrainState, progress: Mapping[str, Any], value: float | None = None
    ) -> None:
        """Writes a step, in the background where it can.

        Args:
          state: the training state; it may be donated as soon as this returns.
          progress: what the loop must remember, as JSON.
          value: of the validation, if there was one: the step of the least is kept as the best.

        Raises:
          FloatingPointError: a number is not finite; nothing is written.
          UserError: the disk is full, or a step of that number already lies here.
        """
        arrays = copy_finite(state, value)
        step = int(state.step)
        sealed = {**progress, "checksum": compute_checksum(arrays, progress)}
        with report_full_disk(self.folder), _system_errors():
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(arrays), progress=ocp.args.JsonSave(sealed)
                ),
                metrics=None if value is None else {"value": value},
            )
        if not saved and step not in self._manager.all_steps():
            raise UserError(f"step {step} could not be saved in {self.folder}")

    def save_frozen(self, frozen: Any) -> None:
        """Writes the frozen parameters if they are not there yet; their checksum comes last."""
        arrays = _copy_arrays(frozen)
        seal = self.folder / "frozen.json"
        if seal.exists() or not arrays:
            return
        with report_full_disk(self.folder), _system_errors():
            with ocp.StandardCheckpointer(multiprocessing_options=_work_alone()) as checkpointer:
                checkpointer.save(self.folder / "frozen", arrays, force=True)
            write_atomically(seal, json.dumps({"checksum": compute_checksum(arrays)}) + "\n")

    def restore_frozen(self, frozen: Any) -> Any:
        """Restores the frozen parameters.

        Args:
          frozen: a tree of the same shapes.

        Raises:
          UserError: they cannot be read, are damaged, or of another model.
        """
        names = _flatten(frozen)
        if not names:
            return frozen
        folder = self.folder / "frozen"
        what = f"the copy of the frozen parameters in {self.folder}"
        try:
            options = _work_alone()
            with (
                _system_errors(),
                ocp.StandardCheckpointer(multiprocessing_options=options) as checkpointer,
            ):
                arrays = checkpointer.restore(folder, _abstract(names))
            seal = json.loads((self.folder / "frozen.json").read_text(encoding="utf-8"))
            checksum = seal["checksum"]
        except Exception as error:
            raise _explain(what, folder, error) from error
        if compute_checksum(arrays) != checksum:
            raise Damaged(f"{what} is damaged (its checksum differs)")
        return jax.tree.unflatten(jax.tree.structure(frozen), [arrays[name] for name in names])

    def wait(self) -> None:
        """Returns when everything is on disk."""
        if "_manager" in vars(self):  # which a run that only reads does not make
            with report_full_disk(self.folder), _system_errors():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and lets go of the folder."""
        self.wait()
        if "_manager" in vars(self):
            self._manager.close()

    def steps(self) -> list[int]:
        """Returns the steps on disk, the latest first."""
        names = [path.name for path in self._steps.iterdir()] if self._steps.exists() else []
        return sorted((int(name) for name in names if name.isdigit()), reverse=True)

    def best_step(self) -> int | None:
        """Returns the step of the best validation, the latest of equals; None before the first one.

        Raises:
          UserError: what a step says of its validation cannot be read, or is damaged.
        """
        best = None
        best_value = math.inf
        for step in self.steps():  # the latest first
            value = self._read_value(step)
            if value is not None and value < best_value:
                best = step
                best_value = value
        return best

    def resume(self, state: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the newest step that is whole, to train on from it; None when there is no step.

        Newer steps, which are damaged then, are moved to the folder `damaged`. What a kill left
        unfinished is removed.

        Args:
          state: a fresh state of the same shapes.

        Raises:
          UserError: a step cannot be read, or all steps are damaged; nothing has changed then.
        """
        steps = self.steps()
        if not steps:
            return None
        damaged: dict[int, Damaged] = {}
        restored = None
        for step in steps:
            try:
                self._read_value(step)  # of older steps too: it decides which of them is the best
                restored = restored or self.restore(step, state)
            except Damaged as error:
                damaged[step] = error
        if restored is None:  # also when the steps are whole and of another model
            raise UserError(
                f"no checkpoint is whole ({damaged[steps[0]]}): choose another --workdir to begin "
                "anew"
            )
        for step, reason in damaged.items():
            # An orbax step of that number would silently not be saved again.
            place = self._set_aside(step)
            print(f"{reason}: it is moved to {place}", file=sys.stderr, flush=True)
        self._remove_leftovers()
        return restored

    def restore_best(self, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Restores the step of the best validation; see `restore`.

        Raises:
          UserError: nothing has been validated yet, or the step cannot be restored.
        """
        step = self.best_step()
        if step is None:
            raise UserError(
                f"the run in {self.folder.parent} has no checkpoint of a finished epoch yet: let "
                "it train on"
            )
        return self.restore(step, state)

    def restore(self, step: int, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Restores one step.

        Args:
          step: its number.
          state: a state of the same shapes.

        Returns:
          The state on the host, and the progress that was saved with it.

        Raises:
          UserError: the step cannot be read, is damaged, or of another model.
        """
        names = _flatten(state)
        folder = self._steps / str(step)
        what = f"checkpoint {step} in {self.folder}"
        items = ocp.args.Composite(
            arrays=ocp.args.StandardRestore(_abstract(names)), progress=ocp.args.JsonRestore()
        )
        try:
            options = _work_alone()
            handler = ocp.CompositeCheckpointHandler(
                "arrays",
                "progress",
                composite_options=ocp.CompositeOptions(multiprocessing_options=options),
            )
            with (
                _system_errors(),
                ocp.Checkpointer(handler, multiprocessing_options=options) as checkpointer,
            ):
                found = checkpointer.restore(folder, args=items)
        except Exception as error:  # orbax raises whatever the storage below it raised
            raise _explain(what, folder, error) from error
        arrays = found["arrays"]
        progress = dict(found["progress"])
        if progress.pop("checksum", None) != compute_checksum(arrays, progress):
            raise Damaged(f"{what} is damaged (its checksum differs)")
        leaves = [arrays[name] for name in names]
        return jax.tree.unflatten(jax.tree.structure(state), leaves), progress

    def _read_value(self, step: int) -> float | None:
        """Returns the validation that a step was saved with, None if there was none."""
        folder = self._steps / str(step)
        try:
            text = (folder / "metrics" / "metrics").read_text(encoding="utf-8")
            return json.loads(text)["value"]
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _explain(f"checkpoint {step} in {self.folder}", folder, error) from error

    def _set_aside(self, step: int) -> Path:
        """Moves a step out of the way and returns where it is now."""
        place = self.folder / "damaged" / str(step)
        number = 1
        while place.exists():
            number += 1
            place = place.with_name(f"{step}-{number}")
        place.parent.mkdir(exist_ok=True)
        (self._steps / str(step)).rename(place)
        return place

    def _remove_leftovers(self) -> None:
        """Removes what a kill has left: unfinished saves, and steps about to be deleted."""
        steps = self.steps()
        kept = {*steps[:2], self.best_step()}
        old = [self._steps / str(step) for step in steps if step not in kept]
        unfinished = f"*{ocp.utils.TMP_DIR_SUFFIX}*"
        for path in (*old, *self.folder.glob(unfinished), *self._steps.glob(unfinished)):
            shutil.rmtree(path, ignore_errors=True)


def copy_finite(state: TrainState, value: float | None) -> dict[str, np.ndarray]:
    """Copies a state to the host, flattened.

    Args:
      state: after a step.
      value: of its validation, if there was one.

    Raises:
      FloatingPointError: a number is not finite.
    """
    arrays = _copy_arrays(state)
    for name, array in (arrays | {"validation": np.array(value or 0.0)}).items():
        if not np.isfinite(array).all():
            raise FloatingPointError(f"after step {int(state.step)} {name} is not finite")
    return arrays


def compute_checksum(
    arrays: Mapping[str, np.ndarray], progress: Mapping[str, Any] | None = None
) -> str:
    """Hashes the names, types, shapes and bytes of arrays, and the progress beside them."""
    digest = hashlib.sha256()
    if progress is not None:
        digest.update(json.dumps(progress, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {np.shape(arrays[name])}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _work_alone() -> ocp.options.MultiprocessingOptions:
    """Returns what lets orbax save and restore in one process without waiting for the others."""
    if processes.count() == 1:
        return ocp.options.MultiprocessingOptions()
    index = processes.get_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process_{index}"
    )


def _explain(what: str, path: Path, error: Exception) -> UserError:
    """Returns the error to raise: `Damaged`, unless files could not be read.

    Args:
      what: was to be restored, for people.
      path: its folder.
      error: what orbax raised.
    """
    missing = isinstance(error, FileNotFoundError)
    system = isinstance(error, OSError | MemoryError | RuntimeError) and not missing
    unread = error if system else _unread(path)
    if unread is None:
        return Damaged(f"{what} is damaged, or of another model ({type(error).__name__})")
    reason = getattr(unread, "strerror", None) or type(unread).__name__
    return UserError(f"{what} cannot be read ({reason}): nothing was changed")


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


def _unread(path: Path) -> OSError | None:
    """Reads every file of a folder and returns the first of the system's errors."""

    def stop(error: OSError) -> None:
        raise error

    try:
        for folder, _, names in os.walk(path, onerror=stop):
            for name in names:
                Path(folder, name).read_bytes()
    except OSError as error:
        return error
    return None


def _flatten(tree: Any) -> dict[str, Any]:
    """Flattens a tree to `{"params.decoder.output.bias": leaf}`, in the tree's own order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _copy_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Copies a tree to the host: a donated buffer may be overwritten while orbax still writes."""
    return {name: np.array(leaf) for name, leaf in _flatten(tree).items()}


def _abstract(leaves: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns empty arrays of the leaves' shapes and types, as orbax wants its templates."""
    return {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in leaves.items()}
