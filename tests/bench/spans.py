"""Times training from cached features: batches that the host reads, and spans on the devices.

    python -m tests.bench spans --photos 29000 --span 50

The shape is that of `step`, and an epoch reads each photo once, with one caption of two thirds of
its positions. With --photos 29000 it is the training of `flickr30k_word2vec` but for validation;
the last column is what 50 such epochs take. A round is an epoch of each, in turn, with all numbers
read back one call late, as training does.

    host   a call a step, on a batch that a thread has gathered from a cache in memory
    spans  a call for --span steps, on features and captions that lie on the devices
"""

import argparse
import statistics

import jax
import numpy as np

from jaxcap import parallel
from jaxcap.inputs.batches import CachedInputs, Captions, TrainingBatches
from jaxcap.training.capacity import choose_words
from jaxcap.training.spans import plan_spans, scan_steps
from tests.bench import step as bench_step
from tests.bench.report import Row, compare, time_in_turn

EPOCHS = 50


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=int, default=320)
    parser.add_argument("--span", type=int, default=50)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")


def run(options: argparse.Namespace) -> list[Row]:
    sizes = bench_step.SMALL if options.small else bench_step.Sizes()
    photos = 4 * sizes.images if options.small else options.photos
    batches = draw_photos(sizes, photos)
    step, frozen, state = bench_step.build_step(sizes, options.dtype)
    single = parallel.compile_train_step(step, choose_words)
    many = parallel.compile_train_step(scan_steps(step, "features"), image_axis=lambda name: 1)
    arrays = {"features": batches.inputs.cache, "tokens": batches.captions.tokens}
    constants = (frozen, parallel.replicate(arrays))
    states = {"host": state, "spans": jax.tree.map(np.array, state)}

    def feed() -> None:
        pending = None
        for batch in batches.iterate_epoch(0):
            states["host"], metrics = single(states["host"], frozen, batch)
            jax.device_get(pending)
            pending = metrics
        jax.device_get(pending)

    def span() -> None:
        pending = None
        for part in plan_spans([batches], 0, 0, options.span, 10**9):
            states["spans"], metrics = many(states["spans"], constants, part.batch, **part.chosen)
            jax.device_get(pending)
            pending = metrics
        jax.device_get(pending)

    seconds = time_in_turn({"host": feed, "spans": span}, options.rounds)
    rows = compare(seconds, "epoch", ["spans"])
    for row in rows:
        row["seconds a step"] = statistics.median(row["rounds"]) / len(batches)
        row[f"minutes for {EPOCHS} epochs"] = EPOCHS * statistics.median(row["rounds"]) / 60
    return rows


def draw_photos(sizes, photos: int) -> TrainingBatches:
    """Returns batches of random features, each photo with one caption of a real one's length."""
    rng = np.random.default_rng(0)
    shape = (photos, 1, bench_step.L, sizes.channels)
    cache = np.zeros(shape, np.float16)
    for photo in cache:  # one by one: in float32 all at once would take twice the memory
        photo[:] = np.maximum(rng.standard_normal(shape[1:], np.float32), 0)
    repeated = -(-photos // sizes.images)
    _, tokens = bench_step.draw_batch(sizes)
    captions = Captions(np.tile(tokens, (repeated, 1))[:photos, None], np.ones(photos, int), 0)
    return TrainingBatches(CachedInputs(cache), captions, 1, sizes.images, "random", seed=0)
