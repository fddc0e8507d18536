"""Configs: an experiment file plus what the command line overrides, and the JSON that a workdir keeps of both."""

import ast
import difflib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.errors import UserError

PREFIX = "--config."


def load(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Runs the experiment file at `path` and applies `--config.KEY=VALUE` overrides in their order.

    Args:
      path: a Python file that defines `get_config()`; it may import its neighbours (`import base`).
      overrides: arguments as typed, each `--config.KEY=VALUE`.

    Returns:
      The config, locked and frozen in its types.

    Raises:
      UserError: no such file, no `get_config`, an unknown key (with the nearest one) or a value of another type.
    """
    config = _run(Path(path))
    for override in overrides:
        _override(config, override)
    return config.lock()


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns `{"train.batch_size": 64, ...}`, one entry a leaf."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def to_json(config: ConfigDict) -> str:
    """Returns the config as indented JSON, its keys in the order in which they were written."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
    """Reads back what `to_json` wrote (lists become tuples again)."""
    return ConfigDict(_tuples(json.loads(text)), sort_keys=False).lock()


def differences(old: ConfigDict, new: ConfigDict) -> list[str]:
    """Returns one `key: old -> new` for every leaf in which two configs differ."""
    before, after = flatten(old), flatten(new)
    absent = "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, absent) != after.get(key, absent)
    ]


def _run(path: Path) -> ConfigDict:
    """Runs an experiment file with its own folder on the path, and leaves no trace of its neighbours."""
    if not path.is_file():
        raise UserError(f"no experiment file at {path}: --config takes a Python file such as experiments/quickstart.py")
    before, path_before = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise UserError(f"{path} is no Python file: --config takes one such as experiments/quickstart.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise UserError(f"{path} defines no get_config(): see experiments/base.py")
        return module.get_config()
    except (AttributeError, KeyError, TypeError, ValueError, SyntaxError, ImportError) as error:
        raise UserError(f"{path} cannot be used as an experiment: {_reason(error)}") from error
    finally:
        sys.path[:] = path_before
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", None) == str(path.parent.resolve() / f"{name}.py"):
                del sys.modules[name]


def _reason(error: BaseException) -> str:
    """Returns what an error says in one line; ml_collections wraps its errors and names the nearest key last."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    return (str(error.args[0] if error.args else error).splitlines() or [type(error).__name__])[-1]


def _override(config: ConfigDict, argument: str) -> None:
    """Applies one `--config.KEY=VALUE` in place."""
    key, equals, text = argument.removeprefix(PREFIX).partition("=")
    known = flatten(config)
    if key not in known:
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
        raise UserError(f"unknown config key {key!r}: did you mean {nearest!r}? (experiments/base.py lists every key)")
    if not equals:
        raise UserError(f"{argument} has no value: write {PREFIX}{key}=VALUE (now {known[key]!r})")
    section, _, name = key.rpartition(".")
    _section(config, section)[name] = _parse(key, text, known[key])


def _tuples(value: Any) -> Any:
    """JSON has only lists; a config has only tuples."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _section(config: ConfigDict, dotted: str) -> ConfigDict:
    for part in filter(None, dotted.split(".")):
        config = config[part]
    return config


def _parse(key: str, text: str, present: Any) -> Any:
    """Reads `text` as a value of the type that the key has now."""
    try:
        if isinstance(present, bool):
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if isinstance(present, str):
            return text
        if isinstance(present, tuple):
            if text[:1] not in "([" and isinstance(present[0], str):
                return tuple(text.split(","))
            value = ast.literal_eval(text if text[:1] in "([" else f"({text},)")
            if present and not all(isinstance(item, type(present[0])) for item in value):
                raise ValueError
            return tuple(value)
        return type(present)(text)
    except (KeyError, ValueError, SyntaxError):
        kind = type(present).__name__
        raise UserError(f"{PREFIX}{key}={text}: not a {kind}; its value now is {present!r}") from None
