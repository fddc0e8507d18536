"""From a denoiser's config to the things it names: photos, model, first parameters, and phase."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcap import parallel
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment.contents import Contents, SplitContents
from jaxcap.experiment.datasets import load_splits
from jaxcap.experiment.kinds import DENOISER
from jaxcap.io import uses
from jaxcap.models.denoiser import build_denoiser
from jaxcap.models.params import draw_variables
from jaxcap.training.compiling import bind, compile_create_state, compile_step
from jaxcap.training.denoising import NoisyDenoiser, Reconstruction
from jaxcap.training.optim import build_optimizer, build_schedule, take_options
from jaxcap.training.phases import Phase, Step
from jaxcap.training.stacking import Stacking


@dataclass(frozen=True)
class DenoisingExperiment:
    """A denoiser that is ready for training.

    Attributes:
      config: resolved and locked.
      splits: the photos, by "train", "val" and, where there is one, "test".
      model: the denoiser behind its noise.
      params: those before the first step.
      rates: the multiplier of each parameter's learning rate, all 1.
      contents: what the run is made of.
    """

    config: ConfigDict
    splits: Mapping[str, Split]
    model: NoisyDenoiser
    params: Any
    rates: Any
    contents: Contents


def check(config: ConfigDict) -> None:
    """Finds what no denoiser could do.

    Raises:
      UserError: a value outside of its key's range, or two that contradict each other.
    """
    configs.check(config, DENOISER)
    parallel.check_batch_size(config.train.batch_size, "train.batch_size")
    if config.images.crop > config.images.size:
        raise UserError(
            f"images.crop={config.images.crop} is larger than the photo, "
            f"images.size={config.images.size}"
        )
    if not any(config.noise.values()):
        raise UserError(
            "noise.gaussian=0 and noise.salt_and_pepper=0: without noise there is nothing to learn"
        )


def build_experiment(config: ConfigDict, folder: Path | None = None) -> DenoisingExperiment:
    """Loads and builds everything; no file is written outside of the caches.

    Args:
      config: resolved and checked.
      folder: the workdir, to be noted in the caches that are used; None for no note.

    Raises:
      UserError: data are missing or wrong.
    """
    splits = load_splits(config)
    for split in splits.values():
        if folder is not None and split.folder is not None:
            uses.record_use(split.folder, folder)
    model = build_model(config)
    params = draw_params(config, model)
    return DenoisingExperiment(
        config=config,
        splits=splits,
        model=model,
        params=params,
        rates=assign_rates(params),
        contents=_list_contents(config, splits),
    )


def build_model(config: ConfigDict) -> NoisyDenoiser:
    """Builds the module that is trained."""
    return NoisyDenoiser(build_denoiser(config.denoiser), **config.noise)


def draw_params(config: ConfigDict, model: NoisyDenoiser) -> dict[str, Any]:
    """Draws the parameters by the config's seed."""
    # They have the same shapes for photos of any size.
    batch = {"noisy": jnp.zeros((1, 8, 8, 3), jnp.uint8)}
    return draw_variables(model, jax.random.key(config.seed), batch)["params"]


def assign_rates(params: Any) -> Any:
    """Returns the multiplier of each parameter's learning rate: all are trained."""
    return jax.tree.map(lambda _: 1.0, params)


def build_phase(experiment: DenoisingExperiment, steps_per_epoch: int) -> Phase:
    """Builds the one phase of the training."""
    train = experiment.config.train
    options = take_options(train)
    schedule = build_schedule(options, steps_per_epoch)
    optimizer = build_optimizer(options, schedule, experiment.rates)

    def build_step(stacking: Stacking, seeds: Sequence[int]) -> Step:
        compiled = compile_step(
            experiment.model, Reconstruction(), optimizer, train.ema_decay, stacking, choose=None
        )
        return bind(compiled, seeds)

    return Phase(
        build_step=build_step,
        create_state=compile_create_state(optimizer, ema=train.ema_decay > 0),
        schedule=schedule,
        epochs=train.epochs,
        patience=train.patience,
        select="loss",
    )


def _list_contents(config: ConfigDict, splits: Mapping[str, Split]) -> Contents:
    """Returns what the run is made of: photos alone, whatever their captions are."""
    found = {}
    for name, split in splits.items():
        found[name] = SplitContents(split.ids, split.photos, ("",) * len(split))
    return Contents(data=config.data.name, splits=found, vocabulary="", encoder="", vectors="")
