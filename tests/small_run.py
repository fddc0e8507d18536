"""A run's folder as training leaves it, made in seconds with random weights: a best checkpoint,
then a worse one.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxcap.experiment import config as configs
from jaxcap.experiment import workdir
from jaxcap.experiment.build import build_experiment
from jaxcap.training import optim, writers
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.partition import partition
from jaxcap.training.train_step import create_state

QUICKSTART = Path(__file__).parents[1] / "experiments" / "quickstart.py"
SMALL = {
    "seed": 5,
    "data.scenes": 30,
    "data.scene_size": 32,
    "images.size": 32,
    "encoder.stage_sizes": "(1, 1)",
    "encoder.width": 4,
    "encoder.levels": 2,
    "embedding.dim": 6,
    "decoder.hidden": 8,
    "decoder.attention": 5,
    "regions.norm": True,
    "regions.embedding": 6,
    "regions.layers": 2,
    "text.max_length": 12,
    "train.batch_size": 8,
    "train.ema_decay": 0.9,
}
# What lets a training command of these end soon.
SHORT = SMALL | {"train.epochs": 2, "show.captions": 1, "show.tensorboard_every": 1}
BEST = 3
LATEST = 6  # steps


def make(folder: Path, **overrides: object) -> Path:
    """Makes a run on a few scenes; an override's `__` stands for the dot of its key."""
    values = SMALL | {key.replace("__", "."): value for key, value in overrides.items()}
    config = configs.load(
        str(QUICKSTART), [f"--config.{key}={value}" for key, value in values.items()]
    )
    run = build_experiment(config)
    workdir.create(folder, config, run.vocabulary, run.encoder_info, run.contents)
    trainable, frozen = partition(bold(run.params), run.rates)
    schedule = optim.build_schedule(config.train, 1)
    optimizer = optim.build_optimizer(config.train, schedule, run.rates, run.row_rates)
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save_frozen(frozen)
    for step, ema, loss in (
        (BEST, trainable, 3.0),
        (LATEST, jax.tree.map(lambda x: x + 1, trainable), 4.0),
    ):
        state = create_state(ema, optimizer, ema=True)
        # The average is what counts: the parameters beside it are other ones.
        others = jax.tree.map(lambda x: -x, ema)
        state = state.replace(step=jnp.int32(step), params=others)
        checkpoints.save(state, {"best_epoch": 1}, loss)
        writers.JsonLines(folder / "metrics.jsonl")(
            step, {"split": "val", "epoch": step / 3, "loss": loss}
        )
    checkpoints.close()
    return folder


def arguments(folder: Path, values: Mapping[str, object], **overrides: object) -> list[str]:
    """Returns the arguments of `train.main`; an override's `__` stands for the dot of its key."""
    values = {**values, **{key.replace("__", "."): value for key, value in overrides.items()}}
    config = [f"--config.{key}={value}" for key, value in values.items()]
    return ["--config", str(QUICKSTART), "--workdir", str(folder), *config]


def bold(params: dict) -> dict:
    """Spreads the logits of drawn parameters, so that captions differ from photo to photo."""
    return {**params, "decoder": jax.tree.map(lambda x: 4 * x, params["decoder"])}
