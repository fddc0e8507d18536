"""Which parts of the encoder learn, from when on, and what can be cached all the same."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.models.encoder import Encoder
from jaxcap.models.params import trace_variables
from jaxcap.training import partition


def learns_encoder(config: ConfigDict) -> bool:
    """Tells whether any part of the encoder is trained, from whatever epoch on."""
    return any(partition.read_rule(rule).rate > 0 for rule in config.encoder.rates)


def cut_encoder(config: ConfigDict, encoder: Encoder) -> Encoder:
    """Returns the encoder with its `entry`: the stage below which nothing ever learns.

    Raises:
      UserError: a parameter of the encoder that no rule covers.
    """
    if not learns_encoder(config):
        return encoder
    size = config.images.size
    photo = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    shapes = trace_variables(encoder.backbone, photo)["params"]
    rates = assign_rates(config, {"encoder": {"backbone": shapes}})["encoder"]["backbone"]
    learning = [name for name, of_module in rates.items() if any(jax.tree.leaves(of_module))]
    if not learning:
        return encoder
    return encoder.clone(entry=encoder.backbone.find_entry(learning))


def caches_photos(config: ConfigDict, encoder: Encoder) -> bool:
    """Tells whether a view is encoded once: as regions, or as the grid that enters what learns.

    Args:
      config: of the run.
      encoder: from `cut_encoder`.
    """
    return encoder.entry > 0 or not learns_encoder(config)


def reads_cache(config: ConfigDict, encoder: Encoder) -> bool:
    """Tells whether training reads a cache, for which its views must be fixed too."""
    return caches_photos(config, encoder) and config.images.augment != "free"


def assign_rates(config: ConfigDict, params: Any) -> Any:
    """Returns the multiplier of each parameter's learning rate, as the config's rules say.

    Raises:
      UserError: a parameter of the encoder that no rule covers.
    """
    return _assign(partition.assign_rates, config, params)


def assign_first_epochs(config: ConfigDict, params: Any) -> Any:
    """Returns the epoch, from 1, in which each parameter begins to learn, or would.

    Raises:
      UserError: as of `assign_rates`.
    """
    return _assign(partition.assign_epochs, config, params)


def assign_first_steps(config: ConfigDict, params: Any, steps_per_epoch: int) -> Any:
    """Returns the step of the run, from 0, in which each parameter begins to learn, or would."""
    first_epochs = assign_first_epochs(config, params)
    return jax.tree.map(lambda epoch: (epoch - 1) * steps_per_epoch, first_epochs)


def _assign(assign: Callable, config: ConfigDict, params: Any) -> Any:
    try:
        return assign(params, partition.read_rules(config))
    except ValueError as error:
        raise UserError(f"encoder.rates={config.encoder.rates}: {error}") from error
