"""Runs a Python file of the user's, as experiments are; its mistakes end in one line."""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from jaxcap.errors import UserError

T = TypeVar("T")


def use_file(path: Path, use: Callable[[ModuleType], T], example: str) -> T:
    """Runs a file with its own folder on the path, and restores path and modules afterwards.

    Args:
      path: the file; it may import its neighbours.
      use: takes what is wanted from the module, while its neighbours can still be imported.
      example: such a file, for messages.

    Raises:
      UserError: there is no such file, or it fails; the user's file and line are named.
    """
    folder = path.parent.resolve()
    modules_before = set(sys.modules)
    path_before = list(sys.path)
    writes_before = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    # Python takes what it has kept for a file that was changed within the second, and is as long.
    sys.dont_write_bytecode = True
    try:
        return use(_import(path, example))
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # an experiment may raise anything, and SystemExit too
        where = _where(error, folder) or str(path)
        raise UserError(f"{where}: the experiment cannot be used: {_reason(error)}") from error
    finally:
        sys.path[:] = path_before
        sys.dont_write_bytecode = writes_before
        # Another experiment's `import base` must find the base beside it, not this one.
        for name in set(sys.modules) - modules_before:
            if getattr(sys.modules[name], "__file__", None) == str(folder / f"{name}.py"):
                del sys.modules[name]


def _import(path: Path, example: str) -> ModuleType:
    """Imports the Python file at `path`."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: --config takes a Python file such as {example}")
    if not path.is_file():
        hint = f"--config takes one such as {example}"
        near = Path(f"{path}.py")
        if near.is_file():
            hint = f"did you mean {near}?"
        raise UserError(f"no experiment file at {path}: {hint}")
    spec = importlib.util.spec_from_file_location(f"experiment_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file: --config takes one such as {example}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
