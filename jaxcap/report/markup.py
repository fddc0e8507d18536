"""HTML as nested calls. Text is escaped unless it is markup already, so that no caption can become
part of the page.
"""

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
    written = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None
    )
    return Markup(f"<{name}{written}>" + ("" if name in _VOID else f"{join(*children)}</{name}>"))


def join(*children: Any) -> Markup:
    """Writes children one after another, each escaped unless it is markup."""
    return Markup("".join(map(_escaped, children)))


def _escaped(child: Any) -> str:
    if child is None or isinstance(child, Markup):
        return child or ""
    return html.escape(str(child))


def _attribute(key: str, value: Any) -> str:
    key = key.rstrip("_").replace("_", "-")
    if isinstance(value, bool):
        return f" {key}" if value else ""
    return f' {key}="{html.escape(str(value))}"'


def number(value: Any, form: str = ".1f", times: float = 1.0) -> str:
    """Writes a number with a true minus, or a dash where there is none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return format(value * times, form).replace("-", "−")
