"""What is checked of a reading before anything is written: splits, leaks, missing photos."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from jaxcap.data.source import Example, Reading
from jaxcap.data.splits import check_leaks
from jaxcap.errors import UserError
from jaxcap.io.plain import list_some

STAT_THREADS = 16  # on network disks each look at a file waits for an answer

Splits = dict[str, list[Example]]
AnySplit = TypeVar("AnySplit")


def check_reading(
    name: str, reading: Reading, *, allow_missing: bool, only: Sequence[str] | None
) -> Reading:
    """Checks a reading: no image in two splits, the wanted splits there, no photo missing.

    Args:
      name: the data set, for the messages.
      reading: what was read.
      allow_missing: leave images out whose photos are not there, instead of stopping.
      only: the splits that are needed, or None for all.

    Returns:
      The wanted splits, without missing photos, with notes on what was left out.

    Raises:
      UserError: one of the checks failed.
    """
    ids = {}
    for split, part in reading.splits.items():
        ids[split] = [example.id for example in part]
    check_leaks(ids)
    wanted = select_splits(name, reading.splits, only)
    examples = [example for part in wanted.values() for example in part]
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        are_there = list(pool.map(_is_there, examples))
    missing = [example for example, there in zip(examples, are_there, strict=True) if not there]
    if not missing:
        return _leave_out((), wanted, reading.notes)
    # The path of one, so that the user sees where photos were expected.
    names = list_some([str(missing[0].photo), *(example.id for example in missing[1:])], 3)
    report = f"{len(missing):,} of {len(examples):,} photos are missing, such as {names}"
    if len(missing) == len(examples):
        raise UserError(
            f"{name}: {report}: add them, or name the folder that holds them with data.dir"
        )
    if not allow_missing:
        raise UserError(
            f"{name}: {report}: add them, or go on without them with data.allow_missing=True"
        )
    return _leave_out(missing, wanted, [*reading.notes, f"{report}: left out"])


def select_splits(
    name: str, splits: Mapping[str, AnySplit], only: Sequence[str] | None
) -> dict[str, AnySplit]:
    """Returns the splits named in `only`, or all.

    Raises:
      UserError: there is no such split.
    """
    absent = [split for split in only or () if split not in splits]
    if absent:
        raise UserError(
            f"{name}: there is no split {absent[0]!r}: the files at hand make "
            f"{' and '.join(splits)}"
        )
    return {split: splits[split] for split in only or splits}


def _leave_out(missing: Sequence[Example], splits: Splits, notes: Sequence[str]) -> Reading:
    missing_ids = {example.id for example in missing}
    left: Splits = {}
    all_notes = list(notes)
    for split, examples in splits.items():
        there = [example for example in examples if example.id not in missing_ids]
        if there:
            left[split] = there
        else:
            all_notes.append(f"splits: no photo of {split} is there, so no such split")
    return Reading(left, all_notes)


def _is_there(example: Example) -> bool:
    return isinstance(example.photo, bytes) or example.photo.is_file()
