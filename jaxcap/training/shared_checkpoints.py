"""Checkpoints of a run that several processes train: one writes, and all read the same."""

import os
from collections.abc import Mapping
from typing import Any

from jaxcap import processes
from jaxcap.training.checkpoint import Checkpoints, copy_finite
from jaxcap.training.train_step import TrainState


def open_checkpoints(folder: os.PathLike | str) -> Checkpoints:
    """Opens the checkpoints of a run, however many processes train it."""
    return Checkpoints(folder) if processes.count() == 1 else SharedCheckpoints(folder)


class SharedCheckpoints(Checkpoints):
    """The checkpoints of a run of several processes: the first one writes, and all read.

    All must make the same calls; what there is to read, the first one says.

    Args:
      folder: where they lie, for all processes.
    """

    def __init__(self, folder: os.PathLike | str):
        super().__init__(folder)
        self._own = Checkpoints(folder)

    def save(
        self, state: TrainState, progress: Mapping[str, Any], value: float | None = None
    ) -> None:
        """Writes a step; raises `FloatingPointError` in all processes."""
        if processes.is_first():
            self._own.save(state, progress, value)
        else:
            copy_finite(state, value)

    def save_frozen(self, frozen: Any) -> None:
        """Writes the frozen parameters."""
        if processes.is_first():
            self._own.save_frozen(frozen)

    def wait(self) -> None:
        """Returns when everything that this process writes is on disk."""
        self._own.wait()

    def close(self) -> None:
        """Waits, and lets go of the folder."""
        self._own.close()

    def steps(self) -> list[int]:
        """Returns the steps on disk, the latest first."""
        return processes.tell(self._own.steps)

    def best_step(self) -> int | None:
        """Returns the step of the best validation; None before the first one."""

        def find() -> int | None:
            self._own.wait()
            return self._own.best_step()

        return processes.tell(find)

    def resume(self, state: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Restores the newest step that is whole; None when there is no step."""

        def find() -> int | None:
            restored = self._own.resume(state)
            return None if restored is None else int(restored[0].step)

        step = processes.tell(find)
        return None if step is None else self.restore(step, state)

    def restore_frozen(self, frozen: Any) -> Any:
        """Restores the frozen parameters."""
        with processes.fail_together():
            return self._own.restore_frozen(frozen)

    def restore(self, step: int, state: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """Restores one step."""
        with processes.fail_together():
            return self._own.restore(step, state)
