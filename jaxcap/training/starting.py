"""How a run of any kind starts, goes on after it was cut off, and says that it was stopped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcap import parallel
from jaxcap.training import writers
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.loop import TrainingProgress
from jaxcap.training.partition import partition
from jaxcap.training.phases import Phase
from jaxcap.training.train_step import TrainState


def begin(
    params: Any, rates: Any, phase: Phase, checkpoints: Checkpoints
) -> tuple[TrainState, Any, TrainingProgress]:
    """Returns the state and progress to go on from, and the frozen parameters on the devices.

    Args:
      params: all of them, as they are before the first step.
      rates: from `partition.assign_rates`.
      phase: the first one.
      checkpoints: of the run.
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
        print(f"resuming after step {int(state.step):,}", flush=True)
    return state, parallel.replicate(frozen), progress


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


def report_stop(state: TrainState, signal: int) -> int:
    """Says that a signal has stopped a run, and returns the exit code."""
    print(
        f"stopped after step {int(state.step):,}: the same command goes on from there", flush=True
    )
    return 128 + signal
