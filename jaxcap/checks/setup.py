"""Checks of a run's set-up, from what is there before the first step."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from jaxcap.checks.finding import Finding
from jaxcap.checks.photos import check_photos
from jaxcap.experiment.build import Experiment
from jaxcap.inputs.batches import Captions
from jaxcap.inputs.plan import count_steps
from jaxcap.io.plain import list_some
from jaxcap.text import END, PAD, SPECIALS, Vocabulary

_CUT = 0.1  # of the captions
_FREQUENT = 0.005  # of all words: "a" is some 14 % of those of captions


def check_setup(experiment: Experiment) -> list[Finding]:
    """Runs every check of the set-up.

    Args:
      experiment: as `build_experiment` returns it.
    """
    config = experiment.config
    captions = experiment.captions["train"]
    photos = len(experiment.splits["train"])
    steps = count_epoch_steps(config.train, captions)
    found = None if experiment.vectors is None else experiment.vectors.found
    findings = [
        *check_photos(experiment.splits),
        check_start(captions),
        check_end(captions),
        check_schedule(config.train, steps),
        check_loss(config.loss, captions),
        check_vectors(experiment.vocabulary, captions, found, config.embedding),
        check_encoder(config, experiment.rates),
        check_length(captions, config.text.max_length),
        check_size(photos, len(experiment.vocabulary)),
    ]
    return [finding for finding in findings if finding is not None]


def count_epoch_steps(train: Mapping[str, Any], captions: Captions) -> int:
    """Returns the training steps of an epoch, by the config's section `train`."""
    entries = len(captions.counts)
    if train["captions"] == "pairs":
        entries = int(captions.counts.sum())
    return count_steps(entries, train["batch_size"])


def check_start(captions: Captions) -> Finding | None:
    """Checks that captions do not begin with padding (`pad-is-start`)."""
    if not (_list_captions(captions)[:, 0] == PAD).any():
        return None
    return Finding(
        "pad-is-start",
        "captions begin with the padding mark",
        "the mark that stands behind every caption is also what the decoder reads first",
        "set text.end_mark=True, which gives captions <start> and <end>",
    )


def check_end(captions: Captions) -> Finding | None:
    """Checks that captions have an end to learn (`no-end-mark`)."""
    if (_list_captions(captions) == END).any():
        return None
    return Finding(
        "no-end-mark",
        "no training caption has an end mark",
        "the decoder cannot learn to end a caption, and writes on to the last position",
        "set text.end_mark=True",
    )


def check_schedule(train: Mapping[str, Any], steps_per_epoch: int) -> Finding | None:
    """Checks that the learning rate's schedule begins before training ends.

    Its name is `schedule-never-fires`.

    Args:
      train: the config's section `train`.
      steps_per_epoch: of training.
    """
    epochs = train["epochs"]
    steps = epochs * steps_per_epoch
    found = ""
    if train["warmup_steps"] >= steps:
        found = f"train.warmup_steps={train['warmup_steps']:,} of {steps:,} steps in all"
        advice = "set train.warmup_steps to a small part of the steps"
    elif train["schedule"] == "step":
        # The steps of a schedule are counted from the end of the warm-up on.
        first = train["warmup_steps"] + train["decay_epochs"] * steps_per_epoch
        if first >= steps:
            found = f"train.decay_epochs={train['decay_epochs']} of {epochs} epochs"
            advice = "set train.decay_epochs lower, or say train.schedule=constant"
    if not found:
        return None
    meaning = "training is over before the schedule changes the learning rate as it says"
    return Finding("schedule-never-fires", found, meaning, advice)


def check_loss(loss: Mapping[str, Any], captions: Captions) -> Finding | None:
    """Checks that the loss is a mean over words (`loss-over-padding`)."""
    if loss["average"] != "positions":
        return None
    padding = (_list_captions(captions)[:, 1:] == PAD).mean()
    return Finding(
        "loss-over-padding",
        f"loss.average=positions, and {padding:.0%} of the positions are padding",
        "losses are that much too low to be compared, and fall with a longer text.max_length",
        "set loss.average=words",
    )


def check_vectors(
    vocabulary: Vocabulary,
    captions: Captions,
    found: np.ndarray | None,
    embedding: Mapping[str, Any],
) -> Finding | None:
    """Checks that frequent words do not keep random vectors (`frozen-random-words`).

    Args:
      vocabulary: the V words.
      captions: of the training split.
      found: bool [V], which words have a vector of their own; None where all are random.
      embedding: the config's section `embedding`.
    """
    missing_rate = embedding["missing_rate"]
    if missing_rate > 0 or (missing_rate < 0 and embedding["rate"] > 0):
        return None
    if found is None:
        found = np.zeros(len(vocabulary), bool)
    counts = np.bincount(captions.tokens.ravel(), minlength=len(vocabulary))
    counts[: len(SPECIALS)] = 0
    shares = counts / max(counts.sum(), 1)
    lacking = np.flatnonzero(~found & (shares >= _FREQUENT))
    if not len(lacking):
        return None
    lacking = lacking[np.argsort(-shares[lacking], kind="stable")]
    words = list_some([vocabulary.words[row] for row in lacking])
    return Finding(
        "frozen-random-words",
        f"{len(lacking):,} frequent words, {shares[lacking].sum():.1%} of all that is read "
        f"({words}), have random vectors, which are frozen",
        "the decoder reads noise where these words stand, and can never learn better",
        "train these vectors (embedding.missing_rate=1, or embedding.rate), or take a file that "
        "has these words",
    )


def check_encoder(config: ConfigDict, rates: Any) -> Finding | None:
    """Checks that imported weights are not trained at the decoder's rate (`encoder-moves`).

    Statistics of batches cannot move: they are folded into the kernels when weights are loaded.

    Args:
      config: of the run.
      rates: the multiplier of each parameter's learning rate.
    """
    if config.encoder.weights == "random":
        return None
    backbone = flatten_dict(rates["encoder"]["backbone"], sep="/")
    names = sorted({name.partition("/")[0] for name, rate in backbone.items() if rate >= 1})
    if not names:
        return None
    moved = sum(rate >= 1 for rate in jax.tree.leaves(backbone))
    return Finding(
        "encoder-moves",
        f"{moved} of {len(backbone)} parameters of imported weights learn at the full learning "
        f"rate ({list_some(names)})",
        "the first steps of a decoder that knows nothing destroy what they know",
        'freeze them with encoder.rates="*:0", or give them a tenth: "layer4_*:0.1,*:0"',
    )


def check_length(captions: Captions, max_length: int) -> Finding | None:
    """Checks that nearly all captions fit (`captions-cut`)."""
    share = captions.truncated / max(int(captions.counts.sum()), 1)
    if share <= _CUT:
        return None
    return Finding(
        "captions-cut",
        f"{share:.1%} of the training captions do not fit text.max_length={max_length}",
        "the decoder learns sentences that break off",
        "raise text.max_length",
    )


def check_size(photos: int, words: int) -> Finding | None:
    """Checks that there are more training photos than words (`fewer-photos-than-words`)."""
    if photos >= words:
        return None
    return Finding(
        "fewer-photos-than-words",
        f"{photos:,} training photos for a vocabulary of {words:,} words",
        "most words are seen too rarely to be learnt",
        "raise text.min_count, or add photos",
    )


def _list_captions(captions: Captions) -> np.ndarray:
    """Returns the captions of all photos as rows, without those that are missing. [M, T]"""
    most = captions.tokens.shape[1]
    real = np.arange(most) < captions.counts[:, None]
    return captions.tokens[real]
