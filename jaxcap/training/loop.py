"""The training loop: epochs of steps, validation after each, checkpoints, and a stop that loses
nothing.
"""

import math
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import jax
import numpy as np

from jaxcap.io.plain import list_some
from jaxcap.errors import UserError
from jaxcap.inputs.batches import TrainingBatches
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.train_step import TrainState
from jaxcap.training.writers import Writer


@dataclass
class Progress:
    """What the loop remembers beside the state; it travels in every checkpoint.

    Attributes:
      nats, words: sums of the training loss over the epoch so far.
      reward, images: sums of the reward of self-critical training over the epoch so far.
      best_cost, best_epoch: of the validation, see `cost`; epochs count from 1.
      stale: epochs since the best one.
      finished: the loop is over, by its number of epochs or by early stopping.
      turned: after which epoch training became self-critical; None while it has not.
    """

    nats: float = 0.0
    words: float = 0.0
    reward: float = 0.0
    images: float = 0.0
    best_cost: float | None = None
    best_epoch: int = 0
    stale: int = 0
    finished: bool = False
    turned: int | None = None

    def validated(self, cost: float, epoch: int, *, epochs: int, patience: int) -> None:
        """Takes note of a validation: is it the best so far, and is it time to stop?"""
        better = self.best_cost is None or cost < self.best_cost
        self.stale = 0 if better else self.stale + 1
        if (
            better or cost == self.best_cost
        ):  # of equals the last is the best, which orbax takes too
            self.best_cost, self.best_epoch = cost, epoch
        self.finished = epoch >= epochs or 0 < patience <= self.stale
        self.nats = self.words = self.reward = self.images = 0.0


def check_finite(numbers: Mapping[str, float], when: str, photos: Sequence[str] = ()) -> None:
    """Raises `FloatingPointError`, which says when and on which photos, unless all numbers are
    finite.
    """
    for name, value in numbers.items():
        if not math.isfinite(value):
            seen = f" (photos {list_some(photos)})" if photos else ""
            raise FloatingPointError(f"{when}{seen}: {name} is {value}")


def cost(validation: Mapping[str, float], select: str) -> float:
    """What the best epoch has least of: the loss, or less than nothing of a score."""
    return validation["loss"] if select == "loss" else -validation[select]


class Stop:
    """Turns the first SIGTERM or Ctrl-C into a request that the loop answers after its step; the
    second one kills.
    """

    def __init__(self) -> None:
        self.asked = 0  # the signal's number

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: Any) -> None:
        self.asked = number
        signal.signal(number, self._before[number])


