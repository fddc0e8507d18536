"""What a grid's folder remembers: which grid it is, what is finished, and what failed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.ablation.grid import Ablation
from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import defaults, workdir
from jaxcap.io import plain, records
from jaxcap.io.files import write_atomically

GRID = "grid.json"
STATE = "cells.json"


@dataclass(frozen=True)
class Grid:
    """Which grid a folder holds.

    Attributes:
      base: the base experiment, as the ablation names it.
      metric: of the ablation.
      split: of the ablation.
      arms: of each arm that was ever run, all keys with their values but for the seed.
    """

    base: str
    metric: str
    split: str
    arms: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Training:
    """A training, which cells may share.

    Attributes:
      finished: nothing of it is left to do.
      seconds: of its steps and validations, over all calls.
      preparing: seconds before them in the last call, those of computing features among them.
      machine: on which it ended.
    """

    finished: bool
    seconds: float
    preparing: float
    machine: str


@dataclass(frozen=True)
class Scored:
    """A finished cell.

    Attributes:
      training: the folder of its trained run, from the grid's folder.
      evaluation: the folder of its scores, the same.
      seconds: of captioning and scoring.
    """

    training: str
    evaluation: str
    seconds: float


@dataclass(frozen=True)
class State:
    """How far a grid is; the keys are ARM/seed_K.

    Attributes:
      trainings: by their folder.
      scored: the finished cells.
      failed: the reason, in one line.
    """

    trainings: dict[str, Training] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def open_grid(folder: Path, ablation: Ablation, arms: Mapping[str, ConfigDict]) -> Grid:
    """Returns the grid with which a folder goes on, or begins; nothing is written.

    Args:
      folder: the grid's.
      ablation: that is to be run.
      arms: the config of each of its arms.

    Raises:
      UserError: the folder holds another grid (what differs is named), a run, or damage.
    """
    if workdir.holds_run(folder):
        raise UserError(f"{folder} holds a run and no grid: choose another --workdir")
    new = Grid(
        base=ablation.base,
        metric=ablation.metric,
        split=ablation.split,
        arms={name: _flatten(config) for name, config in arms.items()},
    )
    if not (folder / GRID).exists():
        return new
    old = _read(Grid, folder / GRID)
    differing = []
    for key in ("base", "metric", "split"):
        if getattr(old, key) != getattr(new, key):
            differing.append(f"{key}: {getattr(old, key)} -> {getattr(new, key)}")
    for name in new.arms.keys() & old.arms.keys():
        differing += _list_changes(name, old.arms[name], new.arms[name])
    if differing:
        raise UserError(
            f"{folder} holds another grid ({'; '.join(differing)}): choose another --workdir, or "
            "take these changes back"
        )
    return Grid(base=new.base, metric=new.metric, split=new.split, arms=old.arms | new.arms)


def write_grid(folder: Path, grid: Grid) -> None:
    """Writes which grid a folder holds."""
    _write(folder / GRID, grid)


def read_state(folder: Path) -> State:
    """Reads how far a grid is; of a new one, nothing is done.

    Raises:
      UserError: the file is damaged.
    """
    if not (folder / STATE).exists():
        return State()
    return _read(State, folder / STATE)


def write_state(folder: Path, state: State) -> None:
    """Writes how far a grid is."""
    _write(folder / STATE, state)


def _flatten(config: ConfigDict) -> dict[str, Any]:
    """Returns the keys of an arm as JSON holds them."""
    values = json.loads(json.dumps(configs.flatten(config)))
    del values["seed"]
    return values


def _list_changes(arm: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns one line for each key of an arm that would give other results now."""
    # A key that came after the grid has its default, which is what the grid did.
    before = {**_flatten(defaults.get_config()), **old}
    changes = []
    for key, value in new.items():
        # How captions are searched changes the scores.
        free = workdir.is_free(key) and not key.startswith("search.")
        if before[key] != value and not free:
            changes.append(f"{arm}: {key}: {before[key]} -> {value}")
    return changes


def _read(kind: type, path: Path) -> Any:
    try:
        return records.from_json(kind, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read ({error}): choose another --workdir, or remove the file, "
            "where finished runs are kept"
        ) from error


def _write(path: Path, record: Any) -> None:
    write_atomically(path, plain.to_json(records.to_values(record), indent=2) + "\n")
