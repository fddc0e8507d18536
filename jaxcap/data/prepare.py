"""Prepared sets: a data set's photos and captions, checked, written once for each split, found
again by content.

A set lies in ROOT/NAME/KEY, whose key is a digest of every photo and caption in it: the same photos
are never written twice, whatever folder they were read from, and other photos never pass for them.
A note in ROOT/NAME/seen, found by the sizes and times of the files, spares reading photos that have
been digested before.
"""

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from jaxcap.data.builder import VERSION, Captions, photo_sizes, read_photo
from jaxcap.data.locations import listed
from jaxcap.data.source import Example, Reading, Source
from jaxcap.data.split import Split, summary
from jaxcap.data.splits import check_leaks
from jaxcap.errors import UserError, out_of_space
from jaxcap.io import locks
from jaxcap.io.digests import digest_bytes, digest_json
from jaxcap.io.files import space_checked, write_atomically
from jaxcap.io.progress import Progress

SEEN = "seen"  # the folder of notes beside the sets
_LOOKING = 16  # threads that look at files: on network disks each look waits for an answer
_READING = 4  # threads that read photos: each holds one
_LONG_READ = 2**28  # bytes whose reading is announced

Splits = dict[str, list[Example]]


@dataclass(frozen=True)
class _Note:
    """What a reading became.

    Attributes:
      keys: of each split's set.
      notes: what is worth knowing, beside the notes of a reading from files, which is read each
        time.
    """

    keys: dict[str, str]
    notes: list[str]


def prepare_splits(
    source: Source, root: Path, *, allow_missing: bool, only: Sequence[str] | None
) -> dict[str, Split]:
    """Opens the prepared sets of a data set, and makes those that are not there.

    Args:
      source: the raw files.
      root: the folder of all prepared sets.
      allow_missing: leave images out whose photos are not there, instead of stopping.
      only: the splits that are needed, or None for all that there are.

    Returns:
      The wanted splits by name.

    Raises:
      UserError: something is wrong with the raw files, or the disk is full; then no set is
        half-written.
    """
    folder = root / source.name
    reading = None
    if source.key:
        listing = digest_json([VERSION, source.key])
    else:
        reading = check_reading(source.name, source.read(), allow_missing=allow_missing, only=only)
        listing = _digest_listing(reading)
    note = _read_note(folder, listing)
    if note is None:
        with space_checked(folder), _lock_folder(folder):
            note = _read_note(folder, listing)  # whoever was waited for may have made it
            if note is None:
                if reading is None:
                    reading = check_reading(
                        source.name, source.read(), allow_missing=False, only=None
                    )
                note = _make(source, reading, folder)
                write_atomically(
                    folder / SEEN / f"{listing}.json", json.dumps(asdict(note), indent=1) + "\n"
                )
    wanted = select_splits(source.name, note.keys, only)
    notes = note.notes if source.key else [*reading.notes, *note.notes]
    return {
        name: _set_in(folder / key).open(name, notes, folder / key) for name, key in wanted.items()
    }


