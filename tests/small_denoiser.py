"""The command line of a denoiser that trains in seconds, on the scenes of `small_run`."""

from pathlib import Path

from tests import small_run

SMALL = {
    "data.name": "scenes",
    "data.scenes": small_run.SMALL["data.scenes"],
    "data.scene_size": small_run.SMALL["data.scene_size"],
    "images.size": small_run.SMALL["images.size"],
    "images.crop": 24,
    "denoiser.widths": "(4, 6)",
    "train.batch_size": 8,
    "train.epochs": 2,
    "train.learning_rate": 0.01,
    "train.checkpoint_every": 2,
    "show.photos": 2,
    "show.tensorboard_every": 1,
}


def arguments(folder: Path, **overrides: object) -> list[str]:
    """Returns the arguments of `denoise.main`; an override's `__` stands for the dot of its key."""
    values = SMALL | {key.replace("__", "."): value for key, value in overrides.items()}
    config = [f"--config.{key}={value}" for key, value in values.items()]
    return ["--config", "denoiser", "--workdir", str(folder), *config]
