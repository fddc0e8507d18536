"""Checkpoints: the latest and the best, written so that a kill at any moment costs no more than the
steps since.

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

from jaxcap.errors import UserError
from jaxcap.io.files import report_full_disk, write_atomically
from jaxcap.training.train_step import TrainState, fill, trained

# orbax tells every small thing it does, and shows tracebacks of errors that it also raises.
logging.getLogger("absl").setLevel(logging.CRITICAL)


def _hide_closed_loops(found: Any, others: Callable = sys.unraisablehook) -> None:
    """When one array cannot be read, orbax leaves the others behind, and each of them shows a
    traceback of its own.
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
                policies.LatestN(
                    2
                ),  # the step before the latest is what a damaged latest falls back on
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics["cost"],
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
                best_fn=lambda metrics: metrics["cost"],
                best_mode="min",
            ),
            item_names=("arrays", "progress"),
        )

    def save(
        self, state: TrainState, frozen: Any, progress: Mapping[str, Any], cost: float | None = None
    ) -> None:
        """Writes a step, in the background where it can.

        Args:
          state: the training state; it may be donated as soon as this returns.
          frozen: from `optim.freeze_mask`.
          progress: what the loop must remember, as JSON.
          cost: of the validation, where there was one: the step of the least is kept as the best.

        Raises:
          FloatingPointError: a number is not finite; nothing is written.
          UserError: the disk is full, or a step of that number already lies here.
        """
        arrays = _arrays(trained_state(state, frozen))
        step = int(state.step)
        bad = [
            name
            for name, array in (arrays | {"cost": cost or 0.0}).items()
            if not np.isfinite(array).all()
        ]
        if bad:
            raise FloatingPointError(f"after step {step} {bad[0]} is not finite")
        with report_full_disk(self.folder), _system_errors():
            self._save_frozen(state.params, frozen)
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(arrays),
                    progress=ocp.args.JsonSave(
                        {**progress, "checksum": checksum(arrays, progress)}
                    ),
                ),
                metrics=None if cost is None else {"cost": cost},
            )
        if not saved and step not in self._manager.all_steps():
            raise UserError(f"step {step} could not be saved in {self.folder}")

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
        """Returns the step of the best validation, the latest of equals; None before the first
        validation.

        Raises:
          UserError: what a step says of its validation cannot be read, or is damaged.
        """
        costs = {step: self._cost(step) for step in self.steps()}
        return min((step for step in costs if costs[step] is not None), key=costs.get, default=None)

    def resume(self, state: TrainState, frozen: Any) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the newest step that is whole, to train on from it; None when there is no step.

        Newer steps, which are damaged then, are moved to the folder `damaged`. What a kill left
        unfinished is removed.

        Args:
          state: a fresh state of the same shapes.
          frozen: from `optim.freeze_mask`.

        Raises:
          UserError: a step or the frozen parameters cannot be read, or all steps are damaged;
            nothing has changed then.
        """
        steps = self.steps()
        if not steps:
            return None
        # Every step needs the frozen parameters: damaged, they are an error and no reason to give
        # up a step.
        params = self._restore_frozen(state.params, frozen)
        damaged: dict[int, Damaged] = {}
        restored = None
        for step in steps:
            try:
                self._cost(step)  # of older steps too: it decides which of them is the best
                restored = restored or self._restore(step, state, params, frozen)
            except Damaged as damage:
                damaged[step] = damage
        if restored is None:  # also when the steps are whole and of another model
            raise UserError(
                f"no checkpoint is whole ({damaged[steps[0]]}): choose another --workdir to begin "
                "anew"
            )
        for step, damage in damaged.items():
            # An orbax step of that number would silently not be saved again.
            print(f"{damage}: it is moved to {self._set_aside(step)}", file=sys.stderr, flush=True)
        self._tidy()
        return restored

    def restore(
        self, step: int, state: TrainState, frozen: Any
    ) -> tuple[TrainState, dict[str, Any]]:
        """Restores one step.

        Raises:
          UserError: the step cannot be read, is damaged, or of another model.
        """
        return self._restore(step, state, self._restore_frozen(state.params, frozen), frozen)

    def _restore(
        self, step: int, state: TrainState, params: Any, frozen: Any
    ) -> tuple[TrainState, dict[str, Any]]:
        """Restores the trained part of a step; `params` give the frozen ones."""
        template = trained_state(state, frozen)
        abstract = {
            name: np.empty(leaf.shape, leaf.dtype) for name, leaf in _named(template).items()
        }
        wanted = ocp.args.Composite(
            arrays=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore()
        )
        try:
            handler = ocp.CompositeCheckpointHandler("arrays", "progress")
            with _system_errors(), ocp.Checkpointer(handler) as checkpointer:
                found = checkpointer.restore(self._steps / str(step), args=wanted)
        except Exception as error:  # orbax raises whatever the storage below it raised
            raise _why(
                f"checkpoint {step} in {self.folder}", self._steps / str(step), error
            ) from error
        arrays = found["arrays"]
        progress = dict(found["progress"])
        sealed = progress.pop("checksum", None)
        # Older runs have a checksum of their arrays alone.
        if sealed not in (checksum(arrays, progress), checksum(arrays)):
            raise Damaged(f"checkpoint {step} in {self.folder} is damaged (its checksum differs)")
        restored = jax.tree.unflatten(
            jax.tree.structure(template), [arrays[name] for name in _named(template)]
        )
        return restored.replace(params=fill(restored.params, params)), progress

    def _cost(self, step: int) -> float | None:
        """Returns the cost that a step was saved with, None when it was saved without a
        validation.
        """
        try:
            return json.loads(
                (self._steps / str(step) / "metrics" / "metrics").read_text(encoding="utf-8")
            )["cost"]
        except FileNotFoundError:
            return None
        except Exception as error:
            raise _why(
                f"checkpoint {step} in {self.folder}", self._steps / str(step), error
            ) from error

    def _set_aside(self, step: int) -> Path:
        """Moves a step out of the way and returns where it is now."""
        place, number = self.folder / "damaged" / str(step), 1
        while place.exists():
            number += 1
            place = place.with_name(f"{step}-{number}")
        place.parent.mkdir(exist_ok=True)
        (self._steps / str(step)).rename(place)
        return place

    def _tidy(self) -> None:
        """Removes what a kill has left: saves that were not finished, and steps that were about to
        be deleted.
        """
        steps = self.steps()
        kept = {*steps[:2], self.best_step()}
        old = [self._steps / str(step) for step in steps if step not in kept]
        unfinished = f"*{ocp.utils.TMP_DIR_SUFFIX}*"
        for path in (*old, *self.folder.glob(unfinished), *self._steps.glob(unfinished)):
            shutil.rmtree(path, ignore_errors=True)

    def _save_frozen(self, params: Any, frozen: Any) -> None:
        """Writes the frozen parameters if they are not there yet; the checksum beside them comes
        last.
        """
        seal = self.folder / "frozen.json"
        arrays = _arrays(_frozen_part(params, frozen))
        if seal.exists() or not arrays:
            return
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(self.folder / "frozen", arrays, force=True)
        write_atomically(seal, json.dumps({"checksum": checksum(arrays)}) + "\n")

    def _restore_frozen(self, params: Any, frozen: Any) -> Any:
        """Returns the tree of parameters with the frozen ones read back."""
        part = _frozen_part(params, frozen)
        names = _named(part)
        if not names:
            return params
        try:
            abstract = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in names.items()}
            with _system_errors(), ocp.StandardCheckpointer() as checkpointer:
                arrays = checkpointer.restore(self.folder / "frozen", abstract)
            sealed = json.loads((self.folder / "frozen.json").read_text(encoding="utf-8"))[
                "checksum"
            ]
        except Exception as error:
            raise _why(
                f"the copy of the frozen parameters in {self.folder}", self.folder / "frozen", error
            ) from error
        if checksum(arrays) != sealed:
            raise Damaged(
                f"the copy of the frozen parameters in {self.folder} is damaged (its checksum "
                "differs)"
            )
        return fill(
            jax.tree.unflatten(jax.tree.structure(part), [arrays[name] for name in names]), params
        )


def trained_state(state: TrainState, frozen: Any) -> TrainState:
    """Returns the state without its frozen parameters."""
    return state.replace(params=trained(state.params, frozen))


def checksum(arrays: Mapping[str, np.ndarray], progress: Mapping[str, Any] | None = None) -> str:
    """Returns a hash of names, types, shapes and bytes of named arrays, and of what JSON holds
    beside them.
    """
    digest = hashlib.sha256()
    if progress is not None:
        digest.update(json.dumps(progress, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {np.shape(arrays[name])}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _why(what: str, path: Path, error: Exception) -> UserError:
    """Returns the error to raise for `what`, which lies in `path`: `Damaged` unless its files could
    not be read.

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
    """Raises the system's errors as such: tensorstore's are all ValueErrors, with the system's
    number in their text.
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


def _frozen_part(params: Any, frozen: Any) -> Any:
    return jax.tree.map(lambda still, p: p if still else None, frozen, params)


def _named(tree: Any) -> dict[str, Any]:
    """Flattens a tree to `{"params.decoder.output.bias": leaf}`, in the tree's own order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """Copies a tree to host memory: a donated buffer may be overwritten while orbax still
    writes.
    """
    return {name: np.array(leaf) for name, leaf in _named(tree).items()}
