"""The denoiser before a captioner's encoder, and what it changes in `Run.encoder_info`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.denoising.restore import TrainedDenoiser, restore_denoiser


def load_denoiser(config: ConfigDict) -> TrainedDenoiser | None:
    """Loads the denoiser that a config names; None where it names none.

    Raises:
      UserError: its workdir is missing, unfinished, damaged, or of photos of another size.
    """
    if not config.encoder.denoiser:
        return None
    return restore_denoiser(Path(config.encoder.denoiser).expanduser(), config.images.size)


def describe_denoised(
    encoder_info: Mapping[str, Any], denoiser: TrainedDenoiser | None
) -> dict[str, Any]:
    """Returns the `encoder_info` of the same encoder behind another denoiser, or behind none.

    Features depend on the denoiser, so that its fingerprint is part of the encoder's.
    """
    info = dict(encoder_info)
    old = info.pop("denoiser", None)
    if old:
        info["fingerprint"] = info["fingerprint"].removesuffix(_suffix(old))
    if denoiser is not None:
        info["fingerprint"] += _suffix(denoiser.info)
        info["denoiser"] = denoiser.info
    return info


def _suffix(info: Mapping[str, Any]) -> str:
    return f"-denoiser-{info['fingerprint']}"
