"""Evaluation of a trained run on one split: captions, scores with intervals and blind baselines,
health, signature.

`evaluate` gives one plain dict, the `result`, which is what scores.json holds; `beside_training`
adds to it what needs the training split: novelty and baselines. Its keys (NaN is None; scores stand
as they are computed, BLEU, ROUGE-L and METEOR in 0..1, CIDEr-D in 0..10: papers print all of them
times 100):

  jaxcap        the version that scored
  signature     the line of `jaxcap.scores.signature`: equal lines mean scores that can be compared
  run           workdir (str, as it was typed); folder (str, absolute); config (the resolved config
  as
                nested dicts); vocabulary_size; vocabulary (its fingerprint); encoder (where its
                weights came from); parameters ({"trained": int, "frozen": int}); step and epoch of
                the checkpoint; val_loss (nats per word, then; None when not recorded)
  data          name; dir (the folder of --data-dir, "" for the run's own data); split; images and
  references (how many
                in all); ids, photos and captions (digests of the image ids, the photos and the
                references); trained_on (how many of the images the run was trained on; None when it
                does not know)
  search        beam, max_length, min_length, length_normalization, no_repeat_ngram, unk: as
  `decoding.Rules` level         of all intervals, 0.95
  scores        NAME -> {"value", "low", "high"} for BLEU-1 .. BLEU-4, ROUGE-L, CIDEr-D and, where
  Java is, METEOR baselines     a list of {"name", "about", "scores": NAME -> {"value", "low",
  "high"}}: what captions that are blind
                to the photo score: "most common", "shuffled", "nearest", as far as they were asked
                for and could be had
  health        "captions" and "references": each the dict of `scores.health.summary`
  (distinct_words, mean_length,
                and parts of the captions in 0..1: unique, repeats_2, repeats_3, repeats_4,
                stutters, ends_in_function_word, empty; captions also novel, where the training
                captions are there); "overused": a list of {"words", "captions", "rate",
                "reference_rate", "z"}, the worst first
  attention     NAME -> {"value", "low", "high"} for entropy, change and centre_bias; on scenes also
  pointing,
                pointing_uniform, pointing_centre, mass, mass_uniform, mass_centre
  scenes        None, or on scenes {"right", "total"}: objects named with the right shape and
  colour, of how many notes         sentences to print under the table: what was left out and why,
  and how numbers are to be read
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxcap
from jaxcap import decoding
from jaxcap.data.split import Split
from jaxcap.decoding.captions import Caption, captions_one_by_one, check_scenes
from jaxcap.errors import UserError
from jaxcap.evaluation import baselines, scoring, splits
from jaxcap.experiment import build as experiment
from jaxcap.experiment import config as configs
from jaxcap.experiment import contents, workdir
from jaxcap.experiment.restore import Run, searching
from jaxcap.inputs import batches
from jaxcap.io import plain, uses
from jaxcap.io.plain import list_some
from jaxcap.io.progress import Progress
from jaxcap.scores import attention, health, with_intervals
from jaxcap.scores.signature import signature
from jaxcap.text import split_words
from jaxcap.training import history

BASELINES = ("none", "cheap", "all")
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
    captions: list[Caption]
    rows: dict[str, np.ndarray]


def evaluate(
    run: Run, split: str, *, dir: str = "", rules: decoding.Rules, beam: int, batch_size: int
) -> Evaluation:
    """Captions and scores one split; the training split is not needed.

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
    about = _about_run(run)
    name, chosen = splits.load_scored(run.config, split, dir)
    uses.record_use(chosen.folder, run.folder)
    scored_images = contents.split_contents(chosen)
    overlap, remembered = _compare_with_training(
        run, name, scored_images, split=split, changed=not dir
    )
    inputs = experiment.plain_inputs(run, chosen)
    captions = write_captions(run, inputs, len(chosen), rules, beam, batch_size)
    scored, remarks = scoring.score({"run": _texts(captions)}, chosen.captions)
    result = {
        "jaxcap": jaxcap.__version__,
        "signature": _signature(run, name, chosen, scored_images, rules, beam),
        "run": about,
        "data": _about_data(name, dir, chosen, scored_images) | {"trained_on": overlap},
        "search": {"beam": beam} | vars(rules),
        "level": scoring.LEVEL,
        "scores": scored["run"].scores,
        "baselines": [],
        "health": _health(run, chosen, captions),
        **_attention(chosen, captions),
        "notes": [
            *remembered,
            *[note for note in chosen.notes if note.startswith("splits:")],
            *remarks,
        ],
    }
    return Evaluation(plain.values(result), chosen, captions, scored["run"].rows)


