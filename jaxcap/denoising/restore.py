"""Restores a trained denoiser from its workdir, to stand before an encoder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from jaxcap.denoising import build
from jaxcap.denoising.validation import SCORES
from jaxcap.errors import UserError
from jaxcap.experiment import workdir
from jaxcap.experiment.kinds import DENOISER
from jaxcap.training.restoring import restore_params
from jaxcap.training.saved_arrays import compute_checksum


@dataclass(frozen=True)
class TrainedDenoiser:
    """A denoiser at its best checkpoint.

    Attributes:
      params: of a `Denoiser`.
      info: what a captioner's workdir keeps of it: "widths", of `Denoiser`; "fingerprint", a hash
        of the parameters; "source", the folder that it came from.
    """

    params: Any
    info: dict[str, Any]


def restore_denoiser(folder: Path, size: int) -> TrainedDenoiser:
    """Restores the denoiser in a workdir.

    Args:
      folder: the workdir.
      size: pixels a side of the photos that it shall denoise.

    Raises:
      UserError: there is none, it is damaged, has not finished training, or was trained on photos
        of another size.
    """
    config = workdir.load_config(folder, DENOISER)
    if not (folder / SCORES).exists():
        raise UserError(
            f"the denoiser in {folder} has not finished training: the command that trains it goes "
            "on where it stopped"
        )
    if config.images.size != size:
        raise UserError(
            f"the denoiser in {folder} was trained on photos of {config.images.size} pixels a side "
            f"and not of images.size={size}: train one of that size"
        )
    model = build.build_model(config)
    shapes = jax.eval_shape(partial(build.draw_params, config, model))
    best = restore_params(folder)
    if jax.tree.map(np.shape, best.params) != jax.tree.map(np.shape, shapes):
        raise UserError(
            f"the checkpoint in {folder} is damaged, or of another model than its denoiser.json "
            "tells"
        )
    params = best.params["denoiser"]
    arrays = jax.tree.map(np.asarray, flatten_dict(params, sep="."))
    info = {
        "widths": list(config.denoiser.widths),
        "fingerprint": compute_checksum(arrays)[:32],
        "source": str(folder),
    }
    return TrainedDenoiser(params, info)
