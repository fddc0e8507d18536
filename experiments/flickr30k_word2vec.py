"""Flickr30k with Google News vectors: `flickr30k_random.py` in everything else, so that the two can
be compared.

`python -m jaxcap.train --config experiments/flickr30k_word2vec.py --config.data.dir=DIR
--config.embedding.path=FILE`
"""

from ml_collections import ConfigDict

import flickr30k_random


def get_config() -> ConfigDict:
    """Returns the config."""
    config = flickr30k_random.get_config()
    config.embedding.kind = "word2vec"
    return config