def beside_training(run: Run, found: Evaluation, baselines: str = "cheap") -> Evaluation:
    """Sets the captions beside the training split: novelty, and what blind captions score.

    Args:
      run: that wrote the captions.
      found: from `evaluate`.
      baselines: none; cheap: without the nearest photo's caption where features of more than
        `baselines.FEW` training photos would have to be computed for it; or all.

    Returns:
      The evaluation with more in its result. What could not be had is among the notes.
    """
    try:
        train, notes = _training(run)
    except OSError as error:
        train, notes = None, [f"what needs the training data is left out: {error}"]
    blinds: list[baselines.Blind] = []
    for name, make in _baselines(run, found, train, baselines):
        try:
            blinds.append(make())
        except (UserError, OSError) as error:
            notes.append(f"the baseline {name!r} is left out: {error}")
    systems = {b.name: b.captions for b in blinds}
    scored, remarks = scoring.score(systems, found.split.captions) if systems else ({}, [])
    before = found.result["notes"]
    result = found.result | {
        "baselines": [
            {"name": b.name, "about": b.about, "scores": scored[b.name].scores} for b in blinds
        ],
        "health": found.result["health"]
        | {"captions": _captions_health(run, found.captions, train)},
        "notes": before + [note for note in notes + remarks if note not in before],
    }
    return found._replace(result=plain.values(result))


def _baselines(
    run: Run, found: Evaluation, train: Split | None, wanted: str
) -> Iterator[tuple[str, Callable[[], baselines.Blind]]]:
    """Yields the wanted baselines that the data allow: their names, and functions that make
    them.
    """
    if wanted == "none":
        return
    split = found.split
    if train:
        yield "most common", lambda: baselines.most_common(train, len(split))
    yield "shuffled", lambda: baselines.shuffled(_texts(found.captions))
    if train:
        yield (
            "nearest",
            lambda: baselines.nearest(run, split, train, whatever_it_costs=wanted == "all"),
        )


def write_captions(
    run: Run, inputs: batches.Inputs, images: int, rules: decoding.Rules, beam: int, batch_size: int
) -> list[Caption]:
    """Captions all photos of some inputs on all devices, `batch_size` at a time, with a progress
    bar.
    """
    # Cached features come in larger calls, in which the next image takes the place of one whose
    # caption has ended.
    cached = not run.config.encoder.trainable
    caption = searching(run, rules, beam, slots=batch_size if cached else None)
    call = min(CALL * batch_size, images) if cached else batch_size
    written = []
    with Progress(images, "captions") as progress:
        for one in captions_one_by_one(caption, run.params, inputs, images, call, run.vocabulary):
            written.append(one)
            progress.update()
    return written


def _texts(captions: Sequence[Caption]) -> list[str]:
    return [" ".join(caption.words) for caption in captions]


def _training(run: Run) -> tuple[Split | None, list[str]]:
    """Loads the training split if it is there, and notes what its absence means."""
    try:
        return splits.load_training(run.config), []
    except UserError as absent:
        return None, [
            "without the training data, the baselines made of it and novelty are left out: "
            f"{absent}"
        ]


