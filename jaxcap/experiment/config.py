"""Configs: an experiment file with the overrides of a command line, and their JSON."""

import collections
import difflib
import inspect
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.experiment.kinds import CAPTIONER, KINDS, Kind
from jaxcap.experiment.python_file import use_file
from jaxcap.experiment.ranges import Real, shorten

PREFIX = "--config."
PROTOCOL = "protocol"  # the key that an experiment file itself must know


def split(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Parts the overrides of a command line from everything else.

    Args:
      arguments: as typed, overrides as `--config.KEY=VALUE` or as `--config.KEY VALUE`.

    Returns:
      The overrides, each `--config.KEY=VALUE`, but for one whose value is missing; and the others.
    """
    overrides: list[str] = []
    others: list[str] = []
    waiting = collections.deque(arguments)
    while waiting:
        argument = waiting.popleft()
        if not argument.startswith(PREFIX):
            others.append(argument)
        elif "=" in argument or not waiting or waiting[0].startswith("--"):
            overrides.append(argument)
        else:
            overrides.append(f"{argument}={waiting.popleft()}")
    return overrides, others


def load(
    path: str | os.PathLike, overrides: Sequence[str] = (), kind: Kind = CAPTIONER
) -> ConfigDict:
    """Runs the experiment file at `path` and applies `--config.KEY=VALUE` overrides in their order.

    The last `--config.protocol` comes before all others, for it chooses what the file returns.

    Args:
      path: a Python file that defines `get_config()`, or `get_config(protocol)` where it knows
        several; it may import its neighbours (`import base`).
      overrides: arguments as typed, each `--config.KEY=VALUE`.
      kind: what the experiment must be.

    Returns:
      The config, locked, with exactly the keys of its kind. What the file set need not lie in their
      ranges; `check` tells.

    Raises:
      UserError: the file is no experiment or fails, or an override has an unknown key (the nearest
        one is named) or a value outside of its key's range.
    """
    return load_with(path, read_overrides(overrides, kind), kind)


def read_overrides(overrides: Iterable[str], kind: Kind = CAPTIONER) -> dict[str, Any]:
    """Reads `--config.KEY=VALUE` overrides into {KEY: value}, the last of a key.

    Raises:
      UserError: a key is unknown, or a value outside of its key's range.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        key, value = _parse_override(override, kind)
        values.pop(key, None)  # so that the order is that of the last ones
        values[key] = value
    return values


def load_with(
    path: str | os.PathLike, values: Mapping[str, Any], kind: Kind = CAPTIONER
) -> ConfigDict:
    """Runs the experiment file at `path` and sets some keys, as `load` does.

    Args:
      path: of the experiment.
      values: by key, as {"train.epochs": 3}; a list stands for a tuple.
      kind: what the experiment must be.

    Returns:
      The config, locked.

    Raises:
      UserError: the file is no experiment or fails, a key is unknown (the nearest one is named) or
        a value lies outside of its key's range.
    """
    checked = {key: _check_value(key, value, kind) for key, value in values.items()}
    config = _run(Path(path), checked.pop(PROTOCOL, ""), kind)
    for key, value in checked.items():
        section, _, name = key.rpartition(".")
        part = _section(config, section)
        with part.ignore_type():  # the range knows the type, whatever the file put there
            part[name] = value
    return config.lock()


def check(config: ConfigDict, kind: Kind = CAPTIONER) -> None:
    """Checks every value against the range of its key.

    Args:
      config: of the kind, as `load` returns it.
      kind: has the ranges.

    Raises:
      UserError: some do not; each is named with its key and range.
    """
    values = flatten(config)
    wrong = [
        f"{key}={_show(values[key])}: must be {allowed}"
        for key, allowed in kind.keys.items()
        if not allowed.holds(values[key])
    ]
    if wrong:
        raise UserError("; ".join(wrong))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns `{"train.batch_size": 64, ...}`, one entry a leaf."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def to_json(config: ConfigDict) -> str:
    """Returns the config as indented JSON, its keys in the order in which they were written."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
    """Reads back what `to_json` wrote (lists become tuples again)."""
    return ConfigDict(_tuples(json.loads(text)), sort_keys=False).lock()


def differences(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns one `key: old -> new` for every leaf in which two configs differ."""
    before = flatten(old)
    after = flatten(new)
    absent = "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, absent) != after.get(key, absent)
    ]


