"""Checkpoints: the latest and the best; a kill at any moment costs the steps since the latest.

Frozen parameters never change, so they are written once, beside the steps. Each step carries a
checksum of itself: a truncated step fails to restore and a flipped bit fails the checksum, and in
both cases training goes on from the step before it. A step that only could not be read, as when a
network disk does not answer, is no damaged one. Reading alone changes nothing in the folder.
"""

import functools
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jaxcap.errors import UserError
from jaxcap.io.files import report_full_disk, write_atomically
from jaxcap.training import saved_arrays
from jaxcap.training.saved_arrays import Saved, compute_checksum
from jaxcap.training.train_step import TrainState


def _import_store() -> ModuleType:
    """Imports orbax where a step is written, or one that cannot be read is looked into.

    It takes a third of a second, and to read what is whole takes less.
    """
    from jaxcap.training import orbax_store

    return orbax_store


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
        self._seal = self.folder / "frozen.json"
        self._freezing: Future[None] | None = None

    @functools.cached_property
    def _manager(self) -> Any:
        """Writes steps and deletes those that are no longer kept."""
        return _import_store().open_manager(self._steps)

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
        self._finish_frozen()
        step = int(state.step)
        sealed = {**progress, "checksum": compute_checksum(arrays, progress)}
        with report_full_disk(self.folder):
            saved = _import_store().save_step(self._manager, step, arrays, sealed, value)
        if not saved and step not in self._manager.all_steps():
            raise UserError(f"step {step} could not be saved in {self.folder}")

    def save_frozen(self, frozen: Any) -> None:
        """Begins to write the frozen parameters if they are not there yet.

        They are there before the first step is.
        """
        arrays = _copy_arrays(frozen)
        if self._seal.exists() or not arrays:
            return
        pool = ThreadPoolExecutor(1)
        self._freezing = pool.submit(self._write_frozen, arrays)
        pool.shutdown(wait=False)

    def _write_frozen(self, arrays: Mapping[str, np.ndarray]) -> None:
        with report_full_disk(self.folder):
            _import_store().save_arrays(self.folder / "frozen", arrays)
            # Last, for it says that they are whole.
            write_atomically(self._seal, json.dumps({"checksum": compute_checksum(arrays)}) + "\n")

    def _finish_frozen(self) -> None:
        """Returns when the frozen parameters are on disk."""
        if self._freezing is not None:
            freezing = self._freezing
            self._freezing = None
            freezing.result()

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
        arrays = self.read_frozen()
        if not _have_same_shapes(arrays, names):
            raise Damaged(f"{self._frozen} is damaged, or of another model")
        return _unflatten(frozen, arrays)

    def read_frozen(self) -> dict[str, np.ndarray]:
        """Reads the frozen parameters by their names; empty where none have been written.

        Raises:
          UserError: they cannot be read, or are damaged.
        """
        self._finish_frozen()
        folder = self.folder / "frozen"
        if not folder.exists() and not self._seal.exists():
            return {}
        saved = saved_arrays.read_frozen(folder, self._seal)
        if saved is not None:
            return saved
        try:
            arrays = _import_store().restore_arrays(folder)
            checksum = json.loads(self._seal.read_text(encoding="utf-8"))["checksum"]
        except Exception as error:
            raise _explain(self._frozen, folder, error) from error
        if compute_checksum(arrays) != checksum:
            raise Damaged(f"{self._frozen} is damaged (its checksum differs)")
        return arrays

    @property
    def _frozen(self) -> str:
        return f"the copy of the frozen parameters in {self.folder}"

    def wait(self) -> None:
        """Returns when everything is on disk."""
        self._finish_frozen()
        if "_manager" in vars(self):  # which a run that only reads does not make
            with report_full_disk(self.folder):
                _import_store().wait(self._manager)

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
        return self.restore(self.find_best(), state)

    def find_best(self) -> int:
        """Returns the step of the best validation.

        Raises:
          UserError: nothing has been validated yet; or as of `best_step`.
        """
        step = self.best_step()
        if step is None:
            raise UserError(
                f"the run in {self.folder.parent} has no checkpoint of a finished epoch yet: let "
                "it train on"
            )
        return step

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
        saved = self.read(step)
        if not _have_same_shapes(saved.arrays, _flatten(state)):
            raise Damaged(f"{self._name(step)} is damaged, or of another model")
        return _unflatten(state, saved.arrays), saved.progress

    def read(self, step: int) -> Saved:
        """Reads the arrays of one step by their names, and the progress that was saved with it.

        Raises:
          UserError: the step cannot be read, or is damaged.
        """
        folder = self._steps / str(step)
        saved = saved_arrays.read_step(folder)
        if saved is not None:
            return saved
        try:
            arrays, progress = _import_store().restore_step(folder)
        except Exception as error:  # orbax raises whatever the storage below it raised
            raise _explain(self._name(step), folder, error) from error
        if progress.pop("checksum", None) != compute_checksum(arrays, progress):
            raise Damaged(f"{self._name(step)} is damaged (its checksum differs)")
        return Saved(arrays, progress)

    def _name(self, step: int) -> str:
        return f"checkpoint {step} in {self.folder}"

    def _read_value(self, step: int) -> float | None:
        """Returns the validation that a step was saved with, None if there was none."""
        folder = self._steps / str(step)
        try:
            text = (folder / "metrics" / "metrics").read_text(encoding="utf-8")
            return json.loads(text)["value"]
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _explain(self._name(step), folder, error) from error

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
        unfinished = f"*{_import_store().UNFINISHED}*"
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


def _unflatten(tree: Any, arrays: Mapping[str, Any]) -> Any:
    """Puts arrays, by the names of `_flatten`, in the place of a tree's leaves."""
    return jax.tree.unflatten(jax.tree.structure(tree), [arrays[name] for name in _flatten(tree)])


def _have_same_shapes(arrays: Mapping[str, Any], leaves: Mapping[str, Any]) -> bool:
    """Tells whether arrays have the names, shapes and types of leaves."""
    if arrays.keys() != leaves.keys():
        return False
    for name, leaf in leaves.items():
        if arrays[name].shape != leaf.shape or arrays[name].dtype != leaf.dtype:
            return False
    return True


def _copy_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Copies a tree to the host: a donated buffer may be overwritten while orbax still writes."""
    return {name: np.array(leaf) for name, leaf in _flatten(tree).items()}
