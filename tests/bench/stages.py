"""The stages whose time and memory are measured, each on made-up data of a size that is given.

    python -m tests.bench.stages STAGE SIZE FOLDER

runs one of them in a process of its own, which keeps freed memory as jaxcap's commands do, and
prints, as JSON, the seconds of its work without what made the data. Captions are of the lengths and
the word frequencies of real ones.
"""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxcap import devices, parallel
from jaxcap.allocation import keep_freed_memory
from jaxcap.data.split import Split
from jaxcap.decoding import Rules, captioning
from jaxcap.evaluation import scoring
from jaxcap.experiment.datasets import build_vocabulary
from jaxcap.experiment.defaults import get_config
from jaxcap.inputs import features
from jaxcap.inputs.batches import CachedInputs, Captions, TrainingBatches, encode_captions
from jaxcap.models.captioner import build_captioner
from jaxcap.scores import baselines, bootstrap, cider, health
from jaxcap.text import SPECIALS, split_captions
from jaxcap.training.capacity import choose_words
from jaxcap.training.objectives import TeacherForcing
from jaxcap.training.optim import build_optimizer, build_schedule
from jaxcap.training.partition import assign_rates, partition
from jaxcap.training.train_step import create_state, train_step

GRID = (49, 2048)  # L, D
WORDS = 8_000  # of the made-up captions
BATCH = 64
FEW_STEPS = 20

# Made for a size and a folder; the second call is the work that is measured.
Prepare = Callable[[int, Path], Callable[[], None]]


def prepare_plan(photos: int, folder: Path) -> Callable[[], None]:
    """What training does with so many photos of five captions before its first step."""
    del folder
    captions = draw_captions(photos, 5)

    def work():
        config = get_config()
        names = tuple(f"{number:012d}.jpg" for number in range(photos))
        split = Split("train", names, captions, [], photos=names)
        sentences = split_captions(split.captions, config.text)
        vocabulary, _ = build_vocabulary(config, {"train": sentences})
        encoded = encode_captions(sentences, vocabulary, config.text)
        for choice in ("random", "pairs"):
            batches = TrainingBatches(read_nothing, encoded, 2, BATCH, choice, 0)
            next(iter(batches.iterate_epoch(0)))
        features.cache_key("weights", {"views": ["plain"]}, split.photos)

    return work


def prepare_cached_epoch(photos: int, folder: Path) -> Callable[[], None]:
    """An epoch from a cache of so many photos: a file of zeros, which takes no disk."""
    file = folder / "features.npy"
    shape = (photos, 1, *GRID)
    with file.open("wb") as opened:
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(opened, header)
        opened.truncate(opened.tell() + 2 * int(np.prod(shape)))
    (folder / "meta.json").write_text(json.dumps({"shape": shape}))
    return make_epoch(photos, lambda: CachedInputs(features.open_cache(folder)), 1, 2_000)


def prepare_captions(captions: int, folder: Path) -> Callable[[], None]:
    """Steps of so many captions a photo."""
    del folder
    return make_epoch(BATCH * FEW_STEPS, read_zeros, captions, 2_000)


def prepare_words(words: int, folder: Path) -> Callable[[], None]:
    """Steps with a vocabulary of so many words."""
    del folder
    return make_epoch(BATCH * FEW_STEPS, read_zeros, 1, words)


def prepare_devices(devices: int, folder: Path) -> Callable[[], None]:
    """Steps of the same batch over so many virtual devices."""
    del folder
    assert jax.device_count() == devices
    return make_epoch(BATCH * FEW_STEPS, read_zeros, 1, 2_000)


def prepare_beam(beam: int, folder: Path) -> Callable[[], None]:
    """Beam search of 64 photos with so many beams."""
    del folder
    model, params = build_small(2_000)
    search = parallel.compile_per_image(captioning.build_beam(model, Rules(), beam))
    batch = {"features": np.zeros((BATCH, *GRID), np.float16)}
    jax.block_until_ready(search(params, batch))
    return lambda: jax.block_until_ready(search(params, batch))


def prepare_scores(photos: int, folder: Path) -> Callable[[], None]:
    """Scores with intervals of one caption a photo beside five references."""
    del folder
    systems = {"run": [of_image[0] for of_image in draw_captions(photos, 1, seed=1)]}
    references = draw_captions(photos, 5)
    return lambda: scoring.score(systems, references)


def prepare_health(photos: int, folder: Path) -> Callable[[], None]:
    """How varied and novel the captions of so many photos are, and which phrases are overused."""
    del folder
    ours = [of_image[0].split() for of_image in draw_captions(photos, 1, seed=1)]
    theirs = [text.split() for of_image in draw_captions(photos, 5) for text in of_image]

    def work():
        health.summarize(ours, {tuple(words) for words in theirs})
        health.find_overused(ours, theirs)

    return work