def check_reading(
    name: str, reading: Reading, *, allow_missing: bool, only: Sequence[str] | None
) -> Reading:
    """Makes sure that a reading can be written: no image in two splits, the wanted splits there, no
    photo missing.

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
    check_leaks(
        {split: [example.id for example in examples] for split, examples in reading.splits.items()}
    )
    wanted = select_splits(name, reading.splits, only)
    examples = [example for part in wanted.values() for example in part]
    with ThreadPoolExecutor(_LOOKING) as pool:
        there = list(pool.map(_is_there, examples))
    missing = [example for example, found in zip(examples, there, strict=True) if not found]
    if not missing:
        return _without((), wanted, reading.notes)
    first = listed([str(missing[0].photo), *(example.id for example in missing[1:])], 3)
    said = f"{len(missing):,} of {len(examples):,} photos are missing, such as {first}"
    if len(missing) == len(examples):
        raise UserError(
            f"{name}: {said}: add them, or name the folder that holds them with data.dir"
        )
    if not allow_missing:
        raise UserError(
            f"{name}: {said}: add them, or go on without them with data.allow_missing=True"
        )
    return _without(missing, wanted, [*reading.notes, f"{said}: left out"])


def select_splits(name: str, splits: Mapping[str, object], only: Sequence[str] | None) -> dict:
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


def _without(missing: Sequence[Example], splits: Splits, notes: Sequence[str]) -> Reading:
    gone = {example.id for example in missing}
    left = {
        split: [example for example in examples if example.id not in gone]
        for split, examples in splits.items()
    }
    empty = [
        f"splits: no photo of {split} is there, so no such split"
        for split in left
        if not left[split]
    ]
    return Reading(
        {split: examples for split, examples in left.items() if examples}, [*notes, *empty]
    )


def _is_there(example: Example) -> bool:
    return isinstance(example.photo, bytes) or example.photo.is_file()


def _digest_listing(reading: Reading) -> str:
    """Returns a digest of all captions and of each photo's place, size and times.

    The time of the last change of the file's record counts too: a program that overwrites a photo
    can put back the time of its content, but not that one.
    """

    def describe(example: Example) -> list:
        stat = example.photo.stat()
        return [
            example.id,
            example.captions,
            str(example.photo.absolute()),
            stat.st_size,
            stat.st_mtime_ns,
            stat.st_ctime_ns,
        ]

    with ThreadPoolExecutor(_LOOKING) as pool:
        rows = {
            split: list(pool.map(describe, examples)) for split, examples in reading.splits.items()
        }
    return digest_json([VERSION, rows])


def _read_note(folder: Path, listing: str) -> _Note | None:
    """Returns the note of a reading whose sets are all there, or None."""
    try:
        note = _Note(**json.loads((folder / SEEN / f"{listing}.json").read_text(encoding="utf-8")))
        whole = all(_set_in(folder / key).is_complete for key in note.keys.values())
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # it is made anew
    return note if whole else None


def _make(source: Source, reading: Reading, folder: Path) -> _Note:
    """Digests all photos and writes the sets that are not there yet."""
    name = source.name
    digests = _digest_photos(name, reading)
    keys = {
        split: _content_key(examples, digests[split]) for split, examples in reading.splits.items()
    }
    twins = _note_twins(reading, digests)
    notes = [*reading.notes, *twins]
    absent = {split: key for split, key in keys.items() if not _set_in(folder / key).is_complete}
    if absent:
        _write(name, {split: reading.splits[split] for split in absent}, digests, absent, folder)
        splits = {
            split: _set_in(folder / key).open(split, notes, folder / key)
            for split, key in keys.items()
        }
        for line in (*notes, summary(splits)):
            print(f"{name}: {line}", file=sys.stderr, flush=True)
    return _Note(keys, notes if source.key else twins)


def _digest_photos(name: str, reading: Reading) -> dict[str, list[str]]:
    """Reads every photo of every split and returns its digest."""
    examples = [example for part in reading.splits.values() for example in part]
    if sum(photo_sizes(examples)) > _LONG_READ:
        print(
            f"{name}: reading {len(examples):,} photos to tell what they are",
            file=sys.stderr,
            flush=True,
        )
    with ThreadPoolExecutor(_READING) as pool:
        return {
            split: list(pool.map(lambda example: digest_bytes(read_photo(example)), part))
            for split, part in reading.splits.items()
        }


def _content_key(examples: Sequence[Example], digests: Sequence[str]) -> str:
    """Returns the name of a set that holds these examples, in this order."""
    rows = [
        [example.id, digest, example.captions, example.objects]
        for example, digest in zip(examples, digests, strict=True)
    ]
    return digest_json([VERSION, rows])[:16]


def _note_twins(reading: Reading, digests: Mapping[str, Sequence[str]]) -> list[str]:
    """Notes the photos that stand in two splits under two names."""
    first: dict[str, tuple[str, str]] = {}
    twins = []
    for split, examples in reading.splits.items():
        for example, digest in zip(examples, digests[split], strict=True):
            other, home = first.setdefault(digest, (example.id, split))
            if home != split:
                twins.append(f"{other} ({home}) = {example.id} ({split})")
    if not twins:
        return []
    return [f"photos in two splits, byte for byte the same: {len(twins):,}, namely {listed(twins)}"]


def _set_in(folder: Path) -> Captions:
    return Captions(data_dir=folder)


@contextlib.contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Holds the folder of a data set's prepared sets against other processes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locks.hold_path(folder, f"another process prepares {folder}: waiting for it"):
            yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}): set data.prepared_dir"
        ) from error


def _write(
    name: str,
    splits: Splits,
    digests: Mapping[str, Sequence[str]],
    keys: Mapping[str, str],
    folder: Path,
) -> None:
    """Writes the sets of some splits; one that is not whole in the end is removed."""
    _check_space(splits, folder)
    total = sum(map(len, splits.values()))
    print(f"{name}: preparing {total:,} photos in {folder}", file=sys.stderr, flush=True)
    with Progress(total, name, unit="photos") as progress:
        for split, examples in splits.items():
            place = folder / keys[split]
            shutil.rmtree(place, ignore_errors=True)  # what a killed process left unfinished
            try:
                _set_in(place).write(examples, digests[split], progress.update)
                shutil.rmtree(
                    place / "downloads", ignore_errors=True
                )  # TFDS makes one even if it downloads nothing
            except (
                RuntimeError
            ) as error:  # the record writer's own kind of error, whatever happened
                shutil.rmtree(place, ignore_errors=True)
                for code in (errno.ENOSPC, errno.EDQUOT):
                    if os.strerror(code) in str(error):
                        raise out_of_space(OSError(code, os.strerror(code)), place) from error
                raise
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise


def _check_space(splits: Splits, folder: Path) -> None:
    """Stops before anything is written when the photos will not fit."""
    needed = sum(sum(photo_sizes(examples)) for examples in splits.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: preparing needs {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free: "
            "free some space, or set another place with data.prepared_dir"
        )
