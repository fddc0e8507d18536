"""The parameters of a trained run, from its checkpoints alone."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxcap import parallel
from jaxcap.training import optim
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.partition import combine, partition
from jaxcap.training.train_step import create_state


class Best(NamedTuple):
    """The best checkpoint of a run.

    Attributes:
      params: all parameters, the moving average where the run kept one.
      step: of the checkpoint.
      progress: what was saved beside it, the fields of `TrainingProgress`.
    """

    params: Any
    step: int
    progress: Mapping[str, Any]


def restore_params(
    checkpoints: Checkpoints,
    train: Mapping[str, Any],
    shapes: Any,
    rates: Any,
    first_steps: Any = None,
) -> Best:
    """Restores the checkpoint of the best validation.

    Args:
      checkpoints: of the run; they are closed.
      train: the section `train` of the run's config.
      shapes: those of all parameters; nothing is drawn or loaded for what the checkpoint fills.
      rates: from `partition.assign_rates`.
      first_steps: see `optim.build_optimizer`; only which are equal counts here.

    Raises:
      UserError: the run has validated nothing yet, or it is damaged.
    """
    trainable, frozen = partition(shapes, rates)
    optimizer = optim.build_optimizer(
        train, optim.build_schedule(train, 1), rates, first_steps=first_steps
    )
    create = partial(create_state, optimizer=optimizer, ema=train["ema_decay"] > 0)
    state, progress = checkpoints.restore_best(jax.eval_shape(create, trainable))
    frozen = checkpoints.restore_frozen(frozen)
    checkpoints.close()
    params = parallel.put(combine(state.eval_params, frozen))
    return Best(params, int(state.step), progress)
