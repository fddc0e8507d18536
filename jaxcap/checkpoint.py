"""Checkpoints: the latest and the best, written so that a kill at any moment costs no more than the steps since.

Frozen parameters never change, so they are written once, beside the steps. Each step carries a checksum of its arrays:
a truncated step fails to restore and a flipped bit fails the checksum, and in both cases the step before it is taken.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxcap.errors import UserError
from jaxcap.files import space_checked, write_atomically
from jaxcap.step import TrainState, fill, trained

logging.getLogger("absl").setLevel(logging.ERROR)  # orbax tells every small thing it does


class Checkpoints:
    """The checkpoints of one run.

    Args:
      folder: where they lie; made at the first save.
    """

    def __init__(self, folder: os.PathLike | str):
        self.folder = Path(folder).resolve()
        keep = policies.AnyPreservationPolicy(
            [
                policies.LatestN(2),  # the step before the latest is what a damaged latest falls back on
                policies.BestN(
                    get_metric_fn=lambda metrics: metrics["cost"],
                    reverse=True,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.folder / "steps",
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep,
                create=False,
                # Without it the manager writes no metrics down.
                best_fn=lambda metrics: metrics["cost"],
                best_mode="min",
            ),
            item_names=("arrays", "progress"),
        )

    def save(self, state: TrainState, frozen: Any, progress: Mapping[str, Any], cost: float | None = None) -> None:
        """Writes a step, in the background where it can.

        Args:
          state: the training state; it may be donated as soon as this returns.
          frozen: from `optim.freeze_mask`.
          progress: what the loop must remember, as JSON.
          cost: of the validation, where there was one: the step of the least is kept as the best.

        Raises:
          UserError: the disk is full, or a step of that number already lies here.
        """
        arrays = _arrays(trained_state(state, frozen))
        step = int(state.step)
        with space_checked(self.folder):
            self._save_frozen(state.params, frozen)
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(arrays),
                    progress=ocp.args.JsonSave({**progress, "checksum": checksum(arrays)}),
                ),
                metrics=None if cost is None else {"cost": cost},
            )
        if not saved and step not in self._manager.all_steps():
            raise UserError(f"step {step} could not be saved in {self.folder}")

    def wait(self) -> None:
        """Returns when everything is on disk."""
        with space_checked(self.folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and lets go of the folder."""
        self.wait()
        self._manager.close()

    def steps(self) -> list[int]:
        """Returns the steps on disk, the latest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def best_step(self) -> int | None:
        """Returns the step of the best validation, or None before the first validation."""
        return self._manager.best_step() if self.folder.exists() else None

    def restore_latest(self, state: TrainState, frozen: Any) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the newest step that is whole, walking back over damaged ones; None when there is none.

        Args:
          state: a fresh state of the same shapes.
          frozen: from `optim.freeze_mask`.

        Raises:
          UserError: the frozen parameters are damaged.
        """
        steps = self.steps()
        # Every step needs the frozen parameters: damaged, they are an error and no reason to drop a step.
        params = self._restore_frozen(state.params, frozen) if steps else None
        for step in steps:
            try:
                return self._restore(step, state, params, frozen)
            except UserError as damage:
                logging.getLogger("jaxcap").warning("%s: going back to the one before", damage)
                # An orbax step of that number would silently not be saved again.
                self._manager.delete(step)
        return None

    def restore(self, step: int, state: TrainState, frozen: Any) -> tuple[TrainState, dict[str, Any]]:
        """Restores one step.

        Raises:
          UserError: the step is damaged, or of another model.
        """
        return self._restore(step, state, self._restore_frozen(state.params, frozen), frozen)

    def _restore(self, step: int, state: TrainState, params: Any, frozen: Any) -> tuple[TrainState, dict[str, Any]]:
        """Restores the trained part of a step; `params` give the frozen ones."""
        template = trained_state(state, frozen)
        abstract = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in _named(template).items()}
        try:
            found = self._manager.restore(
                step,
                args=ocp.args.Composite(arrays=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore()),
            )
        except Exception as error:  # orbax raises whatever the storage below it raised
            raise UserError(f"checkpoint {step} in {self.folder} cannot be read ({type(error).__name__})") from error
        arrays, progress = found["arrays"], dict(found["progress"])
        if checksum(arrays) != progress.pop("checksum"):
            raise UserError(f"checkpoint {step} in {self.folder} is damaged: its checksum differs")
        restored = jax.tree.unflatten(jax.tree.structure(template), [arrays[name] for name in _named(template)])
        return restored.replace(params=fill(restored.params, params)), progress

    def _save_frozen(self, params: Any, frozen: Any) -> None:
        """Writes the frozen parameters if they are not there yet; the checksum beside them comes last."""
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
            with ocp.StandardCheckpointer() as checkpointer:
                arrays = checkpointer.restore(self.folder / "frozen", abstract)
            sealed = json.loads((self.folder / "frozen.json").read_text(encoding="utf-8"))["checksum"]
        except Exception as error:
            raise UserError(
                f"the frozen parameters in {self.folder} cannot be read ({type(error).__name__})"
            ) from error
        if checksum(arrays) != sealed:
            raise UserError(f"the frozen parameters in {self.folder} are damaged: their checksum differs")
        return fill(jax.tree.unflatten(jax.tree.structure(part), [arrays[name] for name in names]), params)


def trained_state(state: TrainState, frozen: Any) -> TrainState:
    """Returns the state without its frozen parameters."""
    return state.replace(params=trained(state.params, frozen))


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns a hash of names, types, shapes and bytes of named arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {np.shape(arrays[name])}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _frozen_part(params: Any, frozen: Any) -> Any:
    return jax.tree.map(lambda still, p: p if still else None, frozen, params)


def _named(tree: Any) -> dict[str, Any]:
    """Flattens a tree to `{"params.decoder.output.bias": leaf}`, in the tree's own order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _arrays(tree: Any) -> dict[str, np.ndarray]:
    """Copies a tree to host memory: a donated buffer may be overwritten while orbax still writes."""
    return {name: np.array(leaf) for name, leaf in _named(tree).items()}
