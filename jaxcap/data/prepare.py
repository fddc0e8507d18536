"""Prepared sets: a data set's photos and captions, checked and written once for each split.

A set lies in ROOT/NAME/KEY, whose key is a digest of every photo and caption in it: the same photos
are never written twice, whatever folder they were read from, and other photos never pass for them.
A note in ROOT/NAME/seen, found by the sizes and times of the files, spares reading photos that have
been digested before.
"""

import errno
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jaxcap.data.checks import STAT_THREADS, check_reading, select_splits
from jaxcap.data.source import VERSION, Example, Reading, Source, photo_sizes, read_photo
from jaxcap.data.split import Split, summarize
from jaxcap.errors import out_of_space
from jaxcap.io.digests import digest_bytes, digest_json
from jaxcap.io.files import check_space, report_full_disk, write_atomically
from jaxcap.io.locks import hold_writable
from jaxcap.io.plain import list_some
from jaxcap.io.progress import Progress

if TYPE_CHECKING:
    from jaxcap.data.builder import SplitBuilder

SEEN = "seen"  # the folder of notes beside the sets
_READ_THREADS = 4  # each holds one photo
_LONG_READ = 2**28  # bytes whose reading is announced
_ADVICE = "set another place with data.prepared_dir"


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
    source: Source,
    root: Path,
    *,
    allow_missing: bool,
    only: Sequence[str] | None,
    most: int = 0,
) -> dict[str, Split]:
    """Opens the prepared sets of a data set, and makes those that are not there.

    Args:
      source: the raw files.
      root: the folder of all prepared sets.
      allow_missing: leave images out whose photos are not there, instead of stopping.
      only: the splits that are needed, or None for all that there are.
      most: how many images each split may have, the first of those that are there; 0: all. A
        rendered set has no such limit.

    Returns:
      The wanted splits by name.

    Raises:
      UserError: something is wrong with the raw files, or the disk is full; then no set is
        half-written.
    """
    folder = root / source.name
    if source.key:
        # Rendered only where no prepared set has this key.
        listing = digest_json([VERSION, source.key])
        note = _read_note(folder, listing) or _make_note(source, None, folder, listing)
        notes = note.notes
    else:
        reading = check_reading(source.name, source.read(), allow_missing=allow_missing, only=only)
        if most:
            reading = _limit(reading, most)
        listing = _digest_listing(reading)
        note = _read_note(folder, listing) or _make_note(source, reading, folder, listing)
        notes = [*reading.notes, *note.notes]
    splits = {}
    for name, key in select_splits(source.name, note.keys, only).items():
        splits[name] = _set_in(folder / key).open(name, notes, folder / key)
    return splits


def _limit(reading: Reading, most: int) -> Reading:
    splits = {name: examples[:most] for name, examples in reading.splits.items()}
    return Reading(splits, [*reading.notes, f"the first {most:,} photos alone"])


def _digest_listing(reading: Reading) -> str:
    """Returns a digest of all captions and of each photo's place, size and times."""
    rows = {}
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        for split, examples in reading.splits.items():
            rows[split] = list(pool.map(_describe_file, examples))
    return digest_json([VERSION, rows])


def _describe_file(example: Example) -> list:
    assert isinstance(example.photo, Path)  # rendered sets have a key instead
    stat = example.photo.stat()
    return [
        example.id,
        example.captions,
        str(example.photo.absolute()),
        stat.st_size,
        stat.st_mtime_ns,
        # A program that overwrites a photo can put back the time of its content, but not this one,
        # of the last change of the file's record.
        stat.st_ctime_ns,
    ]


def _read_note(folder: Path, listing: str) -> _Note | None:
    """Returns the note of a reading whose sets are all there, or None."""
    try:
        text = (folder / SEEN / f"{listing}.json").read_text(encoding="utf-8")
        note = _Note(**json.loads(text))
        complete = all(_set_in(folder / key).is_complete for key in note.keys.values())
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # absent or damaged: it is made anew
    return note if complete else None


def _make_note(source: Source, reading: Reading | None, folder: Path, listing: str) -> _Note:
    """Writes the sets of a reading that are not there yet, and the note that they are.

    Args:
      source: the raw files.
      reading: what was read and checked; None for a rendered set, which is rendered here.
      folder: of the data set's prepared sets.
      listing: the name of the note.
    """
    with (
        report_full_disk(folder),
        hold_writable(folder, f"another process prepares {folder}: waiting for it", _ADVICE),
    ):
        folder.mkdir(exist_ok=True)
        note = _read_note(folder, listing)  # the process that was waited for may have made it
        if note is None:
            if reading is None:
                reading = check_reading(source.name, source.read(), allow_missing=False, only=None)
            note = _write_missing_sets(source, reading, folder)
            text = json.dumps(asdict(note), indent=1) + "\n"
            write_atomically(folder / SEEN / f"{listing}.json", text)
    return note


