"""Flickr8k with the best recipe we know for a frozen ResNet50: cached features, every caption of a
photo in each step, and at last a few epochs that learn from the CIDEr-D of the captioner's own
captions.

`python -m jaxcap.train --config experiments/flickr8k.py --config.data.dir=DIR`
"""

from ml_collections import ConfigDict

import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.data.name = "flickr8k"
    config.text.min_count = 5
    config.images.augment = "views"
    config.encoder.levels = 2
    config.embedding.kind = "train"
    config.decoder.attention = 256
    config.regions.norm = True
    config.regions.embedding = 512
    config.regions.layers = 2
    config.decoder.init_from_mean = True
    config.decoder.context_gate = True
    config.head.deep_output = True
    config.decoder.word_dropout = 0.4
    config.head.dropout = 0.5
    config.regions.dropout = 0.3
    config.decoder.dtype = (
        "auto"  # bfloat16 where it is faster: with AMX 1.4 times as fast as float32
    )
    config.loss.doubly_stochastic = 0.1
    config.train.captions = "all"
    config.train.batch_size = 16  # of 80 captions; a batch of 320 learns less from as many words
    config.train.epochs = 16
    config.train.learning_rate = 1e-3
    config.train.schedule = "cosine"
    config.train.weight_decay = 0.05
    config.train.decoupled = True
    config.train.ema_decay = 0.999
    config.train.select = "CIDEr-D"
    config.train.patience = 0
    config.self_critical.epochs = 4
    config.search.length_normalization = 1.0
    config.search.no_repeat_ngram = 3
    return config
