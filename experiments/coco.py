"""COCO captions with the recipe of the original systems.

Karpathy's splits are taken where his `dataset_coco.json` lies in the data's folder. The frozen
ResNet50 runs in every step, on new crops, so an accelerator is needed: two CPU cores encode 13 to
26 photos/s, at least 70 minutes an epoch of 113,287 photos (reckoned). What it reaches has not been
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
