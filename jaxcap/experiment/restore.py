"""Restores a trained run from its workdir, without training data or imported weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxcap import parallel
from jaxcap.decoding import captioning
from jaxcap.decoding.rules import Rules
from jaxcap.decoding.strategy import GREEDY, Sampling, Strategy
from jaxcap.experiment import build, workdir
from jaxcap.experiment.run import Run
from jaxcap.training import optim
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.partition import combine, partition
from jaxcap.training.train_step import create_state


@dataclass(frozen=True)
class TrainedRun(Run):
    """A run at its best checkpoint; `params` are the moving average where the run kept one.

    Attributes:
      folder: the workdir.
      step: of the best checkpoint.
      epoch: after which it was saved.
    """

    folder: Path
    step: int
    epoch: int


def restore_best(folder: Path) -> TrainedRun:
    """Restores the checkpoint of the best validation.

    Raises:
      UserError: there is no run in `folder`, it has validated nothing yet, or it is damaged.
    """
    config = workdir.load_config(folder)
    vocabulary = workdir.load_vocabulary(folder)
    encoder_info = workdir.load_encoder(folder)
    model = build.build_model(config, vocabulary, encoder_info)
    # Only shapes are needed of what the checkpoint fills, so nothing is drawn or loaded for it.
    shapes = jax.eval_shape(partial(build.draw_params, config, model))
    rates = build.assign_rates(config, shapes)
    trainable, frozen = partition(shapes, rates)
    optimizer = optim.build_optimizer(config.train, optim.build_schedule(config.train, 1), rates)
    create = partial(create_state, optimizer=optimizer, ema=config.train.ema_decay > 0)
    checkpoints = Checkpoints(folder / "checkpoints")
    state, progress = checkpoints.restore_best(jax.eval_shape(create, trainable))
    frozen = checkpoints.restore_frozen(frozen)
    checkpoints.close()
    return TrainedRun(
        folder=folder,
        config=config,
        vocabulary=vocabulary,
        encoder_info=encoder_info,
        model=model,
        params=jax.tree.map(jnp.asarray, combine(state.eval_params, frozen)),
        rates=rates,
        step=int(state.step),
        epoch=progress["best_epoch"],
    )


def compile_search(
    run: Run, rules: Rules, strategy: Strategy, slots: int | None = None
) -> Callable:
    """Compiles, for all devices, (params, batch) -> `Hypotheses`.

    Args:
      run: whose captioner writes.
      rules: of the captions.
      strategy: how they are written; samples want batches as `captioning.build_sampling` does.
      slots: images over all devices that beam search has in hand at a time (see
        `decoding.beam_search`); None: all of a batch.
    """
    if isinstance(strategy, Sampling):
        search = captioning.build_sampling(run.model, rules, strategy)
    elif strategy == GREEDY:
        search = captioning.build_greedy(run.model, rules)
    else:
        of_device = slots and -(-slots // parallel.device_count())
        search = captioning.build_beam(run.model, rules, strategy.beam, of_device)
    return parallel.compile_per_image(search)
