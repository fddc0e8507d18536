"""Image-agnostic baselines: captions for the scored photos that use little or nothing of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxcap import parallel
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.experiment.inputs import PLAIN, has_cached_features, open_plain_inputs
from jaxcap.experiment.run import Run
from jaxcap.inputs.batches import Inputs, iterate_split
from jaxcap.inputs.noise import Noise
from jaxcap.io.progress import Progress
from jaxcap.scores import baselines
from jaxcap.text import split_words

CHOICES = ("none", "cheap", "all")  # of --baselines
FEW = 2_000  # training photos whose features are soon computed


class BaselineCaptions(NamedTuple):
    """A baseline: its name in the table, what it is, and its caption of each image."""

    name: str
    about: str
    captions: list[str]


Make = Callable[[], BaselineCaptions]


def list_baselines(
    run: Run,
    split: Split,
    captions: Sequence[str],
    train: Split | None,
    wanted: str,
    noise: Noise | None = None,
) -> Iterator[tuple[str, Make]]:
    """Yields the wanted baselines that the data allow.

    Args:
      run: the run.
      split: the scored images.
      captions: the run's, in the split's order.
      train: the training split, where it is there.
      wanted: one of `CHOICES`.
      noise: on the scored images; None: none.

    Yields:
      Names, and functions that make the captions; these raise UserError where they cannot.
    """
    if wanted == "none":
        return
    if train:
        yield "most common", lambda: repeat_most_common(train, len(split))
    yield "shuffled", lambda: shuffle_captions(captions)
    if train:
        yield (
            "nearest",
            lambda: copy_nearest(run, split, train, any_cost=wanted == "all", noise=noise),
        )


def shuffle_captions(captions: Sequence[str]) -> BaselineCaptions:
    """Gives every image the caption that the run wrote for another.

    Raises:
      UserError: there is one image only.
    """
    if len(captions) < 2:
        raise UserError("one photo alone has no other photo's caption to get")
    order = baselines.derange(len(captions))
    return BaselineCaptions(
        "shuffled",
        "the run's own captions, each given to another photo",
        [captions[i] for i in order],
    )


def repeat_most_common(train: Split, images: int) -> BaselineCaptions:
    """Gives every image the caption that occurs most often in training."""
    captions = [caption for of_image in train.captions for caption in of_image]
    words = baselines.most_common_caption([split_words(caption) for caption in captions])
    caption = " ".join(words)
    return BaselineCaptions(
        "most common",
        f'the most common training caption for every photo: "{caption}"',
        [caption] * images,
    )


def copy_nearest(
    run: Run, split: Split, train: Split, *, any_cost: bool, noise: Noise | None = None
) -> BaselineCaptions:
    """Gives every image the first caption of the training photo whose features are nearest.

    Args:
      run: whose encoder computes the features.
      split: the scored images.
      train: the training split; its features are computed if no cache holds them.
      any_cost: compute them also for more than `FEW` photos.
      noise: on the scored images; None: none.

    Raises:
      UserError: there are too many, a training photo is damaged, or the disk is full.
    """
    views = PLAIN
    if run.config.images.augment == "views" and "plain" in run.config.images.views:
        # The cache of training has the plain view among others, so that it can be read here.
        views = run.config.images.views
    cheap = len(train) <= FEW or has_cached_features(run, train, views)
    if not cheap and not any_cost:
        raise UserError(
            f"it needs the features of {len(train):,} training photos, which are not cached "
            "(--baselines all computes them)"
        )
    features = _mean_features(
        run, open_plain_inputs(run, split, noise=noise), len(split), "features of the scored photos"
    )
    training = _mean_features(
        run,
        open_plain_inputs(run, train, views),
        len(train),
        "features of the training photos",
    )
    rows = baselines.find_nearest(features, training)
    # The first caption, not the best: the references of the scored photo decide nothing.
    about = "the first caption of the training photo whose mean feature is nearest"
    return BaselineCaptions("nearest", about, [train.captions[row][0] for row in rows])


def _mean_features(run: Run, inputs: Inputs, images: int, label: str) -> np.ndarray:
    """Returns the mean over the regions of each photo's features, [N, D]."""

    def encode(params: dict, batch: dict[str, jax.Array]) -> jax.Array:
        return run.model.apply({"params": params}, batch, method="regions").mean(1)

    compiled = parallel.compile_per_image(encode)
    params = {"encoder": run.params["encoder"]}
    means = []
    with Progress(images, label) as progress:
        for batch in iterate_split(inputs, images, run.config.encoder.batch_size):
            means.append(np.asarray(compiled(params, batch)))
            # The last batch is padded, and padding is no progress.
            progress.update(min(len(means[-1]), images - progress.done))
    return np.concatenate(means)[:images]
