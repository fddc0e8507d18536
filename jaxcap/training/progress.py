"""How far a run has come, beside its state; and the check that its numbers are numbers."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from jaxcap.io.plain import list_some
from jaxcap.training.metrics import Sums
from jaxcap.training.phases import Phase


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
