"""Flickr8k with the recipe of `flickr8k.py` and a last stage of the ResNet50 that learns too.

Sixteen epochs on cross-entropy and none self-critical. The last stage, conv5, is frozen for five
epochs, until the decoder's gradients mean something, and then learns at a tenth of the decoder's
rate. What is below never changes: its grids of two views, 14 x 14 x 1024 in half precision and 401
KB a view, are computed once and stay cached (4.8 GB, and 0.4 GB of the development photos), and
each step runs conv5 alone. A core without AVX-512 takes 2 to 4 photos/s (reckoned: 4 hours or more
on two), so an accelerator is better. It was tried for two epochs on 2,000 photos, which showed no
gain yet (`experiments/README.md`).

Command, where `--config.data.download=True` fetches the data (1.1 GB):

  jaxcap train --config flickr8k_finetune --config.data.dir=DIR
"""

from ml_collections import ConfigDict

import flickr8k


def get_config() -> ConfigDict:
    """Returns the config."""
    config = flickr8k.get_config()
    config.encoder.rates = ("layer4_*:0.1@6", "*:0")
    config.self_critical.epochs = 0
    return config
