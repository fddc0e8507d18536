"""From the config to an optimizer: how fast parameters move, and by what rule."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcap.errors import UserError
from jaxcap.training.partition import partition

SCHEDULES = ("step", "cosine", "constant")


def build_schedule(train: Mapping[str, Any], steps_per_epoch: int) -> optax.Schedule:
    """Returns the learning rate by step, after a linear warm-up where the config asks for one.

    Args:
      train: the config's section `train`.
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
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


def build_optimizer(
    train: Mapping[str, Any], schedule: optax.Schedule, rates: Any, row_rates: Any = None
) -> optax.GradientTransformation:
    """Returns Adam with clipping by global norm and weight decay, masked by the rates.

    Coupled decay adds to the gradient before Adam's moments, as PyTorch's Adam(weight_decay);
    decoupled decay is AdamW's (Loshchilov and Hutter 2019). Clipping counts the trained gradients
    only, and parameters of rate 0 get neither moments nor updates. Rows of rate 0 get no updates.

    Args:
      train: the config's section `train`.
      schedule: from `build_schedule`.
      rates: from `partition.assign_rates`; each parameter's update is multiplied by its rate.
      row_rates: from `partition.assign_row_rates`: further multipliers of rows; None for none.

    Returns:
      An optax transformation over all parameters, or over the trainable ones of `partition`.
    """
    decay = []
    if train["weight_decay"]:
        decay.append(optax.add_decayed_weights(train["weight_decay"]))
    chain = []
    if train["clip_norm"]:
        chain.append(optax.clip_by_global_norm(train["clip_norm"]))
    if not train["decoupled"]:
        chain += decay
    chain.append(optax.scale_by_adam())
    if train["decoupled"]:
        chain += decay
    chain.append(optax.scale_by_learning_rate(schedule))
    if any(rate not in (0, 1) for rate in jax.tree.leaves(rates)):
        chain.append(_scale_by_rates(rates))
    optimizer = optax.chain(*chain)
    if row_rates is not None:
        optimizer = _apply_row_rates(optimizer, rates, row_rates)
    freeze_mask = jax.tree.map(lambda rate: rate == 0, rates)
    return optax.selective_transform(optimizer, freeze_mask=freeze_mask)


def _scale_by_rates(rates: Any) -> optax.GradientTransformation:
    trainable, _ = partition(rates, rates)
    return optax.stateless(
        lambda updates, _: jax.tree.map(lambda update, rate: rate * update, updates, trainable)
    )


def _apply_row_rates(
    inner: optax.GradientTransformation, rates: Any, row_rates: Any
) -> optax.GradientTransformation:
    """Gives rows rates of their own around an optimizer.

    It wraps the optimizer instead of joining its chain, so that the state is the same without it: a
    run is restored where nobody knows any more which words had vectors.
    """
    trainable, _ = partition(row_rates, rates)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        # Neither clipping nor moments see the gradient of a frozen row. Other rates leave it as it
        # is, for Adam would undo a multiplication here.
        grads = jax.tree.map(lambda g, rate: jnp.where(rate > 0, g, 0), grads, trainable)
        updates, state = inner.update(grads, state, params)
        # Decay would move rows whose gradient is zero.
        return jax.tree.map(lambda u, rate: rate * u, updates, trainable), state

    return optax.GradientTransformation(inner.init, update)
