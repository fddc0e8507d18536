"""2,000 photos of COCO, InceptionV3 and a GRU: the system that follows TensorFlow's tutorial.

The first 2,000 photos of captions_train2014.json, Keras's Tokenizer with the 5,000 most frequent
words, a frozen InceptionV3 (8 x 8 regions, cached), a dense layer on the regions, tanh attention, a
GRU, two dense layers, captions sampled at temperature 1. It reported losses of 0.2271 in training
and 0.1792 in a "validation" on the training captions, averaged over padding.

Open in the report, and chosen here: Adam's rate 1e-3; captions padded to 50 positions (it pads to
its longest, which it does not state). All layers begin as PyTorch's; the original's begin as
Keras's (Glorot).

Protocols: `sound` (the default) splits by photo (72 % train, 8 % val, 20 % test), takes the words
of the training captions, averages the loss over words, and hands the GRU its state.
`--config.protocol=reported` splits by (photo, caption) pair and validates on the training part,
takes the words of all captions, averages over padding, and hands the GRU no state: in the
original, only the attention sees it.

The original's photos had passed a denoiser: `--config.encoder.denoiser=WORKDIR` puts one before the
encoder (`denoiser.py`). `--config.encoder.weights=hub` fetches Keras's weights (88 MB), which need
h5py: pip install 'jaxcap[keras]'.

On an H100 that other runs shared 1,200 captions/s: 3 minutes for 30 epochs. On two shared Xeon
cores features at 7 photos/s (0.5 GB, kept), then 60 captions/s, 4 minutes an epoch with its
validation (reckoned: 2 hours in all), in 3.5 GB of memory. On 2,000 other photos it reached 0.214
in training and 0.174 in its "validation"; `sound` stops after 6 epochs, with CIDEr-D 4.4 (3.9 to
5.0) of sampled captions and 15.0 (13.5 to 16.6) of 5 beams (`experiments/README.md`).

Command:

  jaxcap train --config coco_inception_gru --config.data.dir=DIR
"""

from ml_collections import ConfigDict

import base


def get_config(protocol: str = "sound") -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.data.name = "coco"
    config.data.splits = "random"
    config.data.photos = 2000
    config.text.max_length = 50
    config.text.tokenizer = "keras"
    config.text.max_words = 5000
    config.images.size = 299
    config.images.augment = "none"
    config.encoder.backbone = "inception"
    config.embedding.dim = 256
    config.regions.embedding = 256
    config.decoder.cell = "gru"
    config.decoder.hidden = 512
    config.decoder.attention = 512
    config.decoder.activation = "tanh"
    config.head.hidden = 512
    config.train.captions = "pairs"
    config.train.batch_size = 32
    config.train.epochs = 30
    config.train.learning_rate = 1e-3
    config.train.schedule = "constant"
    config.train.clip_norm = 0.0
    config.train.patience = 3
    config.search.kind = "sample"
    if protocol == "reported":
        config.data.splits = "pairs"
        config.text.vocabulary = "all"
        config.decoder.stateless = True
        config.loss.average = "positions"
    return config
