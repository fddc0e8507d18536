"""The training loop: phases of epochs of steps, validation after each epoch, checkpoints."""

import dataclasses
import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np

from jaxcap.errors import UserError
from jaxcap.inputs.batches import Batch
from jaxcap.io.plain import list_some
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.history import selection_value
from jaxcap.training.metrics import Sums, add_metrics, compute_means, read_metrics
from jaxcap.training.objectives import Metrics
from jaxcap.training.phases import Phase
from jaxcap.training.train_step import TrainState
from jaxcap.training.writers import Writer


class Batches(Protocol):
    """The batches of training: the same in every epoch's every step, however a run was cut off."""

    def __len__(self) -> int:
        """Returns the steps of an epoch."""

    def iterate_epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yields an epoch's batches from step `first` on; "rows" tells the photos of each."""


@dataclasses.dataclass
class TrainingProgress:
    """What the loop remembers beside the state; it is saved in every checkpoint.

    Attributes:
      sums: metrics of the epoch so far.
      best_value: the least `selection_value` of any validation so far.
      best_epoch: after which epoch that was; epochs count from 1 over all phases.
      stale: epochs since the best one.
      phase: number of the phase that the run is in, from 0.
      phase_start: epochs before this phase.
      finished: the phase is over.
    """

    sums: Sums = dataclasses.field(default_factory=dict)
    best_value: float | None = None
    best_epoch: int = 0
    stale: int = 0
    phase: int = 0
    phase_start: int = 0
    finished: bool = False

    def record_validation(self, value: float, epoch: int, phase: Phase) -> None:
        """Notes a validation: is it the best so far, and is the phase over?"""
        is_better = self.best_value is None or value < self.best_value
        self.stale = 0 if is_better else self.stale + 1
        # Of equals the last is the best, as orbax chooses.
        if is_better or value == self.best_value:
            self.best_value = value
            self.best_epoch = epoch
        is_last = epoch - self.phase_start >= phase.epochs
        self.finished = is_last or 0 < phase.patience <= self.stale
        self.sums = {}


def check_finite(numbers: Mapping[str, float], when: str, photos: Sequence[str] = ()) -> None:
    """Makes sure that all numbers are finite.

    Args:
      numbers: by name.
      when: where they come from, for the message.
      photos: ids of the photos that they were computed on.

    Raises:
      FloatingPointError: one is not; it is named, with the photos.
    """
    for name, value in numbers.items():
        if not math.isfinite(value):
            seen = f" (photos {list_some(photos)})" if photos else ""
            raise FloatingPointError(f"{when}{seen}: {name} is {value}")


class Stop:
    """Turns the first SIGTERM or Ctrl-C into a request, which the loop obeys after its step.

    The second one ends the process, as if there were no handler.
    """

    def __init__(self) -> None:
        self.signal = 0  # the number of the signal that asked; 0 while none did
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: Any) -> None:
        self.signal = number
        signal.signal(number, self._handlers[number])