def _run(path: Path, protocol: str, kind: Kind) -> ConfigDict:
    """Runs an experiment file.

    Args:
      path: the file.
      protocol: the one that was asked for; empty for the file's own.
      kind: what the experiment must be.
    """

    def use(module: ModuleType) -> ConfigDict:
        if hasattr(module, "get_ablation"):
            raise UserError(
                f"{path} is an ablation of jaxcap ablate, not an experiment of jaxcap "
                f"{kind.command}"
            )
        if not hasattr(module, "get_config"):
            raise UserError(f"{path} defines no get_config(): see {kind.defaults}")
        config = _call(path, module.get_config, protocol)
        _check_keys(path, config, kind)
        if protocol:
            config[PROTOCOL] = protocol
        return config

    return use_file(path, use, kind.example)


def _call(path: Path, get_config: Callable[..., ConfigDict], protocol: str) -> ConfigDict:
    """Calls `get_config`, with the protocol where the file knows several."""
    if not protocol:
        return get_config()
    if PROTOCOL in inspect.signature(get_config).parameters:
        return get_config(protocol=protocol)
    if protocol == "sound":
        return get_config()
    raise UserError(
        f"protocol={protocol}: {path} has one protocol, the sound one: its get_config takes no "
        "argument `protocol`"
    )


def _check_keys(path: Path, config: Any, kind: Kind) -> None:
    """Raises `UserError` unless `get_config` returned a config with the keys of its kind."""
    if type(config) is not ConfigDict:
        returned = "nothing" if config is None else f"a {type(config).__name__}"
        raise UserError(
            f"{path}: get_config() returns {returned}: let it end with `return config`, "
            f"where config comes from {kind.base}.get_config()"
        )
    for other in KINDS:
        if other is not kind and other.section in config and kind.section not in config:
            raise UserError(
                f"{path} is an experiment of jaxcap {other.command}, not of jaxcap {kind.command}"
            )
    found = flatten(config)
    unknown = [key for key in found if key not in kind.keys]
    if unknown:
        raise UserError(f"{path} has an {_name_unknown(unknown[0], kind)}")
    missing = [key for key in kind.keys if key not in found]
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of the keys, {missing[0]} among them: start from "
            f"{kind.base}.get_config()"
        )


def _name_unknown(key: str, kind: Kind) -> str:
    nearest = difflib.get_close_matches(key, kind.keys, n=1, cutoff=0.0)[0]
    return (
        f"unknown config key {key!r}: did you mean {nearest!r}? ({kind.defaults} lists every key)"
    )


def _check_value(key: str, value: Any, kind: Kind) -> Any:
    """Returns a value as the config holds it."""
    if key not in kind.keys:
        raise UserError(_name_unknown(key, kind))
    allowed = kind.keys[key]
    if isinstance(value, list):
        value = tuple(value)
    if not allowed.holds(value):
        raise UserError(f"{key}={_show(value)}: must be {allowed}")
    return float(value) if isinstance(allowed, Real) else value


def _parse_override(argument: str, kind: Kind) -> tuple[str, Any]:
    """Reads one `--config.KEY=VALUE`."""
    key, equals, text = argument.removeprefix(PREFIX).partition("=")
    if key not in kind.keys:
        raise UserError(_name_unknown(key, kind))
    if not equals:
        raise UserError(f"{argument} has no value: it must be {kind.keys[key]}")
    try:
        return key, kind.keys[key].read(text)
    except ValueError as error:
        raise UserError(f"{key}={shorten(text)}: {error}") from None


def _show(value: Any) -> str:
    try:
        return shorten(repr(value))
    except ValueError:  # Python writes no number of more than 4,300 digits
        return "a huge number"


def _tuples(value: Any) -> Any:
    """JSON has only lists; a config has only tuples."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _section(config: ConfigDict, dotted: str) -> ConfigDict:
    for part in filter(None, dotted.split(".")):
        config = config[part]
    return config
