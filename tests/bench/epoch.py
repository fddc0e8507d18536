"""Times an epoch as the published systems trained, beside jaxcap's through cached views.

    python -m tests.bench epoch --epochs 20 --rounds 3

Both see random crops, mirrors and colours of the same photos, or fixed views of them, one caption a
photo, and train the decoder of `python -m tests.bench step` on a frozen ResNet50:

    originals   PyTorch: in each step decode, resize, crop, mirror and jitter the photos, run
                ResNet50 (channels last, without gradient), and step as the authors wrote it
    jaxcap      two fixed views of each photo, encoded once and cached; a step reads one of them
    filling     what computes that cache, decoding included, once a run

One batch of each is timed, in turn; all batches of an epoch are alike. `a photo and epoch` is a
part of the time of a batch: for jaxcap without filling, and with filling shared by --epochs epochs.
"""

import argparse
import functools
import io
import statistics
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from PIL import Image

from jaxcap import devices
from jaxcap.decoding import map_groups
from jaxcap.inputs import features, images
from jaxcap.models.convolution_forms import Arithmetic
from jaxcap.models.encoder import Encoder, normalize
from jaxcap.models.resnet import ResNet
from jaxcap.training.capacity import choose_words
from tests.bench import step
from tests.bench.report import Row, take_ratio, time_in_turn
from tests.encoders import torch_resnet

VIEWS = ("plain", "mirror")
PHOTO = (500, 375)  # pixels of a usual Flickr photo


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=20, help="that share the filling")


def run(options: argparse.Namespace) -> list[Row]:
    if options.threads:
        torch.set_num_threads(options.threads)
    sizes = step.SMALL._replace(channels=256) if options.small else step.Sizes()
    network = {"stage_sizes": (3, 4, 6, 3), "width": 64}
    if options.small:
        network = {"stage_sizes": (1, 1, 1, 1), "width": 8}
    photos = [make_photo(seed) for seed in range(sizes.images)]
    regions, tokens = step.draw_batch(sizes)
    with tempfile.TemporaryDirectory() as folder:
        contestants = {
            "originals": originals_call(sizes, network, photos, regions, tokens),
            "filling": filling_call(network, photos, Path(folder)),
        }
        contestants["filling"]()
        contestants["jaxcap"] = cached_call(sizes, regions, tokens, Path(folder))
        seconds = time_in_turn(contestants, options.rounds)
    shared = np.array(seconds["filling"]) / options.epochs
    without = np.array(seconds["jaxcap"])
    parts = {
        "originals": seconds["originals"],
        "jaxcap, the cache there": without,
        f"jaxcap, filling shared by {options.epochs} epochs": without + shared,
        "filling alone, once a run": seconds["filling"],
    }
    rows = []
    for name, of_one in parts.items():
        each = statistics.median(of_one) / sizes.images
        faster = take_ratio(seconds["originals"], list(of_one))
        row: Row = {"epoch": name, "ms a photo and epoch": 1000 * each}
        rows.append({**row, "times as fast as originals": faster, "rounds": list(of_one)})
    return rows


def make_photo(seed: int) -> bytes:
    """Makes the JPEG of a picture that is as smooth as photos are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    picture = Image.fromarray(coarse).resize(PHOTO, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()


def originals_call(sizes, network, photos, regions, tokens):
    """Returns a call that makes one step of the published systems."""
    net = torch_resnet(torch, **network, layout="v1.5", pool="padded")
    net = net.to(memory_format=torch.channels_last)
    update = step.torch_step(step.Originals(sizes), regions, tokens, words_alone=False)
    rng = np.random.default_rng(0)

    def call():
        views = []
        for number, data in enumerate(photos):
            photo = images.decode(data, str(number))
            views.append(images.train_view(photo, rng, jitter=0.1, hue=0.1))
        pixels = np.asarray(normalize(np.stack(views)))
        with torch.inference_mode():
            grid = net(torch.from_numpy(pixels))
        update(grid.flatten(1, 2).clone())

    return call


def filling_call(network, photos, folder):
    """Returns a call that makes the cache of all views of the photos anew."""
    encoder = Encoder(ResNet(**network, arithmetic=Arithmetic("float32", devices.is_processor())))
    pixels = jnp.zeros((1, 224, 224, 3), jnp.uint8)
    params = jax.jit(encoder.init)(jax.random.key(0), pixels)
    few = devices.photos_at_once() if devices.is_processor() else None

    @jax.jit
    def encode(photos):
        apply = functools.partial(encoder.apply, params)
        return map_groups(lambda group: apply(group).astype(jnp.float16), (photos,), few)

    grid = jax.eval_shape(encode, pixels).shape[1:]
    done = iter(range(10**6))

    def call():
        spec = features.CacheSpec("bench", grid, VIEWS)
        path = folder / str(next(done))
        names = [str(number) for number in range(len(photos))]
        features.fill_cache(path, photos.__getitem__, names, encode, spec)

    return call


def cached_call(sizes, regions, tokens, folder):
    """Returns a call that makes one step of jaxcap from the cache."""
    cache = features.open_cache(folder / "0")
    update = step.jaxcap_step(sizes, regions, tokens, "float32", choose_words)
    rng = np.random.default_rng(0)

    def call():
        rows = rng.permutation(len(cache))
        update(features.gather(cache, rows, rng.integers(len(VIEWS), size=len(rows))))

    return call
