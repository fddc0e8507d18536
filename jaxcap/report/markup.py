"""HTML as nested calls; text is escaped unless it is markup, so that none breaks a page."""

import html
import math
from typing import Any

_VOID = ("br", "img")  # elements without an end


class Markup(str):
    """Text that is HTML already."""


def element(name: str, *children: Any, **attributes: Any) -> Markup:
    """Writes one element.

    Args:
      name: of the element.
      *children: markup, or text to escape; None is left out.
      **attributes: "class_" stands for class and "aria_label" for aria-label; None and False are
        left out, True stands without a value.

    Returns:
      The element.
    """
    written = ""
    for key, value in attributes.items():
        if value is not None:
            written += _write_attribute(key, value)
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Any) -> Markup:
    """Writes children one after another, each escaped unless it is markup; None is left out."""
    return Markup("".join(_escape(child) for child in children if child is not None))


def number(value: float | None, form: str = ".1f", times: float = 1.0) -> str:
    """Writes a number with a true minus, or a dash where there is none.

    Args:
      value: the number; None, NaN and infinities are none.
      form: a format of Python.
      times: what the number is multiplied by.
    """
    if value is None or not math.isfinite(value):
        return "–"
    return format(value * times, form).replace("-", "−")


def _escape(child: Any) -> str:
    return child if isinstance(child, Markup) else html.escape(str(child))


def _write_attribute(key: str, value: Any) -> str:
    key = key.rstrip("_").replace("_", "-")
    if isinstance(value, bool):
        return f" {key}" if value else ""
    return f' {key}="{html.escape(str(value))}"'