@dataclass(frozen=True)
class Loop:
    """One training run, ready to go.

    Attributes:
      step: compiled (state, batch, rng) -> (state, metrics); see `step.train_step`.
      validate: state -> numbers of the validation split: the loss in nats per word and, where
        `train.select` is a score, that score.
      batches: of training.
      rate: step -> learning rate.
      checkpoints: where the state goes.
      frozen: from `optim.freeze_mask`.
      write: takes (step, numbers).
      after_epoch: called with (epoch, state) once an epoch is validated, before it is saved.
      photos: the ids of the training photos, by row.
      train: the config's section `train`.
      seed: of the steps' keys.
      write_every: steps between two records.
    """

    step: Callable
    validate: Callable[[TrainState], Mapping[str, float]]
    batches: TrainingBatches
    rate: Callable[[int], Any]
    checkpoints: Checkpoints
    frozen: Any
    write: Writer
    after_epoch: Callable[[int, TrainState], None]
    photos: Sequence[str]
    train: Mapping[str, Any]
    seed: int
    write_every: int

    def run(self, state: TrainState, progress: Progress) -> tuple[TrainState, int]:
        """Trains until the run is finished or a signal asks it to stop; either way the latest state
        is then on disk.

        Returns:
          The last state, and the number of the signal that stopped it (0 when none did).

        Raises:
          UserError: a number was not finite; what came of it is neither saved nor written.
        """
        with Stop() as stop:
            try:
                while not progress.finished and not stop.asked:
                    epoch = int(state.step) // len(self.batches)
                    state = self._epoch(state, progress, epoch, stop)
                    if int(state.step) == (epoch + 1) * len(self.batches):
                        self._end_of_epoch(state, progress, epoch + 1)
                    else:
                        self._save(state, progress)
            except FloatingPointError as error:
                raise UserError(f"training stopped {error}; {self._way_on()}") from error
            finally:
                self.checkpoints.wait()
        return state, stop.asked

    def _epoch(self, state: TrainState, progress: Progress, epoch: int, stop: Stop) -> TrainState:
        """Goes on from the state's place in the epoch to its end, or to the step in which a stop is
        asked for.
        """
        key, step, end = jax.random.key(self.seed), int(state.step), (epoch + 1) * len(self.batches)
        waiting = None
        for batch in self.batches.epoch(epoch, step - epoch * len(self.batches)):
            # The key is made from the step, so it needs no place in a checkpoint.
            state, metrics = self.step(state, batch, jax.random.fold_in(key, step))
            step += 1
            # Numbers are read one step late, so that the device never waits for the host.
            self._take(waiting, progress)
            waiting = (step, batch["rows"], metrics)
            if stop.asked:
                break
            if step % self.train["checkpoint_every"] == 0 and step < end:
                self._take(waiting, progress)
                waiting = None
                self._save(state, progress)
        self._take(waiting, progress)
        return state

    def _take(
        self, waiting: tuple[int, np.ndarray, Mapping[str, jax.Array]] | None, progress: Progress
    ) -> None:
        """Checks a step's numbers, adds its sums to the epoch's, and writes them where a record is
        due.
        """
        if waiting is None:
            return
        step, rows, metrics = waiting
        sums = {
            name: float(metrics.get(name, 0.0)) for name in ("nats", "words", "reward", "images")
        }
        norm = float(metrics["gradient_norm"])
        # A last batch is filled up with a photo that is in it already.
        photos = [self.photos[row] for row in dict.fromkeys(rows.tolist())]
        check_finite(
            {"loss": sums["nats"], "reward": sums["reward"], "gradient norm": norm},
            f"at step {step}",
            photos,
        )
        for name, value in sums.items():
            setattr(progress, name, getattr(progress, name) + value)
        if step % self.write_every == 0 or step % len(self.batches) == 0:
            numbers = {
                "epoch": step / len(self.batches),
                "split": "train",
                **_means(sums, progress.turned is not None),
                "learning_rate": float(self.rate(step - 1)),
                "gradient_norm": norm,
            }
            self.write(step, numbers)

    def _end_of_epoch(self, state: TrainState, progress: Progress, epoch: int) -> None:
        """Validates, decides whether the run is finished, shows and saves."""
        found = self.validate(state)
        check_finite(found, f"at the validation after step {int(state.step)}")
        trained = {
            f"train_{name}": value
            for name, value in _means(asdict(progress), progress.turned is not None).items()
        }
        least = cost(found, self.train["select"])
        progress.validated(
            least, epoch, epochs=self.train["epochs"], patience=self.train["patience"]
        )
        # Written and drawn before it is saved: a kill in between repeats record and pictures
        # instead of losing them.
        self.write(int(state.step), {"epoch": epoch, "split": "val", **found, **trained})
        self.after_epoch(epoch, state)
        self._save(state, progress, least)

    def _way_on(self) -> str:
        """Says from where training can go on, and what may keep its numbers finite."""
        self.checkpoints.wait()
        steps = self.checkpoints.steps()
        again = (
            f"the same command goes on from step {steps[0]}, the last that was saved"
            if steps
            else "nothing is saved"
        )
        return (
            f"{again}; in another --workdir, a lower train.learning_rate (now "
            f"{self.train['learning_rate']:g}) "
            f"or train.clip_norm (now {self.train['clip_norm']:g}) may help"
        )

    def _save(self, state: TrainState, progress: Progress, cost: float | None = None) -> None:
        self.checkpoints.save(state, self.frozen, asdict(progress), cost)


def _means(sums: Mapping[str, float], self_critical: bool) -> dict[str, float]:
    """What training is judged by: the loss in nats per word, or the reward per photo."""
    if self_critical:
        return {"reward": sums["reward"] / max(sums["images"], 1.0)}
    return {"loss": sums["nats"] / max(sums["words"], 1.0)}