@dataclasses.dataclass(frozen=True)
class Loop:
    """One training run, ready to go.

    Attributes:
      phases: one after another.
      frozen: parameters that are not trained, on the devices.
      batches: of training.
      photos: the ids of the training photos, by row.
      validate: from a state to the numbers of the validation split, those of `Phase.select` among
        them.
      checkpoints: where the state is saved.
      write: takes (step, numbers).
      after_epoch: called with (epoch, state) once an epoch is validated, before it is saved.
      checkpoint_every: steps between saves inside an epoch.
      write_every: steps between two records.
      advice: what the user can do about numbers that are not finite.
    """

    phases: Sequence[Phase]
    frozen: Any
    batches: Batches
    photos: Sequence[str]
    validate: Callable[[TrainState], Mapping[str, float]]
    checkpoints: Checkpoints
    write: Writer
    after_epoch: Callable[[int, TrainState], None]
    checkpoint_every: int
    write_every: int
    advice: str

    def run(self, state: TrainState, progress: TrainingProgress) -> tuple[TrainState, int]:
        """Trains until the last phase is over or a signal stops it; the latest state is then saved.

        Args:
          state: to go on from.
          progress: that belongs to it; changed in place.

        Returns:
          The last state, and the number of the signal that stopped it (0 when none did).

        Raises:
          UserError: a number was not finite; what came of it is neither saved nor written.
        """
        with Stop() as stop:
            try:
                while not stop.signal:
                    if progress.finished:
                        if progress.phase + 1 == len(self.phases):
                            break
                        state = self._enter_next_phase(state, progress)
                    state = self._run_epoch(state, progress, stop)
            except FloatingPointError as error:
                raise UserError(f"training stopped {error}; {self._explain_resuming()}") from error
            finally:
                self.checkpoints.wait()
        return state, stop.signal

    def _enter_next_phase(self, state: TrainState, progress: TrainingProgress) -> TrainState:
        """Returns the state that the next phase begins with, made of the best epoch so far."""
        self.checkpoints.wait()  # the latest epoch may be the best, and still be on its way to disk
        best, _ = self.checkpoints.restore_best(state)
        progress.phase += 1
        progress.phase_start = int(state.step) // len(self.batches)
        progress.finished = False
        begin = self.phases[progress.phase].create_state(best.eval_params)
        return begin.replace(step=state.step)

    def _run_epoch(self, state: TrainState, progress: TrainingProgress, stop: Stop) -> TrainState:
        """Trains to the end of the state's epoch and validates, or to the step of a stop."""
        step = int(state.step)
        epoch = step // len(self.batches)
        end = (epoch + 1) * len(self.batches)
        phase = self.phases[progress.phase]
        waiting = None
        for batch in self.batches.iterate_epoch(epoch, step - epoch * len(self.batches)):
            state, metrics = phase.step(state, self.frozen, batch)
            step += 1
            # Numbers are read one step late, so that the device never waits for the host.
            self._record_step(waiting, progress)
            waiting = (step, batch["rows"], metrics)
            if stop.signal:
                break
            if step % self.checkpoint_every == 0 and step < end:
                self._record_step(waiting, progress)
                waiting = None
                self._save(state, progress)
        self._record_step(waiting, progress)
        if step == end:
            self._end_epoch(state, progress, epoch + 1)
        else:
            self._save(state, progress)
        return state

    def _record_step(
        self, waiting: tuple[int, np.ndarray, Metrics] | None, progress: TrainingProgress
    ) -> None:
        """Checks a step's numbers, adds them to the epoch's, and writes them if a record is due."""
        if waiting is None:
            return
        step, rows, metrics = waiting
        sums = read_metrics(metrics)
        # A last batch is filled up with a photo that is in it already.
        photos = [self.photos[row] for row in dict.fromkeys(rows.tolist())]
        means = compute_means(sums)
        check_finite(means, f"at step {step}", photos)
        progress.sums = add_metrics([progress.sums, sums])
        if step % self.write_every == 0 or step % len(self.batches) == 0:
            schedule = self.phases[progress.phase].schedule
            first = progress.phase_start * len(self.batches)
            numbers = {"epoch": step / len(self.batches), "split": "train", **means}
            numbers["learning_rate"] = float(schedule(step - 1 - first))
            self.write(step, numbers)

    def _end_epoch(self, state: TrainState, progress: TrainingProgress, epoch: int) -> None:
        """Validates, decides whether the phase is over, shows and saves."""
        numbers = dict(self.validate(state))
        check_finite(numbers, f"at the validation after step {int(state.step)}")
        phase = self.phases[progress.phase]
        for name, mean in compute_means(progress.sums).items():
            numbers[f"train_{name}"] = mean
        value = selection_value(numbers, phase.select)
        progress.record_validation(value, epoch, phase)
        # Written and drawn before it is saved: a kill in between repeats record and pictures
        # instead of losing them.
        self.write(int(state.step), {"epoch": epoch, "split": "val", **numbers})
        self.after_epoch(epoch, state)
        self._save(state, progress, value)

    def _save(
        self, state: TrainState, progress: TrainingProgress, value: float | None = None
    ) -> None:
        self.checkpoints.save(state, dataclasses.asdict(progress), value)

    def _explain_resuming(self) -> str:
        """Says from where training can go on, and what may keep its numbers finite."""
        self.checkpoints.wait()
        steps = self.checkpoints.steps()
        resuming = "nothing is saved"
        if steps:
            resuming = f"the same command goes on from step {steps[0]}, the last that was saved"
        return f"{resuming}; {self.advice}"
