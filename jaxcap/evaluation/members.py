"""The members of an ensemble, with what each of them scores alone."""

import dataclasses
from pathlib import Path

from jaxcap.evaluation import result as results
from jaxcap.evaluation.result import Member, Result
from jaxcap.experiment.restore import TrainedRun
from jaxcap.training import history


def describe_members(run: TrainedRun) -> tuple[Member, ...] | None:
    """Describes the members of an ensemble, without scores; None for a single run."""
    if not run.members:
        return None
    members = []
    for member in run.members:
        members.append(
            Member(
                workdir=str(member.folder),
                folder=str(member.folder.resolve()),
                step=member.step,
                epoch=member.epoch,
                val_loss=read_validation_loss(member),
            )
        )
    return tuple(members)


def read_validation_loss(run: TrainedRun) -> float | None:
    """Reads the validation loss of a run's checkpoint; None where it was not recorded."""
    return history.validation_loss(run.folder / history.METRICS, run.config.train.select)


def add_member_scores(result: Result) -> Result:
    """Adds what the members of an ensemble score alone, and a note on those that are not scored.

    Args:
      result: of an ensemble, or of a single run, which is returned as it is.
    """
    if result.run.members is None:
        return result
    members = []
    missing = []
    for member in result.run.members:
        alone = _find_alone(member, result)
        if alone is None:
            missing.append(member.workdir)
            members.append(member)
        else:
            members.append(dataclasses.replace(member, scores=alone.scores))
    notes = list(result.notes)
    if missing:
        notes.append(
            f"not scored alone with this search on these images: {', '.join(missing)}; evaluate "
            "each of them alone with the same other flags, then this ensemble again"
        )
    run = dataclasses.replace(result.run, members=tuple(members))
    return dataclasses.replace(result, run=run, notes=tuple(notes))


def _find_alone(member: Member, result: Result) -> Result | None:
    """Finds the evaluation of a member's checkpoint by the same search on the same images."""
    for file in sorted(Path(member.folder).glob("evaluation/*/scores.json")):
        try:
            alone = results.from_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no reason to stop: it counts as not scored
            continue
        same_photos = _identify_photos(alone) == _identify_photos(result)
        same_run = alone.run.members is None and alone.run.step == member.step
        if same_photos and same_run and alone.search == result.search:
            return alone
    return None


def _identify_photos(result: Result) -> tuple:
    """Returns what tells photos, references, and what was done to the photos, from others."""
    data = result.data
    denoiser = result.run.denoiser
    fingerprint = denoiser.fingerprint if denoiser else None
    return data.ids, data.photos, data.captions, data.noise, fingerprint
