"""COCO captions with the original recipe; Karpathy's splits where his `dataset_coco.json` lies in
the data's folder.

The frozen ResNet50 runs in every step, on new crops: an accelerator is wanted.

`python -m jaxcap.train --config experiments/coco.py --config.data.dir=DIR
[--config.data.download=True]`
"""

from ml_collections import ConfigDict

import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.data.name = "coco"
    config.text.min_count = 5
    return config
