"""The parts of a table: rows, cells, numbers with their intervals, and bars."""

import math
from collections.abc import Sequence
from typing import Any

from jaxcap.report.markup import Markup, element, join, number
from jaxcap.scores.intervals import Estimate


def draw_table(
    heads: Sequence[Markup], rows: Sequence[Markup], class_: str, caption: str
) -> Markup:
    """Draws a table.

    Args:
      heads: from `draw_head`.
      rows: from `draw_row`.
      class_: of the style sheet.
      caption: above the table, read aloud.
    """
    # The roles are written out, because a narrow screen lays the cells out anew and browsers then
    # forget them.
    head = element("thead", element("tr", *heads, role="row"), role="rowgroup")
    body = element("tbody", *rows, role="rowgroup")
    return element("table", element("caption", caption), head, body, class_=class_, role="table")


def draw_row(*cells: Markup) -> Markup:
    """Draws one row of a table."""
    return element("tr", *cells, role="row")


def draw_head(text: str, class_: str | None = None, mark: str | None = None) -> Markup:
    """Draws the head of a column; `mark` is the class of its sign in the bars."""
    content = element("span", text, class_=mark) if mark else text
    return element("th", content, scope="col", role="columnheader", class_=class_)


def draw_row_head(title: str, about: str | None = None) -> Markup:
    """Draws the head of a row, with how to read it."""
    note = element("span", about, class_="note") if about else None
    return element("th", title, note, scope="row", role="rowheader")


def draw_cell(content: Any, class_: str | None = None, label: str | None = None) -> Markup:
    """Draws a cell; `label` names its column on narrow screens."""
    return element("td", content, role="cell", class_=class_, data_label=label)


def format_interval(score: Estimate) -> str | None:
    """Returns a score's interval times 100; None where there is none."""
    if math.isnan(score.low) or math.isnan(score.high):
        return None
    return f"{number(score.low, times=100)} – {number(score.high, times=100)}"


def draw_estimate(score: Estimate) -> Markup:
    """Draws a value times 100 with its interval, where there is one."""
    value = element("strong", number(score.value, times=100))
    interval = format_interval(score)
    if interval is None:
        return value
    return join(value, " ", element("span", interval, class_="interval"))


def draw_bar(score: Estimate, others: Sequence[float] = (), most: float | None = None) -> Markup:
    """Draws a value from 0, its interval across the bar's end, and a mark for each of the others.

    Args:
      score: the value and its interval; NaN is not drawn.
      others: values to mark; NaN is not drawn.
      most: the value at the bar's right end; by default a little more than all that is drawn.
    """
    if most is None:
        ends = [end for end in (score.value, score.high, *others) if not math.isnan(end)]
        most = 1.04 * max(ends, default=0)
    full = most or 1

    def place(value: float) -> str:
        return f"{100 * min(max(value / full, 0), 1):.2f}%"

    parts = [element("rect", x=0, y=8, width="100%", height=6, rx=1.5, class_="track")]
    if not math.isnan(score.value):
        width = place(score.value)
        parts.append(element("rect", x=0, y=8, width=width, height=6, rx=1.5, class_="value"))
    for i, other in enumerate(others):
        if not math.isnan(other):
            x = place(other)
            parts.append(element("line", x1=x, x2=x, y1=4, y2=18, class_=f"tick b{i}"))
    if format_interval(score):
        low = place(score.low)
        high = place(score.high)
        parts.append(element("line", x1=low, x2=high, y1=11, y2=11, class_="interval"))
        for x in (low, high):
            parts.append(element("line", x1=x, x2=x, y1=6, y2=16, class_="interval"))
    return element("svg", *parts, width="100%", height=22, class_="bar", aria_hidden="true")