def _compare_with_training(
    run: Run, data: str, scored: contents.SplitContents, *, split: str, changed: bool
) -> tuple[int | None, list[str]]:
    """Finds what the run remembers of the scored images.

    Args:
      run: the run.
      data: the name of the data set that is scored.
      scored: the images that are scored.
      split: what they are called.
      changed: note also how they differ from the run's own split of that name.

    Returns:
      How many of them the run was trained on (None when it does not know), and notes.
    """
    try:
        known = workdir.load_contents(run.folder)
    except UserError:
        return None, [
            "the run does not know which photos it was trained on (an older jaxcap made it): some "
            "may be scored"
        ]
    notes = []
    overlap = contents.find_overlap(known, data, scored)
    if overlap:
        part = "all" if len(overlap) == len(scored.ids) else f"{len(overlap):,}"
        notes.append(
            f"{part} of the {len(scored.ids):,} scored photos are among the training photos "
            f"({list_some(overlap)}): "
            "no score of unseen photos"
        )
    if changed and split in known.splits:
        differing = contents.list_split_differences(split, known.splits[split], scored)
        if differing:
            notes.append(f"the data have changed since the run was trained: {'; '.join(differing)}")
    return len(overlap), notes


def _signature(
    run: Run,
    name: str,
    split: Split,
    images: contents.SplitContents,
    rules: decoding.Rules,
    beam: int,
) -> str:
    length = [
        f"alpha{rules.length_normalization:g}",
        f"min{rules.min_length}",
        f"max{rules.max_length}",
    ]
    extra = [f"ngram{rules.no_repeat_ngram}"] * bool(rules.no_repeat_ngram) + ["unk"] * rules.unk
    return signature(
        data=name,
        split=split.name,
        images=contents.digest_split(images),
        references=[len(captions) for captions in split.captions],
        beam="greedy" if beam == 1 else str(beam),
        length_rule=",".join(length + extra),
        vocabulary=f"{len(run.vocabulary)}-{run.vocabulary.fingerprint}",
    )


def _about_run(run: Run) -> dict[str, Any]:
    sizes = [
        (still, leaf.size)
        for still, leaf in zip(*map(jax.tree.leaves, (run.frozen, run.params)), strict=True)
    ]
    return {
        "workdir": str(run.folder),
        "folder": str(run.folder.resolve()),
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
        "val_loss": history.validation_loss(run.folder / history.METRICS, run.config.train.select),
    }


def _about_data(
    name: str, dir: str, split: Split, images: contents.SplitContents
) -> dict[str, Any]:
    return {
        "name": name,
        "dir": dir,
        "split": split.name,
        "images": len(split),
        "references": sum(map(len, split.captions)),
        **contents.digest_split(images),
    }


def _health(run: Run, split: Split, captions: Sequence[Caption]) -> dict[str, Any]:
    """Measures how varied the captions are, beside the references."""
    ours, theirs = [caption.words for caption in captions], _words_of(run, split)
    return {
        "captions": _captions_health(run, captions, None),
        "references": health.summary(theirs),
        "overused": [phrase._asdict() for phrase in health.overused(ours, theirs)],
    }


def _captions_health(
    run: Run, captions: Sequence[Caption], train: Split | None
) -> dict[str, float]:
    """Measures how varied the captions are, and with the training split how many are novel."""
    longest = run.config.text.max_length - 2
    known = {tuple(words[:longest]) for words in _words_of(run, train)} if train else None
    return health.summary([caption.words for caption in captions], known)


def _words_of(run: Run, split: Split) -> list[list[str]]:
    keep = run.config.text.keep_punctuation
    return [
        split_words(caption, keep_punctuation=keep)
        for captions in split.captions
        for caption in captions
    ]


def _attention(split: Split, captions: Sequence[Caption]) -> dict[str, Any]:
    """Measures the attention, and on scenes also whether it and the words find the objects."""
    maps, words = (
        [caption.attention for caption in captions],
        [caption.words for caption in captions],
    )
    grid = (math.isqrt(maps[0].shape[-1]),) * 2
    measure = attention.from_statistics
    table = with_intervals(
        attention.NAMES, attention.statistics(maps, grid), measure, level=scoring.LEVEL
    )
    if not split.objects(0):
        return {"attention": table, "scenes": None}
    objects = [split.objects(row) for row in range(len(split))]
    rows = attention.grounding_statistics(maps, words, objects, grid)
    table |= with_intervals(attention.GROUNDING_NAMES, rows, measure, level=scoring.LEVEL)
    check = check_scenes(split, captions)
    return {"attention": table, "scenes": {"right": check.right, "total": check.total}}
