"""The training loop: phases of epochs of steps, validation after each epoch, checkpoints."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcap import parallel
from jaxcap.errors import UserError
from jaxcap.training.history import selection_value
from jaxcap.training.metrics import add_metrics, compute_means, read_metrics
from jaxcap.training.objectives import Metrics
from jaxcap.training.phases import Phase, Step
from jaxcap.training.progress import check_finite
from jaxcap.training.replicas import Replica, iterate_spans, shares_batches
from jaxcap.training.spans import Span
from jaxcap.training.stacking import Stacking, stack, stack_frozen, take, unstack
from jaxcap.training.stopping import Stop
from jaxcap.training.train_step import TrainState


class _Pending(NamedTuple):
    """A span whose numbers have not been read yet."""

    first: int  # updates made before it
    span: Span
    metrics: Metrics


@dataclasses.dataclass
class Loop:
    """One training run, ready to go, of one model or of several replicas.

    Replicas in the same phase at the same step are stacked and take their steps together. One
    whose training is over leaves the stack, for whose new size the step is compiled again; one
    that a kill left behind first makes up for its steps alone.

    Attributes:
      phases: one after another.
      replicas: what is trained; their states are changed in place.
      photos: the ids of the training photos, by row.
      checkpoint_every: steps between saves inside an epoch.
      write_every: steps between two records.
      advice: what the user can do about numbers that are not finite.
    """

    phases: Sequence[Phase]
    replicas: Sequence[Replica]
    photos: Sequence[str]
    checkpoint_every: int
    write_every: int
    advice: str
    _compiled: dict[tuple, Step] = dataclasses.field(default_factory=dict, init=False)

    def run(self) -> int:
        """Trains until the last phase is over or a signal stops it; the latest states are saved.

        Returns:
          The number of the signal that stopped it; 0 when none did.

        Raises:
          UserError: a number was not finite; what came of it is neither saved nor written.
        """
        with Stop() as stop:
            try:
                while not stop.is_due(wait=True):
                    group = self._choose_group()
                    if not group:
                        break
                    self._run_epoch(group, stop)
            except FloatingPointError as error:
                raise UserError(f"training stopped {error}; {self._explain_resuming()}") from error
            finally:
                for replica in self.replicas:
                    replica.checkpoints.wait()
        return stop.signal

    @property
    def _steps_per_epoch(self) -> int:
        return len(self.replicas[0].batches)

    def _is_over(self, replica: Replica) -> bool:
        progress = replica.progress
        return progress.finished and progress.phase + 1 == len(self.phases)

    def _choose_group(self) -> list[Replica]:
        """Returns the replicas that go on together: those furthest behind, in one phase.

        None are left when the training of all is over.
        """
        groups: dict[tuple[int, int], list[Replica]] = {}
        for replica in self.replicas:
            if self._is_over(replica):
                continue
            if replica.progress.finished:
                self._enter_next_phase(replica)
            groups.setdefault((replica.step, replica.progress.phase), []).append(replica)
        return groups[min(groups)] if groups else []

    def _enter_next_phase(self, replica: Replica) -> None:
        """Begins the next phase with the replica's best epoch so far."""
        # The latest epoch may be the best, and still be on its way to disk.
        replica.checkpoints.wait()
        best, _ = replica.checkpoints.restore_best(replica.state)
        progress = replica.progress
        progress.phase += 1
        progress.phase_start = replica.step // self._steps_per_epoch
        progress.finished = False
        begin = self.phases[progress.phase].create_state(best.eval_params)
        replica.state = begin.replace(step=replica.state.step)

    def _run_epoch(self, group: Sequence[Replica], stop: Stop) -> None:
        """Trains to the end of the group's epoch and validates, or to the step of a stop."""
        step = group[0].step
        epoch = step // self._steps_per_epoch
        end = (epoch + 1) * self._steps_per_epoch
        stacking, frozen = _stack_frozen(group)
        seeds = tuple(replica.seed for replica in group)
        take_steps = self._build_step(group[0].progress.phase, stacking, seeds)
        # Where a step leaves its state, so that the first one is not compiled for another place.
        state = parallel.replicate(stack([replica.state for replica in group]))
        for replica in group:
            replica.state = None  # held in the stack alone, which the step donates
        pending = None
        first = step - epoch * self._steps_per_epoch
        size = self.phases[group[0].progress.phase].span
        for span in iterate_spans(group, epoch, first, size, self.checkpoint_every):
            state, metrics = take_steps(state, frozen, span.batch, **span.chosen)
            # Numbers are read one span late, so that the device never waits for the host.
            self._record_span(group, pending)
            pending = _Pending(step, span, metrics)
            step += len(span)
            if stop.is_due():
                break
            if step % self.checkpoint_every == 0 and step < end:
                self._record_span(group, pending)
                pending = None
                for replica, of_replica in zip(group, unstack(state, len(group)), strict=True):
                    self._save(replica, of_replica)
        self._record_span(group, pending)
        for replica, of_replica in zip(group, unstack(state, len(group)), strict=True):
            replica.state = of_replica
            replica.step = step
            if step == end:
                self._end_epoch(replica, of_replica, epoch + 1)
            else:
                self._save(replica, of_replica)
            if self._is_over(replica):
                # It is on disk; its shapes are all that is still asked for.
                replica.state = jax.eval_shape(lambda state: state, of_replica)

    def _build_step(self, phase: int, stacking: Stacking, seeds: tuple[int, ...]) -> Step:
        """Returns the step of a phase; each is built once."""
        key = (phase, seeds)
        if key not in self._compiled:
            self._compiled[key] = self.phases[phase].build_step(stacking, seeds)
        return self._compiled[key]

    def _record_span(self, group: Sequence[Replica], pending: _Pending | None) -> None:
        """Reads the numbers of a span's steps and records them, step by step."""
        if pending is None:
            return
        # Read at once: a call for each step or replica would wait for the device each time.
        metrics = jax.device_get(pending.metrics)
        for number, rows in enumerate(pending.span.rows):
            of_step = take(metrics, number) if pending.span.is_scanned else metrics
            self._record_step(group, pending.first + number + 1, rows, of_step)

    def _record_step(
        self, group: Sequence[Replica], step: int, all_rows: np.ndarray, metrics: Metrics
    ) -> None:
        """Checks a step's numbers, adds them to the epoch's, and writes them if a record is due.

        Args:
          group: whose step it was.
          step: updates made with it.
          all_rows: the photos, [B], or [N, B] where replicas read batches of their own.
          metrics: of the step, [N] of several replicas.
        """
        for number, replica in enumerate(group):
            alone = len(group) == 1
            sums = read_metrics(metrics if alone else take(metrics, number))
            rows = all_rows if all_rows.ndim == 1 else all_rows[number]
            # A last batch is filled up with a photo that is in it already.
            photos = [self.photos[row] for row in dict.fromkeys(rows.tolist())]
            means = compute_means(sums)
            check_finite(means, _say_when(replica, f"at step {step}"), photos)
            progress = replica.progress
            progress.sums = add_metrics([progress.sums, sums])
            if step % self.write_every == 0 or step % self._steps_per_epoch == 0:
                schedule = self.phases[progress.phase].schedule
                first = progress.phase_start * self._steps_per_epoch
                numbers = {"epoch": step / self._steps_per_epoch, "split": "train", **means}
                numbers["learning_rate"] = float(schedule(step - 1 - first))
                replica.write(step, numbers)

    def _end_epoch(self, replica: Replica, state: TrainState, epoch: int) -> None:
        """Validates, decides whether the phase is over, shows and saves."""
        numbers = dict(replica.validate(state))
        when = f"at the validation after step {replica.step}"
        check_finite(numbers, _say_when(replica, when))
        progress = replica.progress
        phase = self.phases[progress.phase]
        for name, mean in compute_means(progress.sums).items():
            numbers[f"train_{name}"] = mean
        value = selection_value(numbers, phase.select)
        progress.record_validation(value, epoch, phase)
        # Written and drawn before it is saved: a kill in between repeats record and pictures
        # instead of losing them.
        replica.write(replica.step, {"epoch": epoch, "split": "val", **numbers})
        replica.after_epoch(epoch, state)
        self._save(replica, state, value)

    def _save(self, replica: Replica, state: TrainState, value: float | None = None) -> None:
        replica.checkpoints.save(state, dataclasses.asdict(replica.progress), value)

    def _explain_resuming(self) -> str:
        """Says from where training can go on, and what may keep its numbers finite."""
        saved = []
        for replica in self.replicas:
            replica.checkpoints.wait()
            saved += replica.checkpoints.steps()[:1]
        resuming = "nothing is saved"
        if saved:
            resuming = f"the same command goes on from step {min(saved)}, the last that was saved"
        return f"{resuming}; {self.advice}"


def _stack_frozen(group: Sequence[Replica]) -> tuple[Stacking, Any]:
    """Returns how a group is stacked, and its frozen parameters."""
    frozen, axes = stack_frozen([replica.frozen for replica in group])
    return Stacking(len(group), axes, shares_batches(group)), frozen


def _say_when(replica: Replica, when: str) -> str:
    return f"{when} of {replica.name}" if replica.name else when
