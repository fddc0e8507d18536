"""A captioner small enough for any test, and batches for it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcap.models.captioner import Captioner
from jaxcap.models.decoder import Decoder
from jaxcap.models.resnet import ResNet
from jaxcap.training import optim
from jaxcap.training import train_step as steps

VOCABULARY = 23
SIZE = 32
TRAIN = {
    "learning_rate": 0.01,
    "schedule": "step",
    "decay_factor": 0.5,
    "decay_epochs": 1,
    "warmup_steps": 0,
    "weight_decay": 0.01,
    "decoupled": False,
    "clip_norm": 1.0,
    "epochs": 4,
}
LOSS = {"label_smoothing": 0.1, "doubly_stochastic": 0.5}


def captioner(**options) -> Captioner:
    """A two-stage ResNet and an 8-wide decoder; options are the decoder's."""
    decoder = {"hidden_dropout": 0.3, "word_dropout": 0.2, "feature_dropout": 0.1, **options}
    return Captioner(
        encoder=ResNet(stage_sizes=(1, 1), width=2),
        decoder=Decoder(VOCABULARY, 6, 8, 5, context_gate=True, **decoder),
    )


def batch(images: int, captions: int = 2, length: int = 7, seed: int = 0) -> dict[str, np.ndarray]:
    """Photos of noise with captions of mixed lengths."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(4, VOCABULARY, (images, captions, length)).astype(np.int32)
    tokens[..., 0] = 1
    ends = rng.integers(2, length, (images, captions, 1))
    place = np.arange(length)
    tokens = np.where(place == ends, 2, np.where(place > ends, 0, tokens)).astype(np.int32)
    return {
        "images": rng.integers(0, 256, (images, SIZE, SIZE, 3)).astype(np.uint8),
        "tokens": tokens,
    }


def training(*, encoder: bool = True, words: bool = True, average: float = 0.9, **options):
    """Returns (state, the step as keywords of `train_step`) for a captioner of which some parts may
    be frozen.
    """
    model = captioner(**options)
    params = jax.jit(model.init)(jax.random.key(0), jax.tree.map(jnp.asarray, batch(1)))["params"]
    rules = {"encoder/": encoder, "decoder/words/": words, "decoder/": True}
    frozen = optim.freeze_mask(params, rules)
    optimizer = optim.optimizer(TRAIN, 3, frozen)
    state = steps.create(params, optimizer, frozen, average=average > 0)
    return state, {
        "model": model,
        "optimizer": optimizer,
        "frozen": frozen,
        "loss": LOSS,
        "average": average,
    }
