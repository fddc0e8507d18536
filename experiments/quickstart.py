"""Rendered scenes and a small ResNet that is trained along with the decoder: no download.

Three to four minutes on two CPU cores. It ends with the share of objects in 750 held-out scenes
that captions name with the right shape and colour: 98.3 to 99.7 % over three seeds, with attention
on the object named 6.8 to 8.0 times chance (Intel Xeon and AMD EPYC, jax 0.10.2).

Command:

  jaxcap train --config quickstart
"""

from ml_collections import ConfigDict

import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.data.name = "scenes"
    config.data.scenes = 7500  # drawn in two seconds; 750 of them are the test's
    config.images.size = config.data.scene_size
    config.images.augment = "none"
    config.encoder.weights = "random"
    config.encoder.rates = ("*:1",)
    config.encoder.stage_sizes = (1, 1, 2)  # the last block sees a large shape whole
    config.encoder.width = 16
    config.encoder.levels = 2  # the last stage and the finer one before it
    config.embedding.dim = 64
    config.decoder.hidden = 128
    config.decoder.attention = 128
    config.regions.norm = True  # the encoder has no norm of its own
    config.decoder.init_from_mean = True
    # The word sees the context itself, so the attention learns sooner.
    config.head.deep_output = True
    # Of 40 captions: smaller steps, and more of them, bring the attention sooner.
    config.train.batch_size = 8
    config.train.captions = "all"
    config.train.learning_rate = 1.5e-3
    config.train.warmup_steps = 100
    config.train.schedule = "cosine"
    config.train.epochs = 4
    config.train.patience = 0
    return config
