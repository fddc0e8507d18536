"""Replicas of a run: one config, several seeds, and a workdir for each inside the run's own."""

from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxcap import devices
from jaxcap.errors import UserError
from jaxcap.experiment import workdir
from jaxcap.experiment.build import Experiment, build_replica
from jaxcap.experiment.phases import build_phases
from jaxcap.io.plain import format_bytes
from jaxcap.training.partition import partition


def list_seeds(config: ConfigDict) -> list[int]:
    """Returns the seeds of a run's replicas; that of the run itself where it is one model."""
    return list(range(config.seed, config.seed + config.train.replicas))


def locate_replica(folder: Path, seed: int) -> Path:
    """Returns the workdir of a replica; `folder` is that of its run."""
    return folder / f"seed_{seed}"


def list_replicas(folder: Path) -> list[Path]:
    """Returns the workdirs of a run's replicas, or its own where it is one model.

    Raises:
      UserError: there is no run in `folder`.
    """
    config = workdir.load_config(folder)
    if config.train.replicas == 1:
        return [folder]
    return [locate_replica(folder, seed) for seed in list_seeds(config)]


def choose_order_seed(config: ConfigDict) -> int:
    """Returns the seed of the order of photos, captions and views."""
    own = config.train.order_seed
    return config.seed if own < 0 else own


def make_replica_config(config: ConfigDict, seed: int) -> ConfigDict:
    """Returns the config of one replica: that of a run by itself which trains the same."""
    replica = ConfigDict(config.to_dict(), sort_keys=False)
    replica.seed = seed
    replica.train.replicas = 1
    replica.train.shared_order = True
    if config.train.shared_order:
        replica.train.order_seed = choose_order_seed(config)
    return replica.lock()


def build_replicas(experiment: Experiment, folder: Path) -> list[Experiment]:
    """Builds the replicas of a run; a run of one model is its own only one."""
    config = experiment.config
    if config.train.replicas == 1:
        return [experiment]
    replicas = []
    for seed in list_seeds(config):
        of_seed = make_replica_config(config, seed)
        replicas.append(build_replica(experiment, of_seed, locate_replica(folder, seed)))
    return replicas


def check_memory(experiment: Experiment, replicas: int) -> None:
    """Makes sure that what replicas hold at the least fits the memory of each device.

    Counted are parameters, their moments, averages and gradients, and the logits with theirs. All
    else that a step holds comes on top, so a run that passes may still not fit.

    Args:
      experiment: what they have in common.
      replicas: how many.

    Raises:
      UserError: it does not fit.
    """
    config = experiment.config
    free = devices.free_memory()
    if free is None or replicas == 1:
        return
    phase = build_phases(experiment, 1)[0]
    trainable, _ = partition(experiment.params, experiment.rates)
    state = jax.eval_shape(phase.create_state, trainable)
    counted = [*jax.tree.leaves(state), *jax.tree.leaves(state.params)]  # and the gradients
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in counted)
    captions = 1
    if config.train.captions == "all":
        captions = experiment.captions["train"].tokens.shape[1]
    positions = config.train.batch_size * captions * config.text.max_length
    logits = positions * len(experiment.vocabulary) * np.dtype(np.float32).itemsize
    count = devices.device_count()
    needed = replicas * (state_bytes + 2 * logits // count)
    if devices.shares_memory():
        needed *= devices.local_device_count()
    if needed > free:
        raise UserError(
            f"train.replicas={replicas} needs at least {format_bytes(needed)} of memory, and "
            f"{format_bytes(free)} are free: take fewer, or a smaller train.batch_size"
        )
