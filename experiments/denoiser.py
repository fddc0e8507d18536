"""A denoiser for photos with Gaussian and salt-and-pepper noise.

An autoencoder of two halvings, trained on the mean squared error.

Command, where the photos of any data set do (`--config.data.name`):

  jaxcap denoise --config denoiser --config.data.dir=DIR

and a captioner whose encoder begins with it:

  jaxcap train --config flickr8k --config.encoder.denoiser=checkpoints/denoiser
"""

from ml_collections import ConfigDict

import denoiser_base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = denoiser_base.get_config()
    config.data.name = "flickr8k"
    config.images.crop = 64
    config.train.epochs = 4
    return config
