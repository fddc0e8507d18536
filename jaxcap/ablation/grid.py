"""An ablation: a base experiment, arms that change a few of its keys, and seeds.

A file `ablation_NAME.py` defines `get_ablation() -> Ablation`.
"""

import dataclasses
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.evaluation.groups import NAMES
from jaxcap.experiment import config as configs
from jaxcap.experiment import ranges
from jaxcap.experiment.catalog import find_experiment
from jaxcap.experiment.check import check
from jaxcap.experiment.python_file import use_file

EXAMPLE = "experiments/ablation_words.py"
SPLITS = ("val", "test")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")  # of a folder, and of a table's first column


@dataclass(frozen=True)
class Arm:
    """One variant of the base.

    Attributes:
      name: short, of letters, digits and _; a folder is called so.
      overrides: the keys that it changes.
      wants: keys that must not be empty, or the arm is left out: files that not everybody has.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    wants: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """A grid of runs.

    Attributes:
      base: the name of an experiment that comes with jaxcap, or the path of one, from the folder of
        the ablation's file.
      arms: the first one is what the others are compared with.
      seeds: of each arm.
      metric: the score of interest, one of `evaluation.groups.NAMES`.
      split: that is scored, val or test.
      shared: keys that all arms change.
    """

    base: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    metric: str = "CIDEr-D"
    split: str = "val"
    shared: Mapping[str, Any] = field(default_factory=dict)


def load_ablation(path: Path) -> Ablation:
    """Runs the file of an ablation.

    Raises:
      UserError: the file is none, or fails.
    """

    def use(module: ModuleType) -> Ablation:
        if not hasattr(module, "get_ablation"):
            if hasattr(module, "get_config"):
                raise UserError(
                    f"{path} is an experiment and no ablation: an ablation names it as its base, "
                    f"see {EXAMPLE}"
                )
            raise UserError(f"{path} defines no get_ablation(): see {EXAMPLE}")
        return module.get_ablation()

    ablation = use_file(path, use, EXAMPLE)
    arms = getattr(ablation, "arms", ())
    if not isinstance(ablation, Ablation) or not all(isinstance(arm, Arm) for arm in arms):
        raise UserError(f"{path}: get_ablation() must return an Ablation of Arms: see {EXAMPLE}")
    return ablation


def add_overrides(ablation: Ablation, additions: Iterable[str]) -> Ablation:
    """Adds NAME:KEY=VALUE overrides, as the command line has them, to arms.

    Raises:
      UserError: an arm or a key is unknown, or a value outside of its key's range.
    """
    arms = {arm.name: arm for arm in ablation.arms}
    for addition in additions:
        name, colon, override = addition.partition(":")
        if not colon:
            raise UserError(f"--arm {addition}: must be NAME:KEY=VALUE")
        arm = arms[_find_arm(name, list(arms))]
        values = configs.read_overrides([f"{configs.PREFIX}{override}"])
        arms[name] = dataclasses.replace(arm, overrides={**arm.overrides, **values})
    return dataclasses.replace(ablation, arms=tuple(arms.values()))


def choose_arms(ablation: Ablation, names: Sequence[str]) -> Ablation:
    """Keeps some arms, in their order; all where none are named.

    Raises:
      UserError: a name is no arm's.
    """
    known = [arm.name for arm in ablation.arms]
    wanted = {_find_arm(name, known) for name in names}
    kept = tuple(arm for arm in ablation.arms if not wanted or arm.name in wanted)
    return dataclasses.replace(ablation, arms=kept)


def check_ablation(ablation: Ablation) -> None:
    """Checks all but the keys of the arms.

    Raises:
      UserError: something cannot be; it is named.
    """
    names = [arm.name for arm in ablation.arms]
    if not names:
        raise UserError("the ablation has no arms: give it at least one Arm")
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"arm {name!r}: a name must be a letter and at most 39 letters, digits or _"
            )
    # Some file systems take A and a for one folder.
    _check_unique("two arms are called", [name.casefold() for name in names])
    if not ablation.seeds:
        raise UserError("the ablation has no seeds: give it at least one, as --seeds 0,1,2")
    for seed in ablation.seeds:
        if not ranges.SEED.holds(seed):
            raise UserError(f"seed {seed!r}: must be {ranges.SEED}")
    _check_unique("two seeds are", ablation.seeds)
    for what, value, known in (
        ("metric", ablation.metric, NAMES),
        ("split", ablation.split, SPLITS),
    ):
        if value not in known:
            raise UserError(f"{what}={value!r} of the ablation: must be one of {', '.join(known)}")


def resolve_arms(
    ablation: Ablation, folder: Path, typed: Mapping[str, Any]
) -> tuple[dict[str, ConfigDict], list[str]]:
    """Makes the config of each arm, and checks it.

    Args:
      ablation: checked.
      folder: of its file.
      typed: overrides of the command line, which come after `shared` and before the arms' own.

    Returns:
      The configs by arm, with the base's seed; and a line for each arm that is left out.

    Raises:
      UserError: a key is unknown, a value outside of its range, or a config no run can have; the
        arm is named.
    """
    base = _find_base(ablation.base, folder)
    found = {}
    left_out = []
    for arm in ablation.arms:
        values = {**ablation.shared, **typed, **arm.overrides}
        try:
            if "seed" in values:
                raise UserError("seed is no key of an ablation, which has seeds: see --seeds")
            config = configs.load_with(base, values)
            empty = [key for key in arm.wants if not configs.flatten(config).get(key)]
            if empty:
                left_out.append(_explain_left_out(arm, empty[0]))
                continue
            check(config)
        except UserError as error:
            raise UserError(f"arm {arm.name}: {error}") from error
        if config.train.replicas > 1:
            raise UserError(f"arm {arm.name}: train.replicas must be 1, for the grid has seeds")
        found[arm.name] = config
    if not found:
        raise UserError(f"no arm is left: {'; '.join(left_out)}")
    return found, left_out


def _find_base(base: str, folder: Path) -> Path:
    path = find_experiment(base)
    # A name is found in jaxcap's own folder; a path is one from the ablation's file.
    return path if path.is_absolute() else folder / path


def _find_arm(name: str, known: Sequence[str]) -> str:
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise UserError(
            f"no arm is called {name!r}: did you mean {nearest!r}? ({', '.join(known)})"
        )
    return name


def _check_unique(what: str, values: Sequence[Any]) -> None:
    for value, count in Counter(values).items():
        if count > 1:
            raise UserError(f"{what} {value}: each may stand there once")


def _explain_left_out(arm: Arm, key: str) -> str:
    flag = f"--arm {arm.name}:{key}=VALUE" if key in arm.overrides else f"--config.{key}=VALUE"
    return f"arm {arm.name} is left out, for {key} is empty: give it with {flag}"