def prepare_blind(photos: int, folder: Path) -> Callable[[], None]:
    """The captions of the baselines that see nothing."""
    del folder
    theirs = [text.split() for of_image in draw_captions(photos, 5) for text in of_image]

    def work():
        baselines.most_common_caption(theirs)
        baselines.derange(photos)

    return work


def prepare_nearest(photos: int, folder: Path) -> Callable[[], None]:
    """The nearest of 6,000 training photos to each of so many."""
    del folder
    rng = np.random.default_rng(0)
    scored = rng.random((photos, GRID[1]), np.float32)
    training = rng.random((6_000, GRID[1]), np.float32)
    return lambda: baselines.find_nearest(scored, training)


def prepare_compare(photos: int, folder: Path) -> Callable[[], None]:
    """The interval of the difference of two runs."""
    del folder
    rows = np.random.default_rng(0).random((photos, 4))

    def subtract(total):
        first, other = np.split(total, 2, axis=-1)
        return cider.from_statistics(other) - cider.from_statistics(first)

    return lambda: bootstrap.interval(rows, subtract)


STAGES: dict[str, Prepare] = {
    "plan": prepare_plan,
    "cached epoch": prepare_cached_epoch,
    "scores": prepare_scores,
    "health": prepare_health,
    "blind baselines": prepare_blind,
    "nearest": prepare_nearest,
    "compare": prepare_compare,
    "captions a photo": prepare_captions,
    "words": prepare_words,
    "beam": prepare_beam,
    "devices": prepare_devices,
}


def draw_captions(photos: int, captions: int, seed: int = 0) -> tuple[tuple[str, ...], ...]:
    """Draws captions of about eleven words, whose frequencies fall as those of real ones do."""
    rng = np.random.default_rng(seed)
    words = np.array([f"w{number}" for number in range(WORDS)])
    made = []
    for _ in range(photos):
        lengths = np.clip(rng.normal(11, 3, captions), 4, 30).astype(int)
        drawn = (WORDS ** rng.random(lengths.sum())).astype(int)  # Zipf's law
        texts = np.split(words[drawn], np.cumsum(lengths)[:-1])
        made.append(tuple(" ".join(text.tolist()) for text in texts))
    return tuple(made)


def build_small(words: int):
    """Returns a captioner with a decoder that takes little time beside the reading, and its
    parameters.
    """
    config = get_config()
    config.decoder.hidden = 64
    config.decoder.attention = 64
    config.embedding.dim = 32
    model = build_captioner(
        config,
        words,
        pool="padded",
        normalization="imagenet",
        dtype="float32",
        on_processor=devices.is_processor(),
    )
    batch = {
        "features": jnp.zeros((1, *GRID), jnp.float16),
        "tokens": jnp.ones((1, 1, 2), jnp.int32),
    }
    return model, jax.jit(model.init)(jax.random.key(0), batch)["params"]


def make_epoch(photos: int, open_inputs, captions: int, words: int) -> Callable[[], None]:
    """Returns the work of an epoch over so many photos, its step compiled before."""
    model, params = build_small(words)
    train = get_config().train
    rates = assign_rates(params, [("*", 1)])
    optimizer = build_optimizer(train, build_schedule(train, 100), rates)
    step = functools.partial(
        train_step, model=model, optimizer=optimizer, objective=TeacherForcing(), seed=0
    )
    compiled = parallel.compile_train_step(step, choose_words)
    trainable, frozen = partition(params, rates)
    rng = np.random.default_rng(0)
    tokens = rng.integers(len(SPECIALS), words, (photos, captions, 20)).astype(np.int32)
    encoded = Captions(tokens, np.full(photos, captions), 0)
    batches = TrainingBatches(open_inputs(), encoded, 1, BATCH, "all", 0)
    state = create_state(trainable, optimizer, ema=False)
    first = next(iter(dataclasses.replace(batches, inputs=read_zeros()).iterate_epoch(0)))
    for _ in range(2):  # compiled for the state that it is given and for that which it returns
        state, _ = compiled(state, frozen, first)
    holder = [state]

    def work():
        for batch in batches.iterate_epoch(0):
            holder[0], metrics = compiled(holder[0], frozen, batch)
        jax.block_until_ready(metrics)

    return work


def read_nothing(rows, views, keys):
    return {}


def read_zeros():
    """Returns inputs of features that are all zeros."""
    return lambda rows, views, keys: {"features": np.zeros((len(rows), *GRID), np.float16)}


def main() -> None:
    keep_freed_memory()
    stage, size, folder = sys.argv[1:]
    work = STAGES[stage](int(size), Path(folder))
    start = time.perf_counter()
    work()
    print(json.dumps(time.perf_counter() - start))


if __name__ == "__main__":
    main()
