"""What a run keeps on its devices, so that training does not wait for the host."""

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcap import devices, parallel
from jaxcap.errors import UserError
from jaxcap.experiment.inputs import SharedInputs
from jaxcap.inputs.batches import CachedInputs, Captions, Inputs
from jaxcap.io.plain import format_bytes
from jaxcap.training.spans import Resident

SPAN = 50  # steps, where the config leaves it to the device: a second or less of an accelerator


def keep_training(config: ConfigDict, inputs: Inputs, captions: Captions) -> Resident | None:
    """Copies the cached features and the captions of training to every device.

    Args:
      config: of the run; `train.span` asks for it.
      inputs: of training.
      captions: of training.

    Returns:
      What spans read; None where the host reads the batches.

    Raises:
      UserError: the config asks for spans, but there is no cache or no room for it.
    """
    span = config.train.span
    if not span or (span < 0 and devices.is_processor()):
        return None
    if isinstance(inputs, SharedInputs):
        inputs = inputs.whole  # each process plans whole batches, and its devices read their shares
    if not isinstance(inputs, CachedInputs):
        if span < 0:
            return None
        raise UserError(
            f"train.span={span} needs cached features, and this run encodes its photos in every "
            "step: take train.span=0"
        )
    needed = inputs.cache.nbytes + captions.tokens.nbytes
    if not _has_room(needed, 2 if span < 0 else 1):
        if span < 0:
            return None
        raise UserError(
            f"train.span={span} needs {format_bytes(needed)} on every device, which are not free: "
            "take train.span=0"
        )
    arrays = {"features": np.asarray(inputs.cache), "tokens": captions.tokens}
    return Resident(parallel.replicate(arrays), inputs.name, span if span > 0 else SPAN)


def keep_inputs(inputs: Inputs) -> Inputs:
    """Copies cached features of another split to the first device if they fit, too.

    Their batches are shared out over the devices, which takes from one of them alone.
    """
    if not isinstance(inputs, CachedInputs) or not _has_room(inputs.cache.nbytes, 2):
        return inputs
    return CachedInputs(jnp.asarray(inputs.cache), inputs.name)


def _has_room(needed: int, times: int) -> bool:
    """Tells whether every device has room for so many bytes, so many times."""
    free = devices.free_memory()
    if devices.shares_memory():
        times *= devices.local_device_count()
    return free is None or times * needed <= free
