"""Times the training step of experiments/flickr8k.py beside the products that nobody can avoid.

    python -m tests.bench recipe --rounds 9

16 photos with five captions of at most 20 positions, V 2,600, 49 regions of 1,024 + 2,048 channels,
given. They run in turn, several rounds in one process; shown are medians, and what jaxcap takes of
each.

    one by one     jaxcap's step with the gradients of the recurrence's kernels added up position by
                   position, as `nn.scan` does it
    all positions  jaxcap's step as it computes at the positions without a word too
    products       the matrix products of the step alone, forward and backward, in PyTorch, at each
                   position those of captions that have not ended
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch

from jaxcap import devices
from jaxcap.experiment import config as configs
from jaxcap.models.decoder import Decoder, build_decoder
from jaxcap.training.capacity import choose_words
from tests.bench.report import Row, compare, time_in_turn
from tests.bench.step import (
    L,
    T,
    build_step_of,
    count_live,
    draw_captions,
    products_call,
    step_call,
)

RECIPE = Path(__file__).parents[2] / "experiments" / "flickr8k.py"
CAPTIONS = 5  # a photo
FULL = {"images": 16, "vocabulary": 2600, "level_channels": (1024, 2048)}
SMALL = {"images": 2, "vocabulary": 50, "level_channels": (8, 16)}


class OneByOne(Decoder):
    """The decoder with the gradient of `nn.scan`."""

    def _run(self, *inputs):
        return self._scan(*inputs)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")


def run(options: argparse.Namespace) -> list[Row]:
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # on a GPU, TF32 as in JAX; on a CPU, float32
    config = configs.load(str(RECIPE), [])
    sizes = SMALL if options.small else FULL
    decoder = build_decoder(
        config,
        sizes["vocabulary"],
        level_channels=sizes["level_channels"],
        dtype=options.dtype,
        on_processor=devices.is_processor(),
    )
    batch = draw_batch(**sizes)
    channels = batch["features"].shape[-1]
    contestants = {}
    for name, module, choose in (
        ("jaxcap", decoder, choose_words),
        ("one by one", make_one_by_one(decoder), choose_words),
        ("all positions", decoder, None),
    ):
        contestants[name] = step_call(*build_step_of(module, config, channels), batch, choose)
    contestants["products"] = products(config, batch["tokens"], sizes["vocabulary"], channels)
    return compare(time_in_turn(contestants, options.rounds), "step", ["jaxcap"])


def draw_batch(images, vocabulary, level_channels):
    """Returns random features [B, L, D] and captions [B, C, T + 1] of the lengths of real ones."""
    rng = np.random.default_rng(0)
    shape = (images, L, sum(level_channels))
    features = np.maximum(rng.standard_normal(shape, np.float32), 0)
    tokens = draw_captions(rng, images * CAPTIONS, vocabulary)
    return {
        "features": features.astype(np.float16),
        "tokens": tokens.reshape(images, CAPTIONS, T + 1),
    }


def make_one_by_one(decoder):
    """Returns an `OneByOne` with the fields of a decoder."""
    fields = [field.name for field in dataclasses.fields(decoder) if field.init]
    given = {name: getattr(decoder, name) for name in fields if name not in ("parent", "name")}
    return OneByOne(**given)


def products(config, tokens, vocabulary, channels):
    """Returns a call that multiplies what a step must multiply."""
    images = len(tokens)
    live = count_live(tokens)
    words = sum(live)
    width = config.regions.embedding
    hidden = config.decoder.hidden
    attention = config.decoder.attention
    embedding = config.embedding.dim
    given = [(images * L, channels, width)]
    once = [
        (images * L, width, width),
        (images * L, width, attention),
        (words, embedding, 4 * hidden),
        (words, hidden, embedding),
        (words, width, embedding),
        (words, embedding, vocabulary),
    ]
    each = [
        (hidden, attention),
        (hidden, width),
        (hidden + width, 4 * hidden),
    ]
    return products_call(given, once, each, live)
