"""Flickr30k as the original systems trained it, with random word vectors: the control of the
Word2Vec experiment.

All words of all captions (20,273 with the specials), 20 positions, one random caption of a photo in
each epoch, random crops, flips and colour jitter, so that the frozen ResNet50 runs in every step:
an accelerator is wanted. Step decay, gradient, batch and state sizes are those of `base.py`; only
what differs stands here.

`python -m jaxcap.train --config experiments/flickr30k_random.py --config.data.dir=DIR`
"""

from ml_collections import ConfigDict

import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.data.name = "flickr30k"
    config.text.vocabulary = "all"
    return config
