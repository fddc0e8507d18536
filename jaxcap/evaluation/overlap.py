"""Which of the scored photos a run was trained on, and how its data have changed since."""

from jaxcap.errors import UserError
from jaxcap.experiment import contents, workdir
from jaxcap.experiment.restore import TrainedRun
from jaxcap.io.plain import list_some


def find_training_overlap(
    run: TrainedRun, data: str, scored: contents.SplitContents, *, split: str, own_data: bool
) -> tuple[int | None, list[str]]:
    """Finds the scored photos among those that the run, or a member of it, was trained on.

    Args:
      run: the run, whose workdir tells what it was trained on.
      data: the name of the data set that is scored.
      scored: the images that are scored.
      split: what they are called.
      own_data: they are the run's own, so that differences from its split are noted too.

    Returns:
      How many of them the run was trained on (None when it does not know), and notes.
    """
    overlap: set[str] = set()
    differing: list[str] = []
    try:
        for single in run.singles:
            known = workdir.load_contents(single.folder)
            overlap.update(contents.find_overlap(known, data, scored))
            if own_data and split in known.splits:
                found = contents.list_split_differences(split, known.splits[split], scored)
                differing += [line for line in found if line not in differing]
    except UserError:
        unknown = "the run does not know which photos it was trained on (an older jaxcap made it)"
        return None, [f"{unknown}: some may be scored"]
    notes = []
    if overlap:
        trained_on = [image for image in scored.ids if image in overlap]
        count = "all" if len(overlap) == len(scored.ids) else f"{len(overlap):,}"
        notes.append(
            f"{count} of the {len(scored.ids):,} scored photos are among the training photos "
            f"({list_some(trained_on)}): no score of unseen photos"
        )
    if differing:
        notes.append(f"the data have changed since the run was trained: {'; '.join(differing)}")
    return len(overlap), notes
