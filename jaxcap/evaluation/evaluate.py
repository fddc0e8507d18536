"""Evaluation of a trained run on one split: captions, their scores, and what was run."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

import jaxcap
from jaxcap.data.split import Split
from jaxcap.decoding import captions as captioning
from jaxcap.decoding.captions import Caption
from jaxcap.decoding.rules import Rules
from jaxcap.decoding.strategy import GREEDY, Sampling, Strategy
from jaxcap.evaluation import scoring, splits
from jaxcap.evaluation.measures import measure_attention, measure_grounding, measure_health
from jaxcap.evaluation.members import (
    add_member_scores,
    describe_members,
    read_validation_loss,
)
from jaxcap.evaluation.overlap import find_training_overlap
from jaxcap.evaluation.result import DataInfo, DenoiserInfo, Parameters, Result, RunInfo, Search
from jaxcap.experiment import config as configs
from jaxcap.experiment import contents, workdir
from jaxcap.experiment.ensembles import check_same_data
from jaxcap.experiment.inputs import open_plain_inputs
from jaxcap.experiment.restore import TrainedRun, compile_search
from jaxcap.experiment.sharing import Shared
from jaxcap.experiment.stages import caches_photos
from jaxcap.inputs.batches import Inputs
from jaxcap.inputs.noise import Noise
from jaxcap.io import uses
from jaxcap.io.progress import Progress
from jaxcap.scores.signature import write_signature
from jaxcap.training import partition

_BATCHES_A_CALL = 8  # of what is cached


class Evaluation(NamedTuple):
    """What came of scoring one split.

    Attributes:
      result: what scores.json holds.
      split: what was scored.
      captions: the run's, in the split's order.
      rows: metric -> what each image adds to it, [N, S].
      grid: rows and columns of the regions that the captions' attention lies on.
    """

    result: Result
    split: Split
    captions: list[Caption]
    rows: dict[str, np.ndarray]
    grid: tuple[int, int]

    @property
    def noise(self) -> Noise | None:
        """What was put on the photos; None: none."""
        levels = self.result.data.noise
        return Noise(**levels) if levels else None


def evaluate(
    run: TrainedRun,
    split_name: str,
    *,
    data_dir: str = "",
    noise: Noise | None = None,
    rules: Rules,
    strategy: Strategy,
    batch_size: int,
    shared: Shared | None = None,
) -> Evaluation:
    """Captions and scores one split; the training split is not needed.

    Args:
      run: from `restore.restore_best`, or an ensemble.
      split_name: val or test.
      data_dir: a folder of any known layout; empty for the data set of the run.
      noise: put on the photos; None: none.
      rules: of the captions.
      strategy: how they are written.
      batch_size: photos that are captioned at a time.
      shared: with other evaluations of this process; None: with none.

    Raises:
      UserError: the split or its photos are not there, a photo is damaged, or the members of an
        ensemble have other splits.
    """
    if not data_dir:
        check_same_data(run, split_name)
    run_info = _describe_run(run)
    shared = shared or Shared()
    data, split = shared.get(
        "scored split",
        [run.config.data.to_dict(), split_name, data_dir],
        lambda: splits.load_scored(run.config, split_name, data_dir),
    )
    if split.folder:
        uses.record_use(split.folder, run.folder)
    images = contents.split_contents(split)
    trained_on, overlap_notes = find_training_overlap(
        run, data, images, split=split_name, own_data=not data_dir
    )
    # The members of an ensemble see photos alike.
    inputs = open_plain_inputs(run.singles[0], split, noise=noise)
    captions = write_captions(run, inputs, len(split), rules, strategy, batch_size)
    scored, score_notes = scoring.score({"run": join_words(captions)}, split.captions)
    grounding, scenes = measure_grounding(split, captions, run.grid)
    result = Result(
        jaxcap=jaxcap.__version__,
        signature=_sign(run_info, data, split, images, noise, rules, strategy),
        run=run_info,
        data=DataInfo(
            name=data,
            dir=data_dir,
            split=split.name,
            images=len(split),
            references=sum(map(len, split.captions)),
            **contents.digest_split(images),
            trained_on=trained_on,
            noise=vars(noise) if noise else None,
        ),
        search=_describe_search(rules, strategy),
        level=scoring.LEVEL,
        scores=scored["run"].scores,
        baselines=(),
        health=measure_health(run.config, split, captions),
        attention=measure_attention(captions, run.grid) | grounding,
        scenes=scenes,
        notes=(
            *overlap_notes,
            # Of the notes on the raw files, how they were split concerns a reader of scores.
            *(note for note in split.notes if note.startswith("splits:")),
            *score_notes,
        ),
    )
    return Evaluation(add_member_scores(result), split, captions, scored["run"].rows, run.grid)


def write_captions(
    run: TrainedRun,
    inputs: Inputs,
    images: int,
    rules: Rules,
    strategy: Strategy,
    batch_size: int,
) -> list[Caption]:
    """Captions all photos of some inputs on all devices, with a progress bar.

    Args:
      run: the run.
      inputs: of the photos.
      images: how many photos.
      rules: of the captions.
      strategy: how they are written.
      batch_size: photos that are captioned at a time.

    Returns:
      One caption a photo, in order.
    """
    # What is cached comes in larger calls, in which the next image takes the place of one whose
    # caption has ended.
    cached = caches_photos(run.config, run.model.encoder)
    search = compile_search(run, rules, strategy, slots=batch_size if cached else None)
    call = min(_BATCHES_A_CALL * batch_size, images) if cached else batch_size
    captions = []
    with Progress(images, "captions") as progress:
        for caption in captioning.write_captions(
            search, run.params, inputs, images, call, run.vocabulary
        ):
            captions.append(caption)
            progress.update()
    return captions


def join_words(captions: Sequence[Caption]) -> list[str]:
    """Returns captions as texts."""
    return [" ".join(caption.words) for caption in captions]


def _describe_search(rules: Rules, strategy: Strategy) -> Search:
    if isinstance(strategy, Sampling):
        return Search(beam=None, sampling=strategy, **vars(rules))
    return Search(beam=strategy.beam, **vars(rules))


def _describe_run(run: TrainedRun) -> RunInfo:
    trained = 0
    frozen = 0
    pairs = zip(jax.tree.leaves(run.rates), jax.tree.leaves(run.params), strict=True)
    for rate, leaf in pairs:
        if rate > 0:
            trained += leaf.size
        else:
            frozen += leaf.size
    for single in run.singles:
        still = _count_still_words(single)
        trained -= still
        frozen += still
    return RunInfo(
        workdir=str(run.folder),
        folder=str(run.folder.resolve()),
        config=json.loads(configs.to_json(run.config)),
        vocabulary_size=len(run.vocabulary),
        vocabulary=run.vocabulary.fingerprint,
        encoder=run.encoder_info["source"],
        denoiser=_describe_denoiser(run),
        parameters=Parameters(trained=trained, frozen=frozen),
        step=None if run.members else run.step,
        epoch=None if run.members else run.epoch,
        val_loss=None if run.members else read_validation_loss(run),
        members=describe_members(run),
    )


def _count_still_words(run: TrainedRun) -> int:
    """Counts the numbers of word vectors that stayed as they were while others learned."""
    coverage = workdir.load_coverage(run.folder)
    if coverage is None:
        return 0
    section = run.config.embedding
    rows = partition.count_frozen_rows(section, len(run.vocabulary), coverage.found)
    return rows * section.dim


def _describe_denoiser(run: TrainedRun) -> DenoiserInfo | None:
    used = run.encoder_info.get("denoiser")
    if used is None:
        return None
    own = workdir.load_encoder(run.singles[0].folder).get("denoiser", {})
    return DenoiserInfo(
        source=used["source"],
        fingerprint=used["fingerprint"],
        own=used["fingerprint"] == own.get("fingerprint"),
    )


def _sign(
    run: RunInfo,
    data: str,
    split: Split,
    images: contents.SplitContents,
    noise: Noise | None,
    rules: Rules,
    strategy: Strategy,
) -> str:
    """Returns the signature line of the scores."""
    # What does not change captions by default is left out, so that older lines stay equal.
    length = [
        f"alpha{rules.length_normalization:g}",
        f"min{rules.min_length}",
        f"max{rules.max_length}",
    ]
    if rules.no_repeat_ngram:
        length.append(f"ngram{rules.no_repeat_ngram}")
    if rules.unk:
        length.append("unk")
    return write_signature(
        data=data,
        split=split.name,
        images=contents.digest_split(images),
        references=[len(captions) for captions in split.captions],
        beam=_sign_strategy(strategy),
        length_rule=",".join(length),
        vocabulary=f"{run.vocabulary_size}-{run.vocabulary}",
        noise=str(noise or ""),
        denoiser=run.other_denoiser,
        version=jaxcap.__version__,
    )


def _sign_strategy(strategy: Strategy) -> str:
    """Returns how captions were written, for the signature line."""
    if isinstance(strategy, Sampling):
        options = [f"{name}{value:.15g}" for name, value in strategy.list_options().items()]
        return ",".join(["sampled", *options])
    return "greedy" if strategy == GREEDY else str(strategy.beam)
