"""Configs: an experiment file with the overrides of a command line, and their JSON."""

import collections
import difflib
import importlib.util
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.experiment.ranges import KEYS, shorten

PREFIX = "--config."
PROTOCOL = "protocol"  # the key that an experiment file itself must know
EXAMPLE = "experiments/quickstart.py"


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


def load(path: str | os.PathLike, overrides: Sequence[str] = ()) -> ConfigDict:
    """Runs the experiment file at `path` and applies `--config.KEY=VALUE` overrides in their order.

    The last `--config.protocol` comes before all others, for it chooses what the file returns.

    Args:
      path: a Python file that defines `get_config()`, or `get_config(protocol)` where it knows
        several; it may import its neighbours (`import base`).
      overrides: arguments as typed, each `--config.KEY=VALUE`.

    Returns:
      The config, locked, with exactly the keys of `KEYS`. What the file set need not lie in their
      ranges; `check` tells.

    Raises:
      UserError: the file is no experiment or fails, or an override has an unknown key (the nearest
        one is named) or a value outside of its key's range.
    """
    chosen = [override for override in overrides if _is_protocol(override)]
    protocol = _parse_override(chosen[-1])[1] if chosen else ""
    config = _run(Path(path), protocol)
    for override in overrides:
        if not _is_protocol(override):
            _override(config, override)
    return config.lock()


def check(config: ConfigDict) -> None:
    """Checks every value against the range of its key.

    Raises:
      UserError: some do not; each is named with its key and range.
    """
    values = flatten(config)
    wrong = [
        f"{key}={_show(values[key])}: must be {allowed}"
        for key, allowed in KEYS.items()
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


def _is_protocol(override: str) -> bool:
    return override.removeprefix(PREFIX).partition("=")[0] == PROTOCOL


def _run(path: Path, protocol: str) -> ConfigDict:
    """Runs an experiment file with its own folder on the path, and restores path and modules.

    Args:
      path: the file.
      protocol: the one that was asked for; empty for the file's own.
    """
    folder = path.parent.resolve()
    modules_before = set(sys.modules)
    path_before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        module = _module(path)
        if not hasattr(module, "get_config"):
            raise UserError(f"{path} defines no get_config(): see jaxcap/experiment/defaults.py")
        config = _call(path, module.get_config, protocol)
        _check_keys(path, config)
        if protocol:
            config[PROTOCOL] = protocol
        return config
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # an experiment may raise anything, and SystemExit too
        where = _where(error, folder) or str(path)
        raise UserError(f"{where}: the experiment cannot be used: {_reason(error)}") from error
    finally:
        sys.path[:] = path_before
        # Another experiment's `import base` must find the base beside it, not this one.
        for name in set(sys.modules) - modules_before:
            if getattr(sys.modules[name], "__file__", None) == str(folder / f"{name}.py"):
                del sys.modules[name]


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


def _module(path: Path) -> ModuleType:
    """Imports the Python file at `path`."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: --config takes a Python file such as {EXAMPLE}")
    if not path.is_file():
        hint = f"--config takes one such as {EXAMPLE}"
        near = Path(f"{path}.py")
        if near.is_file():
            hint = f"did you mean {near}?"
        raise UserError(f"no experiment file at {path}: {hint}")
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file: --config takes one such as {EXAMPLE}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _check_keys(path: Path, config: Any) -> None:
    """Raises `UserError` unless `get_config` returned a config with the keys that jaxcap knows."""
    if type(config) is not ConfigDict:
        kind = "nothing" if config is None else f"a {type(config).__name__}"
        raise UserError(
            f"{path}: get_config() returns {kind}: let it end with `return config`, "
            "where config comes from base.get_config()"
        )
    found = flatten(config)
    unknown = [key for key in found if key not in KEYS]
    if unknown:
        raise UserError(f"{path} has an {_name_unknown(unknown[0])}")
    missing = [key for key in KEYS if key not in found]
    if missing:
        raise UserError(
            f"{path} lacks {len(missing)} of the keys, {missing[0]} among them: start from "
            "base.get_config()"
        )


def _name_unknown(key: str) -> str:
    nearest = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.0)[0]
    return (
        f"unknown config key {key!r}: did you mean {nearest!r}? "
        "(jaxcap/experiment/defaults.py lists every key)"
    )


def _where(error: BaseException, folder: Path) -> str:
    """Returns the user's file and line in which an error arose; empty where none is to blame."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return f"{error.filename}, line {error.lineno}"
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        # Python's own have names such as <frozen importlib>, which would lie in the current folder.
        if file.is_file() and file.resolve().parent == folder:
            where = f"{file}, line {frame.lineno}"
    return where


def _reason(error: BaseException) -> str:
    """Returns an error's kind and words in one line.

    ml_collections wraps its errors, lists all keys, and names the nearest in the last line.
    """
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    if isinstance(error, SyntaxError):
        text = error.msg
    else:
        text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    nearest = text.rpartition("\n")[2]
    if nearest.startswith("Did you mean"):
        text = nearest
    return " ".join(f"{type(error).__name__}: {text}".split()).removesuffix(":")


def _override(config: ConfigDict, argument: str) -> None:
    """Applies one `--config.KEY=VALUE` in place."""
    key, value = _parse_override(argument)
    section, _, name = key.rpartition(".")
    part = _section(config, section)
    with part.ignore_type():  # the range knows the type, whatever the file put there
        part[name] = value


def _parse_override(argument: str) -> tuple[str, Any]:
    """Reads one `--config.KEY=VALUE`."""
    key, equals, text = argument.removeprefix(PREFIX).partition("=")
    if key not in KEYS:
        raise UserError(_name_unknown(key))
    if not equals:
        raise UserError(f"{argument} has no value: it must be {KEYS[key]}")
    try:
        return key, KEYS[key].read(text)
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
