"""Replicas: models of one config and several seeds that train side by side, and their batches."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from jaxcap.inputs.batches import Batch
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.progress import TrainingProgress
from jaxcap.training.spans import Span, plan_spans
from jaxcap.training.stacking import stack_batches
from jaxcap.training.train_step import TrainState
from jaxcap.training.writers import Writer


class Batches(Protocol):
    """The batches of training: the same in every epoch's every step, however a run was cut off."""

    def __len__(self) -> int:
        """Returns the steps of an epoch."""

    def iterate_epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yields an epoch's batches from step `first` on; "rows" tells the photos of each."""


@dataclasses.dataclass
class Replica:
    """One of the models that train side by side, with what is kept for it alone.

    Attributes:
      name: of it in messages, as "seed 3"; empty where it is the only one.
      seed: of its random keys.
      state: the latest; None while it stands in a stack, and shapes alone once it is trained.
      step: updates made so far.
      frozen: parameters that are not trained, on the devices.
      batches: of its training; replicas that share an order share the object.
      validate: from a state to the numbers of the validation split.
      checkpoints: where its state is saved.
      write: takes (step, numbers).
      after_epoch: called with (epoch, state) once an epoch is validated, before it is saved.
      progress: beside the state; changed in place.
    """

    name: str
    seed: int
    state: Any
    step: int
    frozen: Any
    batches: Batches
    validate: Callable[[TrainState], Mapping[str, float]]
    checkpoints: Checkpoints
    write: Writer
    after_epoch: Callable[[int, TrainState], None]
    progress: TrainingProgress = dataclasses.field(default_factory=TrainingProgress)


def iterate_spans(
    replicas: Sequence[Replica], epoch: int, first: int, size: int, every: int
) -> Iterator[Span]:
    """Yields the spans of an epoch; batches are stacked where the replicas do not share them.

    Args:
      replicas: those that train side by side.
      epoch: its number from 0.
      first: the step of the epoch to begin with.
      size: the most steps of a span; 0: one, of a batch that the host has read.
      every: spans also end after so many steps of the run.
    """
    orders: list[Any] = [replica.batches for replica in replicas]
    if shares_batches(replicas):
        orders = orders[:1]
    if size:
        yield from plan_spans(orders, epoch, first, size, every)
        return
    iterators = [order.iterate_epoch(epoch, first) for order in orders]
    for batches in zip(*iterators, strict=True):
        batch = batches[0] if len(batches) == 1 else stack_batches(batches)
        yield Span(batch["rows"][None], batch, {}, is_scanned=False)


def shares_batches(replicas: Sequence[Replica]) -> bool:
    """Tells whether all replicas read the same batches."""
    return all(replica.batches is replicas[0].batches for replica in replicas)
