"""A run's folder as training leaves it, made in seconds with random weights: a best checkpoint,
then a worse one.
"""

from pathlib import Path

import jax
import jax.numpy as jnp

from jaxcap.experiment import build as experiment
from jaxcap.experiment import config as configs
from jaxcap.experiment import workdir
from jaxcap.training import optim, writers
from jaxcap.training import train_step as steps
from jaxcap.training.checkpoint import Checkpoints

QUICKSTART = Path(__file__).parents[1] / "experiments" / "quickstart.py"
SMALL = {
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
BEST, LATEST = 3, 6  # steps


def make(folder: Path, **overrides: object) -> Path:
    """Makes a run on a few scenes; an override's `__` stands for the dot of its key."""
    values = SMALL | {key.replace("__", "."): value for key, value in overrides.items()}
    config = configs.load(
        str(QUICKSTART), [f"--config.{key}={value}" for key, value in values.items()]
    )
    run = experiment.prepare(config)
    workdir.create(folder, config, run.vocabulary, run.facts, run.contents)
    params = bold(run.params)
    optimizer = optim.optimizer(config.train, 1, run.frozen)
    checkpoints = Checkpoints(folder / "checkpoints")
    for step, average, loss in (
        (BEST, params, 3.0),
        (LATEST, jax.tree.map(lambda x: x + 1, params), 4.0),
    ):
        state = steps.create(average, optimizer, run.frozen, average=True)
        # The average is what counts: the parameters beside it are other ones.
        state = state.replace(
            step=jnp.int32(step),
            params=jax.tree.map(lambda s, x: x if s else -x, run.frozen, params),
        )
        checkpoints.save(state, run.frozen, {"best_epoch": 1}, loss)
        writers.JsonLines(folder / "metrics.jsonl")(
            step, {"split": "val", "epoch": step / 3, "loss": loss}
        )
    checkpoints.close()
    return folder


def bold(params: dict) -> dict:
    """Spreads the logits of drawn parameters, so that captions differ from photo to photo."""
    return {**params, "decoder": jax.tree.map(lambda x: 4 * x, params["decoder"])}
