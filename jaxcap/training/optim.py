"""From the config to an optimizer: which parameters move, how fast, and by what rule."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from jaxcap.errors import UserError

SCHEDULES = ("step", "cosine", "constant")


def trainable_rules(config: Mapping[str, Any]) -> dict[str, bool]:
    """Returns, for each part of the captioner by the start of its path, whether the config lets it
    learn.
    """
    return {
        "encoder/": config["encoder"]["trainable"],
        "decoder/words/": config["embedding"]["trainable"],
        "decoder/": True,
    }


def freeze_mask(params: Any, rules: Mapping[str, bool]) -> Any:
    """Marks the frozen parameters.

    Args:
      params: a nested dict of arrays.
      rules: path prefix -> trainable; the first prefix that fits a parameter's path decides.

    Returns:
      The same tree with True where a parameter is frozen.

    Raises:
      ValueError: a parameter that no rule covers.
    """

    def frozen(path: tuple, _: Any) -> bool:
        name = "/".join(str(key.key) for key in path)
        for prefix, trainable in rules.items():
            if name.startswith(prefix):
                return not trainable
        raise ValueError(f"no rule says whether {name} is trained or frozen")

    return jax.tree_util.tree_map_with_path(frozen, params)


def schedule(train: Mapping[str, Any], steps_per_epoch: int) -> optax.Schedule:
    """Learning rate by step: the config's schedule, after a linear warm-up where it asks for one.

    Raises:
      UserError: a schedule that is not among `SCHEDULES`.
    """
    peak, warmup = train["learning_rate"], train["warmup_steps"]
    if train["schedule"] == "step":
        main = optax.exponential_decay(
            peak, train["decay_epochs"] * steps_per_epoch, train["decay_factor"], staircase=True
        )
    elif train["schedule"] == "cosine":
        main = optax.cosine_decay_schedule(peak, max(1, train["epochs"] * steps_per_epoch - warmup))
    elif train["schedule"] == "constant":
        main = optax.constant_schedule(peak)
    else:
        raise UserError(
            f"train.schedule={train['schedule']} is unknown: choose one of {', '.join(SCHEDULES)}"
        )
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


def optimizer(
    train: Mapping[str, Any], steps_per_epoch: int, frozen: Any
) -> optax.GradientTransformation:
    """Adam with clipping by global norm and weight decay, blind to frozen parameters.

    Coupled decay adds to the gradient before Adam's moments, as PyTorch's Adam(weight_decay);
    decoupled decay is AdamW's (Loshchilov and Hutter 2019). Clipping counts the trained gradients
    only, and frozen parameters get neither moments nor updates.

    Args:
      train: the config's section `train`.
      steps_per_epoch: steps in one epoch.
      frozen: from `freeze_mask`.

    Returns:
      An optax transformation over the whole tree of parameters.
    """
    decay = [optax.add_decayed_weights(train["weight_decay"])] if train["weight_decay"] else []
    chain = optax.chain(
        *([optax.clip_by_global_norm(train["clip_norm"])] if train["clip_norm"] else []),
        *([] if train["decoupled"] else decay),
        optax.scale_by_adam(),
        *(decay if train["decoupled"] else []),
        optax.scale_by_learning_rate(schedule(train, steps_per_epoch)),
    )
    return optax.selective_transform(chain, freeze_mask=frozen)
