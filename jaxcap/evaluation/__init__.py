"""Evaluation of a trained run on one split: captions, scores with intervals and blind baselines, health, signature.

`evaluate` gives one plain dict, the `result`, which is what scores.json holds. Its keys (NaN is None; scores stand as
they are computed, BLEU, ROUGE-L and METEOR in 0..1, CIDEr-D in 0..10: papers print all of them times 100):

  jaxcap        the version that scored
  signature     the line of `jaxcap.scores.signature`: equal lines mean scores that can be compared
  run           workdir (str); config (the resolved config as nested dicts); vocabulary_size; vocabulary (its
                fingerprint); encoder (where its weights came from); parameters ({"trained": int, "frozen": int});
                step and epoch of the checkpoint; val_loss (nats per word, then; None when not recorded)
  data          name; dir (the folder of --data-dir, "" for the run's own data); split; images and references (how many
                in all); ids and captions (hashes of the image ids and of their references)
  search        beam, max_length, min_length, length_normalisation, no_repeat_ngram, unk: as `search.Rules`
  level         of all intervals, 0.95
  scores        NAME -> {"value", "low", "high"} for BLEU-1 .. BLEU-4, ROUGE-L, CIDEr-D and, where Java is, METEOR
  baselines     a list of {"name", "about", "scores": NAME -> {"value", "low", "high"}}: what captions that are blind
                to the photo score: "most common", "shuffled", "nearest", as far as they could be had
  health        "captions" and "references": each the dict of `scores.health.summary` (distinct_words, mean_length,
                and parts of the captions in 0..1: unique, repeats_2, repeats_3, repeats_4, stutters,
                ends_in_function_word, empty; captions also novel, where the training captions are there);
                "overused": a list of {"words", "captions", "rate", "reference_rate", "z"}, the worst first
  attention     NAME -> {"value", "low", "high"} for entropy, change and centre_bias; on scenes also pointing,
                pointing_uniform, pointing_centre, mass, mass_uniform, mass_centre
  scenes        None, or on scenes {"right", "total"}: objects named with the right shape and colour, of how many
  notes         sentences to print under the table: what was left out and why, and how numbers are to be read
"""

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxcap
from jaxcap import config as configs
from jaxcap import experiment, samples, search, workdir, writers
from jaxcap.data import pipeline
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.evaluation import blind, scoring, splits
from jaxcap.progress import Progress
from jaxcap.run import Run, searching
from jaxcap.scores import attention, health, with_intervals
from jaxcap.scores.signature import ids_hash, signature
from jaxcap.text import tokenise

CALL = 8  # batches of cached features in one call


class Evaluation(NamedTuple):
    """What came of scoring one split.

    Attributes:
      result: see the head of this file.
      split: what was scored.
      captions: the run's, in the split's order.
      rows: metric -> what each image adds to it, [N, S].
    """

    result: dict[str, Any]
    split: Split
    captions: list[samples.Caption]
    rows: dict[str, np.ndarray]


def evaluate(run: Run, split: str, *, dir: str = "", rules: search.Rules, beam: int, batch_size: int) -> Evaluation:
    """Captions and scores one split.

    Args:
      run: from `run.restore_best`.
      split: val or test.
      dir: a folder of any known layout; empty for the data set of the run.
      rules: of the captions.
      beam: K; 1 is greedy search.
      batch_size: photos that are captioned at a time.

    Raises:
      UserError: the split or its photos are not there, or a photo is damaged.
    """
    name, chosen = splits.scored(run.config, split, dir)
    inputs = experiment.plain_inputs(run, chosen)
    captions = write_captions(run, inputs, len(chosen), rules, beam, batch_size)
    texts = [" ".join(caption.words) for caption in captions]
    train, notes = _training(run, chosen)
    blinds = [*([blind.most_common(train, len(chosen))] if train else []), blind.shuffled(texts)]
    if train:
        blinds.append(blind.nearest(run, inputs, len(chosen), train))
    scored, remarks = scoring.score({"run": texts} | {b.name: b.captions for b in blinds}, chosen.captions)
    result = {
        "jaxcap": jaxcap.__version__,
        "signature": _signature(run, name, chosen, rules, beam),
        "run": _about_run(run),
        "data": _about_data(name, dir, chosen),
        "search": {"beam": beam} | vars(rules),
        "level": scoring.LEVEL,
        "scores": scored["run"].scores,
        "baselines": [{"name": b.name, "about": b.about, "scores": scored[b.name].scores} for b in blinds],
        "health": _health(run, chosen, captions, train),
        **_attention(chosen, captions),
        "notes": [*[note for note in chosen.notes if note.startswith("splits:")], *notes, *remarks],
    }
    return Evaluation(writers.plain(result), chosen, captions, scored["run"].rows)


