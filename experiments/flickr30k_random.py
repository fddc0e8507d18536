"""Flickr30k as the original systems trained it, with random word vectors.

All words of all captions (20,273 with the specials), 20 positions, one random caption of a photo in
each epoch, random crops, flips and colour jitter. It is the control of `flickr30k_word2vec.py`.

The frozen ResNet50 runs in every step, on new crops, so an accelerator is needed. What it reaches
has not been measured yet.

Command:

  jaxcap train --config flickr30k_random --config.data.dir=DIR
"""

from ml_collections import ConfigDict

import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.data.name = "flickr30k"
    config.text.vocabulary = "all"
    return config
