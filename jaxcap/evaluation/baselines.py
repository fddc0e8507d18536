"""Captions that are blind to the photo, or nearly so: what they score is worth nothing in a
captioner's score.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcap import parallel
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.experiment import build as experiment
from jaxcap.experiment.restore import Run
from jaxcap.inputs import batches
from jaxcap.io.progress import Progress
from jaxcap.scores import baselines
from jaxcap.text import split_words

FEW = 2_000  # training photos whose features are soon computed


class Blind(NamedTuple):
    """A baseline: its name in the table, what it is, and its caption of each image."""

    name: str
    about: str
    captions: list[str]


def shuffled(captions: Sequence[str]) -> Blind:
    """Gives every image the caption that the run wrote for another.

    Raises:
      UserError: there is one image only.
    """
    if len(captions) < 2:
        raise UserError("one photo alone has no other photo's caption to get")
    order = baselines.shuffled(len(captions))
    return Blind(
        "shuffled",
        "the run's own captions, each given to another photo",
        [captions[i] for i in order],
    )


def most_common(train: Split, images: int) -> Blind:
    """Gives every image the caption that occurs most often in training."""
    words = baselines.most_common(
        [split_words(caption) for captions in train.captions for caption in captions]
    )
    caption = " ".join(words)
    return Blind(
        "most common",
        f'the most common training caption for every photo: "{caption}"',
        [caption] * images,
    )


def nearest(run: Run, split: Split, train: Split, *, whatever_it_costs: bool) -> Blind:
    """Gives every image the first caption of the training photo that looks most like it.

    Args:
      run: whose encoder looks.
      split: the scored images.
      train: the training split; its features are computed if no cache holds them.
      whatever_it_costs: compute them also for more than `FEW` photos.

    Raises:
      UserError: there are too many, a training photo is damaged, or the disk is full.
    """
    views = run.config.images.views if run.config.images.augment == "views" else ("plain",)
    # The cache of training serves, where it has the plain view.
    views = views if "plain" in views else ("plain",)
    cheap = len(train) <= FEW or experiment.has_cached_features(run, train, views)
    if not cheap and not whatever_it_costs:
        raise UserError(
            f"it needs the features of {len(train):,} training photos, which are not cached "
            "(--baselines all computes them)"
        )
    rows = baselines.nearest(
        _mean_features(
            run, experiment.plain_inputs(run, split), len(split), "features of the scored photos"
        ),
        _mean_features(
            run,
            experiment.plain_inputs(run, train, views),
            len(train),
            "features of the training photos",
        ),
    )
    about = "the first caption of the training photo whose mean feature is nearest"
    return Blind("nearest", about, [train.captions[row][0] for row in rows])


def _mean_features(run: Run, inputs: batches.Inputs, images: int, label: str) -> np.ndarray:
    """Returns the mean over the regions of each photo's features, [N, D]."""
    mean = parallel.compile_per_image(
        lambda params, batch: run.model.apply({"params": params}, batch, method="regions").mean(1)
    )
    found = []
    with Progress(images, label) as progress:
        for batch in batches.evaluation_batches(inputs, images, run.config.encoder.batch_size):
            batch.pop("tokens")
            found.append(np.asarray(mean({"encoder": run.params["encoder"]}, batch)))
            progress.update(min(len(found[-1]), images - progress.done))
    return np.concatenate(found)[:images]
