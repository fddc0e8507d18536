"""Lists and removes what is kept to save work: `python -m jaxcap.cache [--remove ENTRY ...]`."""

import argparse
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from jaxcap import errors, flags
from jaxcap.errors import UserError
from jaxcap.evaluation.tables import align_columns
from jaxcap.experiment import workdir
from jaxcap.io import locks, plain
from jaxcap.io.compiled import compiled_root
from jaxcap.io.files import cache_root
from jaxcap.io.uses import read_uses

DESCRIPTION = """List what jaxcap keeps on this machine to save work: prepared sets of photos and
captions, the encoder's features, and compiled programs. All are made again when they are needed. A
set and features are in use while a run that used them exists; programs never count as used.

They lie in the folder that the environment variable JAXCAP_CACHE names, or in ~/.cache/jaxcap."""
EXAMPLE = """examples:
  %(prog)s
  %(prog)s --remove unused
  %(prog)s --remove features/ prepared/flickr8k"""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    Attributes:
      name: its kind and its folder, as "prepared/flickr8k/3f2a9c...".
      path: its folder.
      size: in bytes.
      runs: the workdirs that used it and still exist.
      last: the day when a run last used it, as YYYY-MM-DD; empty when no run did.
      unfinished: a computation was stopped in it, and goes on when the same is asked for.
    """

    name: str
    path: Path
    size: int
    runs: tuple[str, ...]
    last: str
    unfinished: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    options = parse(argv)
    prepared = options.prepared_dir or cache_root() / "prepared"
    features = options.features_dir or cache_root() / "features"
    compiled = compiled_root()
    entries = list_entries(prepared, features, compiled)
    if options.remove is None:
        print_entries(entries, (prepared, features, compiled), as_json=options.json)
        return 0
    for entry in select_entries(entries, options.remove):
        remove_entry(entry)
        print(f"removed {entry.name} ({plain.format_bytes(entry.size)})", flush=True)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = flags.Parser("cache", DESCRIPTION, EXAMPLE, compiles=False)
    parser.add_argument(
        "--remove",
        nargs="+",
        metavar="ENTRY",
        help="remove what no run uses (unused), everything (all), or entries by the beginning of "
        "their names",
    )
    parser.add_argument(
        "--prepared-dir",
        type=flags.path,
        metavar="DIR",
        help="where data.prepared_dir put prepared sets",
    )
    parser.add_argument(
        "--features-dir", type=flags.path, metavar="DIR", help="where images.cache_dir put features"
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    return parser.parse_args(argv)


def list_entries(prepared: Path, features: Path, compiled: Path) -> list[Entry]:
    """Lists the prepared sets, features and compiled programs in three folders, by name."""
    entries = []
    for captions in prepared.glob("*/*/captions"):
        path = captions.parent
        entries.append(_read_entry(f"prepared/{path.parent.name}/{path.name}", path))
    for meta in features.glob("*/meta.json"):
        path = meta.parent
        entries.append(_read_entry(f"features/{path.name}", path))
    for path in compiled.glob("*"):
        entries.append(_read_entry(f"compiled/{path.name}", path))
    return sorted(entries, key=lambda entry: entry.name)


def select_entries(entries: Sequence[Entry], wanted: Sequence[str]) -> list[Entry]:
    """Chooses the entries to remove.

    Args:
      entries: all there are.
      wanted: "unused", "all", or the beginnings of names.

    Raises:
      UserError: no entry has a name that begins so.
    """
    chosen: dict[str, Entry] = {}
    for word in wanted:
        if word == "unused":
            found = [entry for entry in entries if not entry.runs]
        elif word == "all":
            found = list(entries)
        else:
            found = [entry for entry in entries if entry.name.startswith(word)]
            if not found:
                raise UserError(
                    f"no entry of the cache is called {word}*: python -m jaxcap.cache lists them"
                )
        chosen |= {entry.name: entry for entry in found}
    return list(chosen.values())


def remove_entry(entry: Entry) -> None:
    """Removes an entry.

    Raises:
      UserError: a process is computing it now, or it cannot be removed.
    """
    # All sets of one data set are prepared under one lock.
    made = entry.path.parent if entry.name.startswith("prepared/") else entry.path.with_suffix("")
    if locks.is_held(locks.lock_of(made)):
        raise UserError(f"{entry.name} cannot be removed: another process is making it")
    try:
        # Renamed first, so that no reader ever meets half of it.
        renamed = entry.path.with_name(f".{entry.path.name}.removed")
        entry.path.rename(renamed)
        shutil.rmtree(renamed)
    except OSError as error:
        raise UserError(f"{entry.path} cannot be removed ({error.strerror})") from error


def print_entries(entries: Sequence[Entry], places: Sequence[Path], *, as_json: bool) -> None:
    """Prints the entries as a table or as JSON.

    Args:
      entries: what there is.
      places: the folders that were searched.
      as_json: print JSON.
    """
    if as_json:
        values = [dataclasses.asdict(entry) | {"path": plain.name(entry.path)} for entry in entries]
        print(plain.to_json(values, indent=2, ascii_only=True))
        return
    if not entries:
        *others, last = map(str, places)
        print(f"nothing in {', '.join(others)} or {last}")
        return
    rows = [["entry", "size", "last used", "runs"]]
    for entry in entries:
        name = f"{entry.name} (unfinished)" if entry.unfinished else entry.name
        runs = str(len(entry.runs)) if entry.runs else "unused"
        rows.append([name, plain.format_bytes(entry.size), entry.last, runs])
    print("\n".join(align_columns(rows)))
    total = plain.format_bytes(sum(entry.size for entry in entries))
    unused = plain.format_bytes(sum(entry.size for entry in entries if not entry.runs))
    print(f"{total} in all, {unused} of it unused", flush=True)


def _read_entry(name: str, path: Path) -> Entry:
    """Returns the entry of a folder of the cache."""
    uses = read_uses(path)
    return Entry(
        name=name,
        path=path,
        size=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        runs=tuple(run for run in uses if workdir.holds_run(Path(run))),
        last=max(uses.values(), default=""),
        unfinished=path.name.endswith(".partial"),
    )


if __name__ == "__main__":
    errors.exit_with(main)
