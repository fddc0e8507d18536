"""What training and captioning read: photos, or features from a cache.

The features are regions or, where the last stages of the encoder learn, the grids that enter these.
Of several processes each reads of a batch what its own devices need.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcap import devices, parallel, processes
from jaxcap.data.split import Split
from jaxcap.decoding import map_groups
from jaxcap.experiment.build import Experiment
from jaxcap.experiment.run import Run
from jaxcap.experiment.stages import caches_photos, reads_cache
from jaxcap.inputs import features, images
from jaxcap.inputs.batches import Batch, CachedInputs, Inputs, read_photos
from jaxcap.inputs.noise import Noise
from jaxcap.io import uses
from jaxcap.io.files import cache_root
from jaxcap.memoize import memoize
from jaxcap.models.captioner import Captioner

PLAIN = ("plain",)


def open_training_inputs(experiment: Experiment) -> tuple[Inputs, int]:
    """Opens what training reads: cached features, or photos where their views change.

    Photos too where the whole encoder learns, so that nothing of it could be cached.

    Returns:
      The inputs, and how many views they have of each photo.
    """
    config = experiment.config
    split = experiment.splits["train"]
    augment = config.images.augment
    if not reads_cache(config, experiment.model.encoder):
        return _open_photos(config, split, augment=augment == "free"), 1
    views = config.images.views if augment == "views" else PLAIN
    return _read_features(experiment, split, views), len(views)


def open_plain_inputs(
    run: Run, split: Split, views: tuple[str, ...] = PLAIN, noise: Noise | None = None
) -> Inputs:
    """Opens the plain view of a split: cached features, or photos where the whole encoder learns.

    Args:
      run: whose encoder makes the features.
      split: the photos.
      views: the views that a cache of this split holds or shall hold, "plain" among them.
      noise: put on the photos before the encoder sees them; None: none.
    """
    if not caches_photos(run.config, run.model.encoder):
        return _open_photos(run.config, split, augment=False, noise=noise)
    return _read_features(run, split, views, noise, first_view=views.index("plain"))


def has_cached_features(run: Run, split: Split, views: tuple[str, ...] = PLAIN) -> bool:
    """Tells whether `open_plain_inputs` of the same arguments has no features to compute."""
    path, _ = _locate_features(run, split, views)
    return caches_photos(run.config, run.model.encoder) and path.exists()


def _open_photos(
    config: ConfigDict, split: Split, *, augment: bool, noise: Noise | None = None
) -> Inputs:
    """Opens photos: a new random view each time, or the plain one, with noise if there is any."""
    section = config.images
    view = partial(
        images.train_view,
        resize=section.resize,
        size=section.size,
        jitter=section.jitter,
        hue=section.hue,
    )
    pool = ThreadPoolExecutor(section.workers)
    random_view = view if augment else None
    return _read_share(
        read_photos(split, size=section.size, augment=random_view, pool=pool, noise=noise)
    )


def _read_features(
    run: Run,
    split: Split,
    views: tuple[str, ...],
    noise: Noise | None = None,
    *,
    first_view: int = 0,
) -> Inputs:
    """Returns inputs from the feature cache of a split, its views counted from `first_view` on."""
    cache = _open_features(run, split, views, noise)
    name = "grid" if run.model.encoder.entry else "features"
    return _read_share(CachedInputs(cache[:, first_view:], name))


@dataclass(frozen=True)
class SharedInputs:
    """Inputs of which each process reads its share of a batch.

    Attributes:
      whole: the inputs.
    """

    whole: Inputs

    def __call__(
        self, rows: np.ndarray, views: np.ndarray, keys: Sequence[tuple[int, ...]]
    ) -> Batch:
        """Reads this process's share."""
        share = processes.take_share(len(rows))
        return self.whole(rows[share], views[share], keys[share])


def _read_share(inputs: Inputs) -> Inputs:
    return inputs if processes.count() == 1 else SharedInputs(inputs)


def _open_features(
    run: Run, split: Split, views: tuple[str, ...], noise: Noise | None = None
) -> np.ndarray:
    """Opens the feature cache [N, views, L, D] of a split, computing first what is not there."""
    section = run.config.images
    path, key = _locate_features(run, split, views, noise)

    encoder = run.params["encoder"]
    encode, encode_photos = _compile_encoding(run.model)
    photo = jax.ShapeDtypeStruct((1, section.size, section.size, 3), jnp.uint8)
    grid = jax.eval_shape(encode, encoder, photo).shape[1:]
    features.fill_cache(
        path,
        split.photo,
        split.ids,
        partial(encode_photos, encoder),
        features.CacheSpec(key, grid, views, section.resize, section.size, noise),
        batch_size=run.config.encoder.batch_size,
        workers=section.workers,
    )
    if run.folder is not None and processes.is_first():
        uses.record_use(path, run.folder)
    return features.open_cache(path)


@memoize
def _compile_encoding(model: Captioner) -> tuple[Callable, Callable]:
    """Returns (encoder's parameters, photos) -> what is cached of them, and the same compiled."""
    method = "encode_lower" if model.encoder.entry else "encode"

    def encode(encoder: Any, photos: jax.Array) -> jax.Array:
        def encode_group(photos: jax.Array) -> jax.Array:
            regions = model.apply({"params": {"encoder": encoder}}, photos, method=method)
            # Halved on the device: half the bytes to bring back.
            return regions.astype(jnp.float16)

        # What a few photos become stays in a processor's cache.
        size = devices.photos_at_once() if devices.is_processor() else None
        return map_groups(encode_group, (photos,), size)

    return encode, parallel.compile_per_own_image(encode)


def _locate_features(
    run: Run, split: Split, views: tuple[str, ...], noise: Noise | None = None
) -> tuple[Path, str]:
    """Returns the folder of a split's feature cache, and the cache's key."""
    section = run.config.images
    transform = {
        "views": views,
        "resize": section.resize,
        "size": section.size,
    }
    entry = run.model.encoder.entry
    if entry:
        transform["entry"] = entry  # levels, made of what is above, change nothing of it
    else:
        transform["levels"] = run.config.encoder.levels
    if noise is not None:
        transform["noise"] = vars(noise)
    if run.encoder_info["encoder_dtype"] != "float32":
        transform["dtype"] = run.encoder_info["encoder_dtype"]
    key = features.cache_key(run.encoder_info["fingerprint"], transform, split.photos)
    root = cache_root() / "features"
    if section.cache_dir:
        root = Path(section.cache_dir).expanduser()
    return root / key[:16], key
