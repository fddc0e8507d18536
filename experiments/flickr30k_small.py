"""Flickr30k with an LSTM of 256 and words of 256: the smallest of the published systems.

A frozen ResNet50 on the plain photo (cached features), random word vectors that are trained. It
reported a test loss of 3.4595 nats per word on 512 captions.

Open in the report, and chosen here: attention 256, ReLU in it, clipping at 5, words without their
punctuation, no dropout, no early stopping.

Protocols: as of `flickr30k_word2vec.py`.

On an H100 that other runs shared 780 photos/s: 4 minutes for 30 epochs of 5,600 photos (reckoned:
17 for the 25,426 of the whole data). On two shared Xeon cores 42 photos/s (reckoned: 5 hours), in 4
GB of memory, after features at 13 to 26 photos/s (0.2 GB for 1,000 photos, kept). On these 5,600 it
reached training 2.692 and test 3.264; `sound` CIDEr-D 44.3 (36.3 to 52.8) on 209 test photos
(`experiments/README.md`).

Command:

  jaxcap train --config flickr30k_small --config.data.dir=DIR
"""

import flickr30k_word2vec
from ml_collections import ConfigDict

import base


def get_config(protocol: str = "sound") -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.data.name = "flickr30k"
    config.text.max_length = 20
    config.images.augment = "none"
    config.embedding.dim = 256
    config.decoder.hidden = 256
    config.decoder.attention = 256
    config.train.batch_size = 32
    config.train.epochs = 30
    config.train.learning_rate = 1e-3
    config.train.decay_factor = 0.5
    config.train.decay_epochs = 10
    config.train.clip_norm = 5.0
    config.train.patience = 0
    config.search.beam = 1
    if protocol == "reported":
        flickr30k_word2vec.take_reported_data(config)
    return config
