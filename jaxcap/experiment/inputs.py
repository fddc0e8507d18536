"""What training and captioning read: photos, or features from a cache."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcap import parallel
from jaxcap.data.split import Split
from jaxcap.experiment.build import Experiment
from jaxcap.experiment.check import learns_encoder, reads_cache
from jaxcap.experiment.run import Run
from jaxcap.inputs import features, images
from jaxcap.inputs.batches import Inputs, read_cached, read_photos
from jaxcap.io import uses
from jaxcap.io.files import cache_root

PLAIN = ("plain",)


def open_training_inputs(experiment: Experiment) -> tuple[Inputs, int]:
    """Opens what training reads: cached features, or photos where encoder or views change.

    Returns:
      The inputs, and how many views they have of each photo.
    """
    config = experiment.config
    split = experiment.splits["train"]
    augment = config.images.augment
    if not reads_cache(config):
        return _open_photos(config, split, augment=augment == "free"), 1
    views = config.images.views if augment == "views" else PLAIN
    return read_cached(_open_features(experiment, split, views)), len(views)


def open_plain_inputs(run: Run, split: Split, views: tuple[str, ...] = PLAIN) -> Inputs:
    """Opens the plain view of a split: photos where the encoder learns, else cached features.

    Args:
      run: whose encoder makes the features.
      split: the photos.
      views: the views that a cache of this split holds or shall hold, "plain" among them.
    """
    if learns_encoder(run.config):
        return _open_photos(run.config, split, augment=False)
    cache = _open_features(run, split, views)
    return read_cached(cache[:, views.index("plain") :])


def has_cached_features(run: Run, split: Split, views: tuple[str, ...] = PLAIN) -> bool:
    """Tells whether `open_plain_inputs` of the same arguments has no features to compute."""
    path, _ = _locate_features(run, split, views)
    return not learns_encoder(run.config) and path.exists()


def _open_photos(config: ConfigDict, split: Split, *, augment: bool) -> Inputs:
    """Opens photos: a new random view each time, or the plain one."""
    section = config.images
    view = partial(
        images.train_view,
        resize=section.resize,
        size=section.size,
        jitter=section.jitter,
        hue=section.hue,
    )
    pool = ThreadPoolExecutor(section.workers)
    return read_photos(split, size=section.size, augment=view if augment else None, pool=pool)


def _open_features(run: Run, split: Split, views: tuple[str, ...]) -> np.ndarray:
    """Opens the feature cache [N, views, L, D] of a split, computing first what is not there."""
    section = run.config.images
    path, key = _locate_features(run, split, views)

    def encode(encoder: Any, photos: jax.Array) -> jax.Array:
        regions = run.model.apply({"params": {"encoder": encoder}}, photos, method="encode")
        # Halved on the device: half the bytes to bring back.
        return regions.astype(jnp.float16)

    encoder = run.params["encoder"]
    photo = jax.ShapeDtypeStruct((1, section.size, section.size, 3), jnp.uint8)
    grid = jax.eval_shape(encode, encoder, photo).shape[1:]
    features.fill_cache(
        path,
        split.photo,
        split.ids,
        partial(parallel.compile_per_image(encode), encoder),
        features.CacheSpec(key, grid, views, section.resize, section.size),
        batch_size=run.config.encoder.batch_size,
        workers=section.workers,
    )
    if run.folder is not None:
        uses.record_use(path, run.folder)
    return features.open_cache(path)


def _locate_features(run: Run, split: Split, views: tuple[str, ...]) -> tuple[Path, str]:
    """Returns the folder of a split's feature cache, and the cache's key."""
    section = run.config.images
    transform = {
        "views": views,
        "resize": section.resize,
        "size": section.size,
        "levels": run.config.encoder.levels,
    }
    key = features.cache_key(run.encoder_info["fingerprint"], transform, split.photos)
    root = cache_root() / "features"
    if section.cache_dir:
        root = Path(section.cache_dir).expanduser()
    return root / key[:16], key
