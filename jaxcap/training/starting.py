"""How a run of any kind starts, goes on after it was cut off, and says that it was stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxcap.training import writers
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.partition import partition
from jaxcap.training.phases import Phase
from jaxcap.training.progress import TrainingProgress
from jaxcap.training.train_step import TrainState


class Beginning(NamedTuple):
    """What a run goes on from.

    Attributes:
      state: the latest, or the first.
      frozen: the parameters that are not trained.
      progress: beside the state.
      checkpoints: of the run.
    """

    state: TrainState
    frozen: Any
    progress: TrainingProgress
    checkpoints: Checkpoints


def begin(
    params: Any, rates: Any, phase: Phase, checkpoints: Checkpoints, name: str = ""
) -> Beginning:
    """Returns the state to go on from: the latest that was saved, or else the first.

    Args:
      params: all of them, as they are before the first step.
      rates: from `partition.assign_rates`.
      phase: the first one.
      checkpoints: of the run.
      name: of a replica, for the line that says where it goes on.
    """
    trainable, frozen = partition(params, rates)
    state = phase.create_state(trainable)
    progress = TrainingProgress()
    if checkpoints.steps():
        # Every step needs the frozen parameters: damaged, they are an error and no reason to give
        # up a step.
        frozen = checkpoints.restore_frozen(frozen)
    else:
        checkpoints.save_frozen(frozen)
    restored = checkpoints.resume(state)
    if restored is not None:
        state, saved = restored
        progress = TrainingProgress(**saved)
        of_replica = f"{name} " if name else ""
        print(f"{of_replica}resuming after step {int(state.step):,}", flush=True)
    return Beginning(state, frozen, progress, checkpoints)


def drop_later_records(metrics: Path, step: int) -> None:
    """Drops, and says so, the records of steps that a resumed run makes again."""
    dropped = writers.truncate_after(metrics, step)
    if dropped:
        print(
            f"{dropped:,} records of {metrics} are of later steps: training makes them again",
            flush=True,
        )


def advise(train: Mapping[str, Any]) -> str:
    """Returns what a user can do about numbers that are not finite, by the section `train`."""
    return (
        f"in another --workdir, a lower train.learning_rate (now {train['learning_rate']:g}) or "
        f"train.clip_norm (now {train['clip_norm']:g}) may help"
    )


def report_stop(step: int, signal: int) -> int:
    """Says that a signal has stopped a run after a step, and returns the exit code."""
    print(f"stopped after step {step:,}: the same command goes on from there", flush=True)
    return 128 + signal
