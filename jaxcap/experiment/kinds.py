"""The kinds of experiments, and of the runs that they become: captioners and denoisers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ml_collections import ConfigDict

from jaxcap.denoising import defaults as denoising_defaults
from jaxcap.denoising import ranges as denoising_ranges
from jaxcap.experiment import defaults, ranges
from jaxcap.experiment.ranges import Range


@dataclass(frozen=True)
class Kind:
    """A kind of experiment.

    Attributes:
      command: of jaxcap's, that trains it.
      noun: what messages call a run of it.
      section: of its config, which no other kind has.
      keys: what each key may be.
      get_defaults: returns the config with every key.
      defaults: the file that lists every key.
      base: the neighbour that experiments import.
      example: an experiment that comes with jaxcap.
      config_file: the name of the config in a workdir.
    """

    command: str
    noun: str
    section: str
    keys: Mapping[str, Range]
    get_defaults: Callable[[], ConfigDict]
    defaults: str
    base: str
    example: str
    config_file: str


CAPTIONER = Kind(
    command="train",
    noun="run",
    section="decoder",
    keys=ranges.KEYS,
    get_defaults=defaults.get_config,
    defaults="jaxcap/experiment/defaults.py",
    base="base",
    example="experiments/quickstart.py",
    config_file="config.json",
)
DENOISER = Kind(
    command="denoise",
    noun="denoiser",
    section="denoiser",
    keys=denoising_ranges.KEYS,
    get_defaults=denoising_defaults.get_config,
    defaults="jaxcap/denoising/defaults.py",
    base="denoiser_base",
    example="experiments/denoiser.py",
    # A name of its own, so that neither kind of run is ever taken for the other.
    config_file="denoiser.json",
)
KINDS = (CAPTIONER, DENOISER)
