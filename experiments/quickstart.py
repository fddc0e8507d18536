"""Quickstart: rendered scenes, a small ResNet trained along with the decoder, no download.

`python -m jaxcap.train --config experiments/quickstart.py`
"""

from ml_collections import ConfigDict

import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "scenes"
    config.images.size = config.data.scene_size
    config.images.augment = "none"
    config.encoder.weights = "random"
    config.encoder.trainable = True
    config.encoder.stage_sizes = (1, 1, 1)
    config.encoder.width = 16
    config.embedding.dim = 64
    config.decoder.hidden = 128
    config.decoder.attention = 64
    config.train.batch_size = 32
    config.train.captions = "all"
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.train.epochs = 12
    config.train.patience = 0
    return config