def write_captions(
    run: Run, inputs: pipeline.Inputs, images: int, rules: search.Rules, beam: int, batch_size: int
) -> list[samples.Caption]:
    """Captions all photos of some inputs on all devices, `batch_size` at a time, with a progress bar."""
    # Cached features come in larger calls, in which the next image takes the place of one whose caption has ended.
    cached = not run.config.encoder.trainable
    caption = searching(run, rules, beam, lanes=batch_size if cached else None)
    call = min(CALL * batch_size, images) if cached else batch_size
    written = []
    with Progress(images, "captions") as progress:
        for one in samples.captions_one_by_one(caption, run.params, inputs, images, call, run.vocabulary):
            written.append(one)
            progress.update()
    return written


def _training(run: Run, scored: Split) -> tuple[Split | None, list[str]]:
    """Loads the training split if it is there, and notes what its absence or an overlap means."""
    try:
        train = splits.training(run.config)
    except UserError as absent:
        return None, [f"without the training data, the baselines made of it and novelty are left out: {absent}"]
    known = set(train.ids) & set(scored.ids)
    return train, [f"{len(known):,} of the scored images are among the training images"] if known else []


def _signature(run: Run, name: str, split: Split, rules: search.Rules, beam: int) -> str:
    length = [f"alpha{rules.length_normalisation:g}", f"min{rules.min_length}", f"max{rules.max_length}"]
    extra = [f"ngram{rules.no_repeat_ngram}"] * bool(rules.no_repeat_ngram) + ["unk"] * rules.unk
    return signature(
        data=name,
        split=split.name,
        ids=split.ids,
        references=[len(captions) for captions in split.captions],
        beam="greedy" if beam == 1 else str(beam),
        length_rule=",".join(length + extra),
        vocabulary=f"{len(run.vocabulary)}-{run.vocabulary.fingerprint}",
    )


def _about_run(run: Run) -> dict[str, Any]:
    sizes = [(still, leaf.size) for still, leaf in zip(*map(jax.tree.leaves, (run.frozen, run.params)), strict=True)]
    return {
        "workdir": str(run.folder),
        "config": json.loads(configs.to_json(run.config)),
        "vocabulary_size": len(run.vocabulary),
        "vocabulary": run.vocabulary.fingerprint,
        "encoder": run.facts["source"],
        "parameters": {
            "trained": sum(size for still, size in sizes if not still),
            "frozen": sum(size for still, size in sizes if still),
        },
        "step": run.step,
        "epoch": run.epoch,
        "val_loss": workdir.validation_loss(run.folder, run.config.train.select),
    }


def _about_data(name: str, dir: str, split: Split) -> dict[str, Any]:
    captions = ["\t".join((id, *captions)) for id, captions in zip(split.ids, split.captions, strict=True)]
    return {
        "name": name,
        "dir": dir,
        "split": split.name,
        "images": len(split),
        "references": sum(map(len, split.captions)),
        "ids": ids_hash(split.ids),
        "captions": ids_hash(captions),
    }


def _health(run: Run, split: Split, captions: Sequence[samples.Caption], train: Split | None) -> dict[str, Any]:
    """Measures how varied the captions are, beside the references."""

    def words_of(split: Split) -> list[list[str]]:
        keep = run.config.text.keep_punctuation
        return [tokenise(caption, keep_punctuation=keep) for captions in split.captions for caption in captions]

    longest = run.config.text.max_length - 2
    known = {tuple(words[:longest]) for words in words_of(train)} if train else None
    ours, theirs = [caption.words for caption in captions], words_of(split)
    return {
        "captions": health.summary(ours, known),
        "references": health.summary(theirs),
        "overused": [phrase._asdict() for phrase in health.overused(ours, theirs)],
    }


def _attention(split: Split, captions: Sequence[samples.Caption]) -> dict[str, Any]:
    """Measures the attention, and on scenes also whether it and the words find the objects."""
    maps, words = [caption.attention for caption in captions], [caption.words for caption in captions]
    grid = (math.isqrt(maps[0].shape[-1]),) * 2
    measure = attention.from_statistics
    table = with_intervals(attention.NAMES, attention.statistics(maps, grid), measure, level=scoring.LEVEL)
    if not split.objects(0):
        return {"attention": table, "scenes": None}
    objects = [split.objects(row) for row in range(len(split))]
    rows = attention.grounding_statistics(maps, words, objects, grid)
    table |= with_intervals(attention.GROUNDING_NAMES, rows, measure, level=scoring.LEVEL)
    check = samples.check_scenes(split, captions)
    return {"attention": table, "scenes": {"right": check.right, "total": check.total}}
