"""Flickr30k as the original systems trained it, with the Google News word vectors.

`flickr30k_random.py` in everything else, so that the two can be compared. FILE is
GoogleNews-vectors-negative300.bin, or any file of vectors of `embedding.dim` numbers.

The frozen ResNet50 runs in every step, on new crops, so an accelerator is needed. What it reaches
has not been measured yet.

Command:

  jaxcap train --config flickr30k_word2vec --config.data.dir=DIR --config.embedding.path=FILE
"""

from ml_collections import ConfigDict

import flickr30k_random


def get_config() -> ConfigDict:
    """Returns the config."""
    config = flickr30k_random.get_config()
    config.embedding.kind = "word2vec"
    return config
