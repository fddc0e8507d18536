"""What an evaluation adds where the training data are there: novelty and baselines made of them."""

import dataclasses

from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.evaluation import baselines, scoring, splits
from jaxcap.evaluation.evaluate import Evaluation, join_words
from jaxcap.evaluation.measures import summarize_captions
from jaxcap.evaluation.result import Baseline
from jaxcap.experiment.restore import TrainedRun


def compare_with_training(
    run: TrainedRun, evaluation: Evaluation, wanted: str = "cheap"
) -> Evaluation:
    """Adds how many captions are novel, and what the captions of baselines score.

    Args:
      run: that wrote the captions; of an ensemble, the first member's encoder says which photos
        are near.
      evaluation: from `evaluate`.
      wanted: none; cheap: without the nearest photo's caption where features of more than
        `baselines.FEW` training photos would have to be computed for it; or all.

    Returns:
      The evaluation with more in its result. What could not be had is among the notes.
    """
    train, notes = _load_training(run)
    captions = join_words(evaluation.captions)
    made = []
    for name, make in baselines.list_baselines(
        run.singles[0], evaluation.split, captions, train, wanted, evaluation.noise
    ):
        try:
            made.append(make())
        # The scores stand without it, so that it is no reason to stop.
        except (UserError, OSError) as error:
            notes.append(f"the baseline {name!r} is left out: {error}")
    scored, remarks = _score(made, evaluation.split)
    before = evaluation.result
    # Measured anew, beside the training captions: they tell how many are novel.
    summary = summarize_captions(run.config, evaluation.captions, train)
    result = dataclasses.replace(
        before,
        baselines=scored,
        health=dataclasses.replace(before.health, captions=summary),
        notes=before.notes + tuple(n for n in notes + remarks if n not in before.notes),
    )
    return evaluation._replace(result=result)


def _load_training(run: TrainedRun) -> tuple[Split | None, list[str]]:
    """Loads the training split if it is there, and notes what its absence means."""
    try:
        return splits.load_training(run.config), []
    except UserError as absent:
        note = "without the training data, the baselines made of it and novelty are left out"
        return None, [f"{note}: {absent}"]
    except OSError as error:
        return None, [f"what needs the training data is left out: {error}"]


def _score(
    made: list[baselines.BaselineCaptions], split: Split
) -> tuple[tuple[Baseline, ...], list[str]]:
    """Scores the captions of baselines, and returns the notes of scoring."""
    if not made:
        return (), []
    systems = {baseline.name: baseline.captions for baseline in made}
    scored, notes = scoring.score(systems, split.captions)
    return tuple(Baseline(b.name, b.about, scored[b.name].scores) for b in made), notes
