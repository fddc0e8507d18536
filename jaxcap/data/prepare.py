"""Turns a data set's raw files into a prepared set, once: checked, written, and found again by what it was made of."""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jaxcap.data.builder import VERSION, Captions
from jaxcap.data.places import listed
from jaxcap.data.source import Example, Reading, Source
from jaxcap.data.split import summary
from jaxcap.data.splitting import check_leaks
from jaxcap.errors import UserError, is_out_of_space, out_of_space
from jaxcap.files import space_checked, wait_for_lock
from jaxcap.progress import Progress

Splits = dict[str, list[Example]]


def prepared(source: Source, root: Path, *, allow_missing: bool, only: Sequence[str] | None) -> Captions:
    """Returns the prepared set of a data set, which is made when no such set is there.

    Args:
      source: the raw files.
      root: the folder of all prepared sets.
      allow_missing: leave images out whose photos are not there, instead of stopping.
      only: the splits that are needed, or None for all that there are.

    Returns:
      The complete set; it may hold more splits than asked for.

    Raises:
      UserError: something is wrong with the raw files, or the disk is full; then no set is left behind.
    """
    # A set made under stricter terms serves as well.
    for missing, splits in itertools.product((False, allow_missing), (None, only)):
        if (found := Captions(data_dir=_folder(root, _made_of(source, missing, splits)))).is_complete:
            return found
    made_of = _made_of(source, allow_missing, only)
    folder = _folder(root, made_of)
    with space_checked(folder), _alone_in(folder):
        if not Captions(data_dir=folder).is_complete:
            reading = checked(source.name, source.read(), allow_missing=allow_missing, only=only)
            _write(source.name, reading, made_of, folder)
    return Captions(data_dir=folder)


def checked(name: str, reading: Reading, *, allow_missing: bool, only: Sequence[str] | None) -> Reading:
    """Makes sure that a reading can be written: no image in two splits, the wanted splits there, no photo missing.

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
    check_leaks({split: [example.id for example in examples] for split, examples in reading.splits.items()})
    wanted = wanted_splits(name, reading.splits, only)
    examples = [example for part in wanted.values() for example in part]
    missing = [example for example in examples if not _there(example)]
    if not missing:
        return _without((), wanted, reading.notes)
    first = listed([str(missing[0].photo), *(example.id for example in missing[1:])], 3)
    said = f"{len(missing):,} of {len(examples):,} photos are missing, such as {first}"
    if len(missing) == len(examples):
        raise UserError(f"{name}: {said}: add them, or name the folder that holds them with data.dir")
    if not allow_missing:
        raise UserError(f"{name}: {said}: add them, or go on without them with data.allow_missing=True")
    return _without(missing, wanted, [*reading.notes, f"{said}: left out"])


def wanted_splits(name: str, splits: Mapping[str, object], only: Sequence[str] | None) -> dict:
    """Returns the splits named in `only`, or all.

    Raises:
      UserError: there is no such split.
    """
    if absent := [split for split in only or () if split not in splits]:
        raise UserError(f"{name}: there is no split {absent[0]!r}: the files at hand make {' and '.join(splits)}")
    return {split: splits[split] for split in only or splits}


def _without(missing: Sequence[Example], splits: Splits, notes: Sequence[str]) -> Reading:
    gone = {example.id for example in missing}
    left = {split: [example for example in examples if example.id not in gone] for split, examples in splits.items()}
    empty = [f"splits: no photo of {split} is there, so no such split" for split in left if not left[split]]
    return Reading({split: examples for split, examples in left.items() if examples}, [*notes, *empty])


def _there(example: Example) -> bool:
    return isinstance(example.photo, bytes) or example.photo.is_file()


def _made_of(source: Source, allow_missing: bool, only: Sequence[str] | None) -> dict:
    """Returns everything that decides the content of a prepared set."""
    stats = [(str(path.resolve()), path.stat()) for path in source.files]
    return {
        "name": source.name,
        "version": VERSION,
        "options": source.options,
        "files": [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats],
        "allow_missing": allow_missing,
        "only": sorted(only) if only else None,
    }


def _folder(root: Path, made_of: dict) -> Path:
    return root / made_of["name"] / hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds a folder against other processes, and clears away what a killed one left unfinished in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
    except OSError as error:
        if is_out_of_space(error):
            raise
        raise UserError(f"{folder}: cannot be written ({error.strerror}): set data.prepared_dir") from error
    with lock:
        wait_for_lock(lock, f"another process prepares {folder}: waiting for it")
        folder.mkdir(exist_ok=True)  # whoever was waited for may have failed and cleared it away
        for unfinished in folder.glob("*/incomplete.*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        try:
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _write(name: str, reading: Reading, made_of: dict, folder: Path) -> None:
    """Writes a checked reading and says what is in it."""
    _check_space(reading, folder)
    total = sum(map(len, reading.splits.values()))
    print(f"{name}: preparing {total:,} photos in {folder}", file=sys.stderr, flush=True)
    try:
        with Progress(total, name, unit="photos") as progress:
            Captions(data_dir=folder).write(reading, made_of, progress.update)
    except RuntimeError as error:  # the record writer's own kind of error, whatever happened
        for code in (errno.ENOSPC, errno.EDQUOT):
            if os.strerror(code) in str(error):
                raise out_of_space(OSError(code, os.strerror(code)), folder) from error
        raise
    shutil.rmtree(folder / "downloads", ignore_errors=True)  # TFDS makes one even when it downloads nothing
    splits = Captions(data_dir=folder).splits()
    for line in (*next(iter(splits.values())).notes, summary(splits)):
        print(f"{name}: {line}", file=sys.stderr, flush=True)


def _check_space(reading: Reading, folder: Path) -> None:
    """Stops before anything is written when the photos will not fit."""
    photos = [example.photo for examples in reading.splits.values() for example in examples]
    needed = sum(len(photo) if isinstance(photo, bytes) else photo.stat().st_size for photo in photos)
    if needed > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f"{folder}: preparing needs {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free: "
            "free some space, or set another place with data.prepared_dir"
        )
