"""Restores several trained runs as one captioner, an ensemble, or says why they make none."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import contents, workdir
from jaxcap.experiment.replicas import list_replicas
from jaxcap.experiment.restore import TrainedRun, choose_denoiser, restore_best
from jaxcap.experiment.stages import learns_encoder
from jaxcap.models.ensemble import Ensemble


def restore_ensemble(folders: Sequence[Path], denoiser: Path | str | None = None) -> TrainedRun:
    """Restores the best checkpoints of some runs as one captioner.

    Args:
      folders: workdirs. That of a run of replicas stands for all of them.
      denoiser: what --denoiser asks for, see `choose_denoiser`.

    Returns:
      The run, if there is one; else the ensemble. Its folder is the first of `folders`, its config
      that of the first member.

    Raises:
      UserError: a run cannot be restored or is named twice, or the runs differ in their words or
        in how they see photos.
    """
    paths = []
    for folder in folders:
        paths += list_replicas(folder)
    _check_distinct(paths)
    members: list[TrainedRun] = []
    for path in paths:
        # One after the other, so that two that do not fit are found before all are read.
        member = choose_denoiser(restore_best(path), denoiser)
        if members:
            check_fits(members[0], member)
        members.append(member)
    if len(members) == 1:
        return members[0]
    return _join_members(members, folders[0])


def check_same_data(run: TrainedRun, split: str) -> None:
    """Makes sure that the members of an ensemble know the same images as one split of their data.

    Raises:
      UserError: they do not.
    """
    first, *others = run.singles
    known = _digest_images(first, split)
    for other in others:
        if _digest_images(other, split) != known:
            raise UserError(
                f"{other.folder} has another {split} split than {first.folder}: choose runs of the "
                "same data and splits, or name the photos to score with --data-dir"
            )


def _digest_images(run: TrainedRun, split: str) -> tuple[str, str] | None:
    """Returns what tells a split's images from those of another; None where there are none."""
    splits = workdir.load_contents(run.folder).splits
    if split not in splits:
        return None
    digests = contents.digest_split(splits[split])
    return digests["ids"], digests["photos"]


def _check_distinct(paths: Sequence[Path]) -> None:
    seen = set()
    for path in paths:
        if path.resolve() in seen:
            raise UserError(f"{path} is named twice: name every member of an ensemble once")
        seen.add(path.resolve())


def check_fits(first: TrainedRun, other: TrainedRun) -> None:
    """Makes sure that two runs can write captions together.

    Raises:
      UserError: they cannot; it says why.
    """
    advice = "the members of an ensemble must agree in this, so leave one of them out"
    differing = []
    for line in configs.differences(first.config.text, other.config.text):
        differing.append(f"text.{line}")
    if first.vocabulary.fingerprint != other.vocabulary.fingerprint:
        differing.append("another vocabulary")
    differing += _list_views(first, other)
    if differing:
        raise UserError(
            f"{other.folder} does not fit {first.folder} ({'; '.join(differing)}): {advice}"
        )


def _list_views(first: TrainedRun, other: TrainedRun) -> list[str]:
    """Says in what two runs see photos differently."""
    differing = []

    def compare(name: str, before: Any, after: Any) -> None:
        if before != after:
            differing.append(f"{name}: {before} -> {after}")

    compare("images.size", first.config.images.size, other.config.images.size)
    compare("encoder.levels", first.config.encoder.levels, other.config.encoder.levels)
    compare("grid of regions", first.grid, other.grid)
    compare("first stage that learns", first.model.encoder.entry, other.model.encoder.entry)
    learns = learns_encoder(first.config)
    # What is cached below the first stage that learns serves all members.
    shares_cache = not learns or first.model.encoder.entry > 0
    same_weights = first.encoder_info["fingerprint"] == other.encoder_info["fingerprint"]
    denoisers = []
    for run in (first, other):
        denoisers.append(run.encoder_info.get("denoiser", {}).get("fingerprint"))
    if learns != learns_encoder(other.config):
        differing.append("one encoder is frozen, the other was trained along")
    elif denoisers[0] != denoisers[1]:
        differing.append("another denoiser")
    elif shares_cache and not same_weights:
        differing.append("another frozen encoder")
    return differing


def _join_members(members: Sequence[TrainedRun], folder: Path) -> TrainedRun:
    """Makes one run of members that fit."""
    first = members[0]
    # Frozen encoders that fit are equal. One of them is kept.
    shares_encoder = not learns_encoder(first.config)
    params = {}
    rates = {}
    kept = []
    for index, member in enumerate(members):
        name = f"members_{index}"  # as flax names them
        params[name] = dict(member.params)
        rates[name] = dict(member.rates)
        if shares_encoder and index:
            del params[name]["encoder"]
            del rates[name]["encoder"]
            complete = {**params[name], "encoder": first.params["encoder"]}
            member = dataclasses.replace(member, params=complete)
        kept.append(member)
    return dataclasses.replace(
        first,
        folder=folder,
        model=Ensemble(tuple(member.model for member in members), shares_encoder),
        params=params,
        rates=rates,
        members=tuple(kept),
    )
