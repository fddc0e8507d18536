"""Times the training step of N replicas beside N steps of one model.

    python -m tests.bench replicas --replicas 3 10 --experiment flickr8k

The steps are the compiled ones of `jaxcap.train`, with random features in memory: the decoder of
the experiment, its batch, captions and optimizer. Single step and replicas run in turn, several
rounds in one process; shown are medians, and how many single steps the step of N replicas costs.
Below N, replicas are cheaper than runs one after another.
"""

import argparse
import functools
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from jaxcap import devices, parallel
from jaxcap.experiment import config as configs
from jaxcap.experiment.build import choose_dtypes
from jaxcap.experiment.catalog import find_experiment
from jaxcap.models.captioner import build_captioner
from jaxcap.text import END, SPECIALS, START
from jaxcap.training.capacity import choose_words
from jaxcap.training.objectives import TeacherForcing
from jaxcap.training.optim import build_optimizer, build_schedule
from jaxcap.training.partition import assign_rates, partition, read_rules
from jaxcap.training.stacking import (
    Stacking,
    share_frozen,
    stack,
    stack_frozen,
    stack_seeds,
    step_each,
)
from jaxcap.training.train_step import create_state, train_step
from tests.bench.report import Row, take_ratio, time_in_turn

SMALL = [
    "train.batch_size=4",
    "encoder.width=4",
    "encoder.levels=1",
    "images.size=32",
    "embedding.dim=8",
    "decoder.hidden=8",
    "decoder.attention=8",
    "regions.embedding=8",
]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--experiment", default="flickr8k")
    parser.add_argument("--replicas", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--vocabulary", type=int, default=2542)
    parser.add_argument("--words", type=float, default=11.0, help="mean length of a caption")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=VALUE")


def run(options: argparse.Namespace) -> list[Row]:
    if options.small:
        options.replicas = [2]
        options.vocabulary = 30
        options.override = SMALL
    overrides = [f"--config.{override}" for override in options.override]
    config = configs.load(find_experiment(options.experiment), overrides)
    params, frozen, step, create = build(config, options.vocabulary)
    batch = draw_batch(config, options)
    single = parallel.compile_train_step(functools.partial(step, seed=0), choose_words)
    runs = {0: functools.partial(single, constants=share_frozen([frozen])[0], batch=batch)}
    states = {0: create(params)}
    for count in options.replicas:
        stacked, axes = stack_frozen(share_frozen([frozen] * count))
        states[count] = stack([create(params) for _ in range(count)])
        stacking = Stacking(count, axes, shares_batch=True)
        constants = (stacked, stack_seeds(range(count)))
        compiled = parallel.compile_train_step(step_each(step, stacking), choose_words)
        runs[count] = functools.partial(compiled, constants=constants, batch=batch)

    def take_step(count):
        states[count], metrics = runs[count](states[count])
        jax.block_until_ready(metrics)

    calls = {count: functools.partial(take_step, count) for count in runs}
    seconds = time_in_turn(calls, options.rounds)
    rows = []
    for count, of_count in seconds.items():
        row = {
            "replicas": count or "one model",
            "dtype": choose_dtypes(config)["dtype"],
            "seconds a step": statistics.median(of_count),
            "in single steps": take_ratio(of_count, seconds[0]),
            "rounds": of_count,
        }
        rows.append(row)
    return rows


def build(config, vocabulary):
    """Returns parameters, trained and frozen, the step and the function that creates its state."""
    dtype = choose_dtypes(config)["dtype"]
    model = build_captioner(
        config,
        vocabulary,
        pool="padded",
        normalization="imagenet",
        dtype=dtype,
        on_processor=devices.is_processor(),
    )
    size = config.images.size
    batch = {
        "images": jnp.zeros((1, size, size, 3), jnp.uint8),
        "tokens": jnp.ones((1, 1, 2), jnp.int32),
    }
    params = jax.jit(model.init)(jax.random.key(0), batch)["params"]
    rates = assign_rates(params, read_rules(config))
    trainable, frozen = partition(params, rates)
    optimizer = build_optimizer(config.train, build_schedule(config.train, 100), rates)
    objective = TeacherForcing(doubly_stochastic=config.loss.doubly_stochastic)
    step = functools.partial(
        train_step,
        model=model,
        optimizer=optimizer,
        objective=objective,
        ema_decay=config.train.ema_decay,
    )
    ema = config.train.ema_decay > 0
    return trainable, frozen, step, functools.partial(create_state, optimizer=optimizer, ema=ema)


def draw_batch(config, options):
    """Returns a batch of random features and captions whose lengths are those of real ones."""
    rng = np.random.default_rng(0)
    images = config.train.batch_size
    captions = 5 if config.train.captions == "all" else 1
    length = config.text.max_length
    shape = (images, captions, length)
    tokens = rng.integers(len(SPECIALS), options.vocabulary, shape).astype(np.int32)
    tokens[..., 0] = START
    ends = np.clip(rng.poisson(options.words, (images, captions, 1)), 2, length - 1)
    place = np.arange(length)
    tokens = np.where(place == ends, END, np.where(place > ends, 0, tokens)).astype(np.int32)
    width = config.encoder.width
    channels = 32 * width + (16 * width if config.encoder.levels == 2 else 0)
    features = rng.standard_normal((images, 49, channels)).astype(np.float16)
    return {"features": features, "tokens": tokens}
