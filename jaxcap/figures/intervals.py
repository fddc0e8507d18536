"""Means with their intervals as one picture: a dot and a line for each arm."""

import io
import os
from collections.abc import Sequence
from typing import NamedTuple

from jaxcap.io.files import write_atomically
from jaxcap.scores.intervals import Estimate

_MEAN = "#2a5cd4"
_EACH = "#c46000"
_FIRST = "#777777"
_HEIGHT = 0.35  # inches of a line


class Line(NamedTuple):
    """An arm: its name, mean, interval, and the scores of its seeds."""

    name: str
    value: float
    low: float
    high: float
    each: Sequence[float]


def make_line(name: str, estimate: Estimate, each: Sequence[float] = ()) -> Line:
    """Makes the line of an arm, in hundredths as papers print scores.

    Args:
      name: of the arm.
      estimate: its score.
      each: the scores of its seeds.
    """
    low, high = 100 * estimate.low, 100 * estimate.high
    return Line(name, 100 * estimate.value, low, high, [100 * value for value in each])


def write_intervals(
    lines: Sequence[Line], path: os.PathLike | str, *, label: str, note: str = ""
) -> None:
    """Draws each arm's mean with its interval, the first arm on top, and the seeds as small dots.

    Args:
      lines: the arms.
      path: the PNG to write.
      label: of the axis.
      note: stands above.
    """
    # Here, because it takes a moment to import; no pyplot, so no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + _HEIGHT * len(lines)), dpi=150, layout="constrained")
    panel = figure.subplots()
    panel.axvline(lines[0].value, color=_FIRST, linewidth=0.8, linestyle=":")
    for row, line in enumerate(lines):
        panel.plot([line.low, line.high], [row, row], color=_MEAN, linewidth=2)
        panel.plot(line.value, row, color=_MEAN, marker="o", markersize=6)
        below = [row + 0.22] * len(line.each)
        panel.plot(line.each, below, color=_EACH, marker=".", markersize=5, linestyle="none")
    panel.set_yticks(range(len(lines)), [line.name for line in lines])
    panel.set(xlabel=label, ylim=(len(lines) - 0.4, -0.6))
    panel.set_title(note, fontsize="small", loc="left")
    panel.grid(axis="x", alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    write_atomically(path, file.getvalue())
