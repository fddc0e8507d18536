"""A run: a config, and the captioner and words that it describes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.models.captioner import Captioner
from jaxcap.models.ensemble import Ensemble
from jaxcap.text import Vocabulary


@dataclass(frozen=True)
class Run:
    """What captioning needs of a run.

    Attributes:
      folder: the workdir, which is noted in the caches that the run uses; None for no note.
      config: resolved and locked.
      vocabulary: of the captions.
      encoder_info: what the workdir keeps of the encoder's weights (pool, normalization,
        fingerprint, source), the dtype of the decoder's products and that of the encoder's
        (encoder_dtype) and, where it begins with a denoiser, `TrainedDenoiser.info` as
        "denoiser".
      model: the captioner, or an ensemble of several.
      params: all of its parameters.
      rates: the multiplier of each parameter's learning rate, 0 where it is frozen.
    """

    folder: Path | None
    config: ConfigDict
    vocabulary: Vocabulary
    encoder_info: Mapping[str, Any]
    model: Captioner | Ensemble
    params: Any
    rates: Any

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the regions of a photo."""
        return self.model.encoder.grid(self.config.images.size)
