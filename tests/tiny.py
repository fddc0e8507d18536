"""A captioner small enough for any test, and batches for it."""

import jax
import numpy as np

from jaxcap.models.captioner import Captioner, draw_captioner
from jaxcap.models.decoder import build_decoder
from jaxcap.models.encoder import Encoder
from jaxcap.models.resnet import ResNet
from jaxcap.training import capacity
from jaxcap.training.compiling import compile_create_state
from jaxcap.training.objectives import TeacherForcing
from jaxcap.training.optim import build_optimizer, build_schedule
from jaxcap.training.partition import assign_rates, partition

VOCABULARY = 23
SIZE = 32
SEED = 7
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
OBJECTIVE = TeacherForcing(label_smoothing=0.1, doubly_stochastic=0.5)
SECTIONS = {
    "embedding": {"dim": 6},
    "regions": {"norm": False, "embedding": 0, "layers": 1, "dropout": 0.0},
    "decoder": {
        "cell": "lstm",
        "hidden": 8,
        "attention": 5,
        "activation": "relu",
        "reset_after": True,
        "stateless": False,
        "init_from_mean": False,
        "context_gate": False,
        "word_dropout": 0.0,
    },
    "head": {"hidden": 0, "deep_output": False, "tie_weights": False, "dropout": 0.0},
}


def sections(**options: object) -> dict[str, dict]:
    """The sections of a small decoder's config; an option is named SECTION__KEY."""
    config = {name: dict(section) for name, section in SECTIONS.items()}
    for option, value in options.items():
        section, _, key = option.partition("__")
        assert key in config[section], option
        config[section][key] = value
    return config


def captioner(**options) -> Captioner:
    """A two-stage ResNet and an 8-wide decoder; options are those of `sections`."""
    usual = {
        "decoder__context_gate": True,
        "head__dropout": 0.3,
        "decoder__word_dropout": 0.2,
        "regions__dropout": 0.1,
    }
    encoder = Encoder(ResNet(stage_sizes=(1, 1), width=2))
    decoder = build_decoder(
        sections(**usual | options), VOCABULARY, level_channels=encoder.level_channels
    )
    return Captioner(encoder, decoder)


def draw(model: Captioner, seed: int = 0) -> dict:
    """A captioner's parameters."""
    return draw_captioner(model, jax.random.key(seed), SIZE)


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


def choose_words(batch: dict[str, np.ndarray]) -> dict[str, int]:
    """What the step predicts of batches as small as these: fewer than all positions."""
    return capacity.choose_words(batch, least=1)


def cached(images: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch whose photos are features, as of a frozen encoder."""
    made = batch(images, seed=seed)
    del made["images"]
    rng = np.random.default_rng(seed)
    return made | {"features": rng.standard_normal((images, 4, 16)).astype(np.float32)}


def training(
    *,
    encoder: float = 1,
    words: float = 1,
    gate: float = 1,
    ema_decay: float = 0.9,
    model=None,
    **options,
):
    """Returns (state, frozen, the step's keywords) of a captioner with the rates of some parts."""
    model = model or captioner(**options)
    params = draw(model)
    rules = [("encoder/*", encoder), ("decoder/embed/*", words), ("decoder/*", 1)]
    if gate != 1:  # which not all have
        rules.insert(0, ("decoder/gate/*", gate))
    rates = assign_rates(params, rules)
    trainable, frozen = partition(params, rates)
    optimizer = build_optimizer(TRAIN, build_schedule(TRAIN, 3), rates)
    state = compile_create_state(optimizer, ema=ema_decay > 0)(trainable)
    step = {"model": model, "optimizer": optimizer, "objective": OBJECTIVE, "seed": SEED}
    return state, frozen, step | {"ema_decay": ema_decay}


def leaves(tree) -> dict[str, np.ndarray]:
    """The arrays of a tree by their paths."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in found}
