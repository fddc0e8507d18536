"""From the config to an optimizer: how fast parameters move, and by what rule."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcap.errors import UserError
from jaxcap.memoize import memoize
from jaxcap.training.partition import partition

SCHEDULES = ("step", "cosine", "constant")
_OPTIONS = (
    "learning_rate",
    "schedule",
    "warmup_steps",
    "epochs",
    "decay_epochs",
    "decay_factor",
    "clip_norm",
    "weight_decay",
    "decoupled",
)


def take_options(train: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a schedule and an optimizer read of the config's section `train`.

    So runs that differ elsewhere in it share them.
    """
    return {name: train[name] for name in _OPTIONS}


@memoize
def build_schedule(train: Mapping[str, Any], steps_per_epoch: int) -> optax.Schedule:
    """Returns the learning rate by step, after a linear warm-up where the config asks for one.

    Args:
      train: the config's section `train`, or what `take_options` takes of it.
      steps_per_epoch: steps in one epoch.

    Raises:
      UserError: a schedule that is not among `SCHEDULES`.
    """
    peak = train["learning_rate"]
    warmup = train["warmup_steps"]
    if train["schedule"] == "step":
        main = optax.exponential_decay(
            peak, train["decay_epochs"] * steps_per_epoch, train["decay_factor"], staircase=True
        )
    elif train["schedule"] == "cosine":
        steps = train["epochs"] * steps_per_epoch - warmup
        main = optax.cosine_decay_schedule(peak, max(1, steps))
    elif train["schedule"] == "constant":
        main = optax.constant_schedule(peak)
    else:
        raise UserError(
            f"train.schedule={train['schedule']} is unknown: choose one of {', '.join(SCHEDULES)}"
        )
    if warmup:
        main = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])
    return jax.jit(main)  # one program instead of ten small ones


@memoize
def build_optimizer(
    train: Mapping[str, Any],
    schedule: optax.Schedule,
    rates: Any,
    row_rates: Any = None,
    *,
    first_steps: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns Adam with clipping by global norm and weight decay, masked by the rates.

    Coupled decay adds to the gradient before Adam's moments, as PyTorch's Adam(weight_decay);
    decoupled decay is AdamW's (Loshchilov and Hutter 2019). Clipping counts the trained gradients
    only, and parameters of rate 0 get neither moments nor updates. Rows of rate 0 get no updates.

    Args:
      train: the config's section `train`, or what `take_options` takes of it.
      schedule: from `build_schedule`.
      rates: from `partition.assign_rates`; each parameter's update is multiplied by its rate.
      row_rates: from `partition.assign_row_rates`: further multipliers of rows; None for none.
      first_steps: a tree as `rates`: the step of the run, from 0, in which each parameter begins to
        learn. Until then it stays bit for bit what it is, its gradient counts nowhere, and it does
        not decay. None: all learn from the first step on.

    Returns:
      An optax transformation over all parameters, or over the trainable ones of `partition`. Where
      some begin later, its update is told the run's step as the keyword `step`.
    """
    firsts = None
    if first_steps is not None:
        firsts, _ = partition(first_steps, rates)
    some_wait = any(jax.tree.leaves(firsts))
    decay = []
    if train["weight_decay"]:
        decay.append(optax.add_decayed_weights(train["weight_decay"]))
    chain = []
    if train["clip_norm"]:
        chain.append(optax.clip_by_global_norm(train["clip_norm"]))
    if not train["decoupled"]:
        chain += decay
    chain.append(_scale_by_adam_from(firsts) if some_wait else optax.scale_by_adam())
    if train["decoupled"]:
        chain += decay
    chain.append(optax.scale_by_learning_rate(schedule))
    if any(rate not in (0, 1) for rate in jax.tree.leaves(rates)):
        chain.append(_scale_by_rates(rates))
    optimizer = optax.chain(*chain)
    if row_rates is not None:
        optimizer = _apply_row_rates(optimizer, rates, row_rates)
    if some_wait:
        optimizer = _hide_until(optimizer, firsts)
    freeze_mask = jax.tree.map(lambda rate: rate == 0, rates)
    return optax.selective_transform(optimizer, freeze_mask=freeze_mask)


def _scale_by_rates(rates: Any) -> optax.GradientTransformation:
    trainable, _ = partition(rates, rates)
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda update, rate: rate * update, updates, trainable)
    )


def _apply_row_rates(
    inner: optax.GradientTransformation, rates: Any, row_rates: Any
) -> optax.GradientTransformationExtraArgs:
    """Gives rows rates of their own around an optimizer.

    It wraps the optimizer instead of joining its chain, so that the state is the same without it: a
    run is restored where nobody knows any more which words had vectors.
    """
    trainable, _ = partition(row_rates, rates)
    inner = optax.with_extra_args_support(inner)

    def update(grads: Any, state: Any, params: Any = None, **others: Any) -> tuple[Any, Any]:
        # Neither clipping nor moments see the gradient of a frozen row. Other rates leave it as it
        # is, for Adam would undo a multiplication here.
        grads = jax.tree.map(lambda g, rate: jnp.where(rate > 0, g, 0), grads, trainable)
        updates, state = inner.update(grads, state, params, **others)
        # Decay would move rows whose gradient is zero.
        return jax.tree.map(lambda u, rate: rate * u, updates, trainable), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


def _hide_until(
    optimizer: optax.GradientTransformationExtraArgs, first_steps: Any
) -> optax.GradientTransformationExtraArgs:
    """Shows an optimizer zeros in the place of gradients and parameters until their first steps.

    Zeros count in no norm, leave moments at zero and decay to nothing: the update is zero.
    """

    def hide(tree: Any, step: jax.Array) -> Any:
        return jax.tree.map(lambda x, first: jnp.where(step < first, 0, x), tree, first_steps)

    def update(
        updates: Any, state: Any, params: Any = None, *, step: jax.Array, **others: Any
    ) -> tuple[Any, Any]:
        hidden = hide(updates, step)
        return optimizer.update(hidden, state, hide(params, step), step=step, **others)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def _scale_by_adam_from(first_steps: Any) -> optax.GradientTransformationExtraArgs:
    """Returns Adam with a count of steps for each first step, which begins there.

    Adam divides its moments by what is missing in them after so many steps. By a count that had run
    on while gradients were hidden, nothing would be missing, and the first steps of imported
    weights would be three to six times too long.
    """
    chain = []
    for first in sorted(set(jax.tree.leaves(first_steps))):
        adam = optax.conditionally_transform(
            optax.scale_by_adam(), functools.partial(_has_begun, first), forward_extra_args=True
        )
        is_of_group = jax.tree.map(lambda other, first=first: other == first, first_steps)
        chain.append(optax.masked(adam, is_of_group))
    return optax.chain(*chain)


def _has_begun(first: int, _: jax.Array, *, step: jax.Array, **__: Any) -> jax.Array:
    return step >= first
