"""The curves of a training run as SVG: losses in nats per word, the lowest validation marked."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcap.figures.series import (
    drop_start,
    find_lowest,
    mean_points,
    mean_quarters,
    read_losses,
)
from jaxcap.report.markup import Markup, element, join

_LEFT = 38  # margins of the plot, in pixels
_RIGHT = 14
_TOP = 26
_BOTTOM = 36
_MOST_POINTS = 400  # more than a screen can tell apart


def draw_curves(metrics: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Draws the losses, for wide and for narrow screens, so that the lettering keeps its size.

    Args:
      metrics: records with "split" ("train" or "val"), "epoch" and "loss"; a record without a loss
        is left out.

    Returns:
      The figure, or None when there is no loss to draw.
    """
    train = read_losses(metrics, "train")
    val = read_losses(metrics, "val")
    if not len(train) and not len(val):
        return None
    legend = []
    if len(train):
        legend.append(element("span", "training, means of quarter epochs", class_="key train"))
    if len(val):
        epoch, loss = find_lowest(val)
        legend.append(element("span", "validation", class_="key val"))
        label = f"lowest: {loss:.3f} after epoch {epoch:g}"
        legend.append(element("span", label, class_="key best"))
    wide = _draw(train, val, 760, 320, "wide")
    narrow = _draw(train, val, 330, 260, "narrow")
    return element("figure", element("p", *legend, class_="legend"), wide, narrow, class_="curves")


def _draw(train: np.ndarray, val: np.ndarray, width: int, height: int, name: str) -> Markup:
    """Draws one size of the figure.

    Args:
      train: (epoch, loss) of training. [N, 2]
      val: (epoch, loss) of the validations. [M, 2]
      width: in pixels.
      height: in pixels.
      name: of the size.
    """
    quarters = mean_quarters(train)
    # At most so many points, the means of neighbours, show how much the loss jumps.
    bins = np.arange(len(train)) * _MOST_POINTS // max(len(train), _MOST_POINTS)
    faint = mean_points(train, bins)
    ticks_y = _loss_ticks(quarters, val)
    end = max(train[-1:, 0].max(initial=0), val[-1:, 0].max(initial=0)) or 1.0
    low = np.array([0, ticks_y[0]])
    high = np.array([end, ticks_y[-1]])
    bottom_left = np.array([_LEFT, height - _BOTTOM])
    top_right = np.array([width - _RIGHT, _TOP])

    def place(points: np.ndarray) -> np.ndarray:
        """Returns the pixels of (epoch, loss). [N, 2]"""
        return bottom_left + (points - low) / (high - low) * (top_right - bottom_left)

    axes = []
    for tick in ticks_y:
        y = place(np.array([[0, tick]]))[0, 1]
        axes.append(_grid_line(y, tick, width))
    for tick in _ticks(0, end, 8 if width > 500 else 5):
        if tick <= end and tick == round(tick):  # whole epochs
            x, y = place(np.array([[tick, ticks_y[0]]]))[0]
            axes.append(_text(f"{tick:g}", x, y + 18, text_anchor="middle"))
    axes.append(_text("nats per word", 0, 12))
    axes.append(_text("epochs", width - _RIGHT, height - 2, text_anchor="end"))
    lines = [
        _line(place(faint), "faint"),
        _line(place(quarters), "train"),
        _line(place(val), "val"),
    ]
    return element(
        "svg",
        _clip(width, height, name),
        *axes,
        element("g", *lines, clip_path=f"url(#plot-{name})"),
        _points(val, place(val)),
        viewBox=f"0 0 {width} {height}",
        class_=name,
        role="img",
        aria_label=_describe(train, val),
    )


def _loss_ticks(quarters: np.ndarray, val: np.ndarray) -> list[float]:
    """Returns the numbers at the axis of losses, chosen so that the later losses fill the plot."""
    shown = np.concatenate([drop_start(quarters)[:, 1], val[:, 1]])
    low = shown.min()
    high = shown.max()
    span = high - low or 1
    return _ticks(low - 0.12 * span, high + 0.08 * span, 5)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Returns round numbers from at most `low` to at least `high`, about `most` of them."""
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _clip(width: int, height: int, name: str) -> Markup:
    """Returns the frame that the first losses, too high for the plot, may not leave."""
    frame = element(
        "rect",
        x=_LEFT,
        y=_TOP - 4,
        width=width - _LEFT - _RIGHT + 8,
        height=height - _BOTTOM - _TOP + 8,
    )
    return element("clipPath", frame, id=f"plot-{name}")


def _grid_line(y: float, tick: float, width: int) -> Markup:
    """Draws a line of the grid with its number."""
    line = element("line", x1=_LEFT, x2=width - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid")
    return join(line, _text(f"{tick:g}", _LEFT - 8, y + 4, text_anchor="end"))


def _text(text: str, x: float, y: float, **attributes: Any) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)


def _line(points: np.ndarray, name: str) -> Markup | None:
    if not len(points):
        return None
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("polyline", points=path, class_=name)


def _points(val: np.ndarray, points: np.ndarray) -> Markup | None:
    """Draws a dot for each validation, with its number, and a ring around the lowest."""
    if not len(val):
        return None
    dots = []
    for (epoch, loss), (x, y) in zip(val, points, strict=True):
        title = element("title", f"epoch {epoch:g}: {loss:.3f}")  # shown when pointed at
        dots.append(element("circle", title, cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.2))
    x, y = points[val[:, 1].argmin()]
    ring = element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=8, class_="ring")
    return element("g", *dots, ring, class_="dots")


def _describe(train: np.ndarray, val: np.ndarray) -> str:
    """Returns the curves in words, for those who cannot see them."""
    parts = ["Losses in nats per word against epochs."]
    if len(train):
        epoch, loss = train[-1]
        parts.append(f"Training ends at {loss:.3f} after {epoch:.3g} epochs.")
    if len(val):
        epoch, loss = find_lowest(val)
        parts.append(
            f"Validation goes from {val[0, 1]:.3f} to its lowest, {loss:.3f}, after epoch "
            f"{epoch:g}."
        )
    return " ".join(parts)
