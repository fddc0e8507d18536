"""Text and JSON that every reader accepts: names in UTF-8 and on one line, no NaN."""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def name(path: os.PathLike | str) -> str:
    r"""Returns a path as UTF-8 holds it: bytes that are none stand as \xHH."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def line(path: os.PathLike | str) -> str:
    r"""Returns `name(path)` as it is printed: on one line, a line break in it as \n."""
    return _CONTROLS.sub(_escape, name(path))


def list_some(items: Sequence[str], most: int = 4) -> str:
    """Joins the first few of `items` for a message, and marks that there are more."""
    more = ", ..." if len(items) > most else ""
    return ", ".join(items[:most]) + more


def format_bytes(count: int) -> str:
    """Returns a number of bytes as people read it: "1.25 GB", or below 1e9 "3.4 MB"."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def values(value: Any) -> Any:
    """Returns nested dicts and lists as JSON has them: Python's scalars, no NaN or infinity.

    Scalars of NumPy and JAX become Python's numbers, NaN and infinity None.
    """
    if isinstance(value, Mapping):
        return {key: values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [values(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Writes nested dicts, lists, strings and numbers as strict JSON (see `values`).

    Args:
      value: what to write.
      indent: spaces a level; None for one line.
      ascii_only: escape all other letters, so that a terminal of any encoding can hold it.
    """
    return json.dumps(values(value), indent=indent, ensure_ascii=ascii_only, allow_nan=False)


def _escape(found: re.Match[str]) -> str:
    """Returns a control character as Python writes it in a string."""
    return ascii(found[0])[1:-1]
