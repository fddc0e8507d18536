"""Steps of training, compiled once for all runs of a process that take the same ones."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from jaxcap import parallel
from jaxcap.memoize import memoize
from jaxcap.training.capacity import choose_words
from jaxcap.training.phases import Step
from jaxcap.training.spans import scan_steps
from jaxcap.training.stacking import Stacking, stack_seeds, step_each
from jaxcap.training.train_step import Objective, create_state, train_step


@memoize
def compile_step(
    model: Any,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    stacking: Stacking,
    *,
    choose: parallel.Choose | None = choose_words,
    own: Sequence[str] = (),
) -> Callable:
    """Compiles `train_step` for all devices.

    Args:
      model: as of `train_step`.
      objective: what the step minimises.
      optimizer: from `build_optimizer`.
      ema_decay: of the moving average.
      stacking: of the replicas, or of the one model.
      choose: as of `parallel.compile_train_step`.
      own: arrays of the batch that replicas do not share even where they share their photos.

    Returns:
      (state, (frozen, seeds), batch) -> (state, metrics), as `step_each`.
    """
    return parallel.compile_train_step(
        _build_step(model, objective, optimizer, ema_decay, stacking, own),
        choose,
        lambda name: int(stacking.is_stacked(name, own)),
    )


@memoize
def compile_span(
    model: Any,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    stacking: Stacking,
    name: str,
) -> Callable:
    """Compiles spans of `train_step` for all devices.

    Args:
      model: as all others but the last, of `compile_step`.
      objective: see `model`.
      optimizer: see `model`.
      ema_decay: see `model`.
      stacking: see `model`.
      name: of the features in a batch, as of `scan_steps`.

    Returns:
      (state, ((frozen, seeds), arrays), plan, **chosen) -> (state, metrics), as `scan_steps`.
    """
    return parallel.compile_train_step(
        scan_steps(_build_step(model, objective, optimizer, ema_decay, stacking), name),
        image_axis=lambda name: 1 + int(stacking.is_stacked(name)),
    )


def _build_step(
    model: Any,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    ema_decay: float,
    stacking: Stacking,
    own: Sequence[str] = (),
) -> Callable:
    step = functools.partial(
        train_step, model=model, optimizer=optimizer, objective=objective, ema_decay=ema_decay
    )
    return step_each(step, stacking, own)


@memoize
def compile_create_state(optimizer: optax.GradientTransformation, *, ema: bool) -> Callable:
    """Compiles trainable parameters -> `create_state` of them.

    Each of its arrays by itself would be traced and compiled for its shape.
    """
    return jax.jit(functools.partial(create_state, optimizer=optimizer, ema=ema))


def bind(compiled: Callable, seeds: Sequence[int], *, arrays: Any = None) -> Step:
    """Returns a compiled step, or span, with all that it takes but the loop's own.

    Args:
      compiled: from `compile_step`, or from `compile_span`.
      seeds: of the replicas, or of the one model.
      arrays: what spans read on the devices; None for a step.
    """
    own = stack_seeds(seeds)

    def take_steps(state: Any, frozen: Any, batch: Any, **chosen: int) -> Any:
        constants: Any = (frozen, own)
        if arrays is not None:
            constants = (constants, arrays)
        return compiled(state, constants, batch, **chosen)

    return take_steps