def _write_missing_sets(source: Source, reading: Reading, folder: Path) -> _Note:
    """Digests all photos and writes the sets that are not there yet."""
    digests = _digest_photos(source.name, reading)
    keys = {}
    absent = {}
    for split, examples in reading.splits.items():
        keys[split] = _content_key(examples, digests[split])
        if not _set_in(folder / keys[split]).is_complete:
            absent[split] = examples
    twins = _note_twins(reading, digests)
    notes = [*reading.notes, *twins]
    if absent:
        _write(source.name, absent, digests, keys, folder)
        splits = {}
        for split, key in keys.items():
            splits[split] = _set_in(folder / key).open(split, notes, folder / key)
        for line in (*notes, summarize(splits)):
            print(f"{source.name}: {line}", file=sys.stderr, flush=True)
    return _Note(keys, notes if source.key else twins)


def _digest_photos(name: str, reading: Reading) -> dict[str, list[str]]:
    """Reads every photo of every split and returns its digest."""
    examples = [example for part in reading.splits.values() for example in part]
    if sum(photo_sizes(examples)) > _LONG_READ:
        message = f"{name}: reading {len(examples):,} photos to compute their digests"
        print(message, file=sys.stderr, flush=True)

    def digest_photo(example: Example) -> str:
        return digest_bytes(read_photo(example))

    digests = {}
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        for split, part in reading.splits.items():
            digests[split] = list(pool.map(digest_photo, part))
    return digests


def _content_key(examples: Sequence[Example], digests: Sequence[str]) -> str:
    """Returns the name of a set that holds these examples, in this order."""
    rows = []
    for example, digest in zip(examples, digests, strict=True):
        rows.append([example.id, digest, example.captions, example.objects])
    return digest_json([VERSION, rows])[:16]


def _note_twins(reading: Reading, digests: Mapping[str, Sequence[str]]) -> list[str]:
    """Notes the photos that are in two splits under two names."""
    first_seen: dict[str, tuple[str, str]] = {}
    twins = []
    for split, examples in reading.splits.items():
        for example, digest in zip(examples, digests[split], strict=True):
            other, other_split = first_seen.setdefault(digest, (example.id, split))
            if other_split != split:
                twins.append(f"{other} ({other_split}) = {example.id} ({split})")
    if not twins:
        return []
    return [
        f"photos in two splits, byte for byte the same: {len(twins):,}, namely {list_some(twins)}"
    ]


def _set_in(folder: Path) -> "SplitBuilder":
    from jaxcap.data.builder import SplitBuilder  # takes a moment, and some commands read no data

    return SplitBuilder(data_dir=folder)


def _write(
    name: str,
    splits: Mapping[str, Sequence[Example]],
    digests: Mapping[str, Sequence[str]],
    keys: Mapping[str, str],
    folder: Path,
) -> None:
    """Writes the sets of some splits; one that is not complete in the end is removed."""
    needed = sum(sum(photo_sizes(examples)) for examples in splits.values())
    check_space(folder, needed, "the prepared photos", _ADVICE)
    total = sum(len(examples) for examples in splits.values())
    print(f"{name}: preparing {total:,} photos in {folder}", file=sys.stderr, flush=True)
    with Progress(total, name, unit="photos") as progress:
        for split, examples in splits.items():
            place = folder / keys[split]
            shutil.rmtree(place, ignore_errors=True)  # what a killed process left unfinished
            try:
                _set_in(place).write(examples, digests[split], progress.update)
                # TFDS makes this folder even if it downloads nothing.
                shutil.rmtree(place / "downloads", ignore_errors=True)
            except BaseException as error:
                shutil.rmtree(place, ignore_errors=True)
                if isinstance(error, RuntimeError):
                    _raise_if_out_of_space(error, place)
                raise


def _raise_if_out_of_space(error: RuntimeError, place: Path) -> None:
    """Raises a `UserError` for a full disk: the record writer knows one kind of error for all."""
    for code in (errno.ENOSPC, errno.EDQUOT):
        if os.strerror(code) in str(error):
            raise out_of_space(OSError(code, os.strerror(code)), place) from error
