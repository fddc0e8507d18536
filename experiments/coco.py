"""COCO captions with the recipe of the original systems.

Karpathy's splits are taken where his `dataset_coco.json` lies in the data's folder. The frozen
ResNet50 runs in every step, on new crops, so an accelerator is needed. What it reaches has not been
measured yet.

Command, where `--config.data.download=True` fetches the data (20 GB):

  jaxcap train --config coco --config.data.dir=DIR
"""

from ml_collections import ConfigDict

import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.data.name = "coco"
    config.text.min_count = 5
    return config
