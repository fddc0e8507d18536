"""Phases: a run trains by one objective after another, each with its own rate and length."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from jaxcap.training.objectives import Metrics
from jaxcap.training.stacking import Stacking
from jaxcap.training.train_step import TrainState

# Compiled: (state, frozen, batch, **chosen) -> (state, metrics); see `train_step.train_step`, and
# `spans.Span` for the batch and for what is chosen.
Step = Callable[..., tuple[TrainState, Metrics]]


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a run, of whole epochs. It ends after `epochs`, or earlier by `patience`.

    Attributes:
      build_step: compiles the step of one model, or of several replicas at once, or their spans of
        steps; of the seeds of each.
      create_state: from trainable parameters to the state that the phase begins with. A phase
        after the first begins with those of the best epoch before it.
      schedule: the learning rate by the phase's own step.
      epochs: how many at most; 0 leaves the phase out.
      patience: epochs without a better validation before it ends early; 0: never.
      select: the validation's number by which the best epoch is chosen; the same in all phases of
        a run, whose epochs are compared.
      span: the most steps that a call makes; 0: one, of a batch that the host has read.
    """

    build_step: Callable[[Stacking, Sequence[int]], Step]
    create_state: Callable[[Any], TrainState]
    schedule: Callable[[int], Any]
    epochs: int
    patience: int
    select: str
    span: int = 0
