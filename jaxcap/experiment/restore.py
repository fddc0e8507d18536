"""A trained run taken up again from its folder alone: no training data and no file of imported
weights is needed.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcap import decoding, parallel
from jaxcap.decoding import captioning
from jaxcap.errors import UserError
from jaxcap.experiment import build as experiment
from jaxcap.experiment import workdir
from jaxcap.models.captioner import Captioner
from jaxcap.text import Vocabulary
from jaxcap.training import optim
from jaxcap.training import train_step as steps
from jaxcap.training.checkpoint import Checkpoints


class Run(NamedTuple):
    """What a run has learnt, ready to caption.

    Attributes:
      folder: the workdir.
      config: resolved and locked.
      vocabulary: of the captions.
      facts: what the workdir keeps of the encoder's weights, and the dtype of the decoder.
      model: the captioner.
      params: those of the best checkpoint; the moving average where the run kept one.
      frozen: which of them were never trained.
      step: of the best checkpoint.
      epoch: after which it was saved.
    """

    folder: Path
    config: ConfigDict
    vocabulary: Vocabulary
    facts: Mapping[str, str]
    model: Captioner
    params: Any
    frozen: Any
    step: int
    epoch: int


def restore_best(folder: Path) -> Run:
    """Restores the checkpoint of the best validation.

    Raises:
      UserError: there is no run in `folder`, it has validated nothing yet, or it is damaged.
    """
    config, vocabulary = workdir.load_config(folder), workdir.load_vocabulary(folder)
    facts = workdir.load_encoder(folder)
    model = experiment.build_captioner(config, vocabulary, facts)
    # Only shapes are needed of the state that the checkpoint fills, so nothing is drawn or loaded
    # for it.
    params = jax.eval_shape(partial(experiment.initial_params, config, model))
    frozen = optim.freeze_mask(params, optim.trainable_rules(config))
    optimizer = optim.optimizer(config.train, 1, frozen)
    create = partial(
        steps.create, optimizer=optimizer, frozen=frozen, average=config.train.average > 0
    )
    checkpoints = Checkpoints(folder / "checkpoints")
    step = checkpoints.best_step()
    if step is None:
        raise UserError(
            f"the run in {folder} has no checkpoint of a finished epoch yet: let it train on"
        )
    state, progress = checkpoints.restore(step, jax.eval_shape(create, params), frozen)
    checkpoints.close()
    best = jax.tree.map(jnp.asarray, state.best_params)
    return Run(folder, config, vocabulary, facts, model, best, frozen, step, progress["best_epoch"])


def searching(run: Run, rules: decoding.Rules, beam: int, lanes: int | None = None) -> Callable:
    """Compiles, for all devices, (params, batch) -> `decoding.Hypotheses` by beam search, greedy at
    a beam of 1.

    Of a batch, `lanes` images over all devices are searched at a time (see `decoding.beam_search`);
    None: all of them.
    """
    each = lanes and -(-lanes // parallel.device_count())
    function = (
        captioning.greedy(run.model, rules)
        if beam == 1
        else captioning.beam(run.model, rules, beam, each)
    )
    return parallel.compile_per_image(function)


def sampling(run: Run, rules: decoding.Rules, seed: int, **options: float) -> Callable:
    """Compiles `captioning.sample` for all devices; see there."""
    return parallel.compile_per_image(captioning.sample(run.model, rules, seed, **options))
