"""The curves of a training run as SVG: losses in nats per word against epochs, the lowest
validation marked.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcap.report.markup import Markup, element, join

_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 14, 26, 36
_MOST_POINTS = 400  # more than a screen can tell apart


def curves(metrics: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Draws the losses, once for wide and once for narrow screens, so that the lettering keeps its
    size.

    Args:
      metrics: records with "split" ("train" or "val"), "epoch" and "loss"; a record without a loss
        is left out.

    Returns:
      The figure, or None when there is no loss to draw.
    """
    train, val = _series(metrics, "train"), _series(metrics, "val")
    if not len(train) and not len(val):
        return None
    keys = [("train", "training, means of quarter epochs", train), ("val", "validation", val)]
    legend = [
        element("span", text, class_=f"key {name}") for name, text, series in keys if len(series)
    ]
    if len(val):
        epoch, loss = val[val[:, 1].argmin()]
        legend.append(
            element("span", f"lowest: {loss:.3f} after epoch {epoch:g}", class_="key best")
        )
    drawn = [_draw(train, val, 760, 320, "wide"), _draw(train, val, 330, 260, "narrow")]
    return element("figure", element("p", *legend, class_="legend"), *drawn, class_="curves")


def _series(metrics: Sequence[Mapping[str, Any]], split: str) -> np.ndarray:
    """Returns (epoch, loss) of the records of a split. [N, 2]"""
    pairs = [
        (r["epoch"], r["loss"])
        for r in metrics
        if r.get("split") == split and r.get("loss") is not None
    ]
    return np.array(pairs, np.float64).reshape(-1, 2)


def _means(series: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Returns the mean point of each bin. [bins, 2]"""
    return np.array([series[bins == number].mean(0) for number in np.unique(bins)]).reshape(-1, 2)


def _draw(train: np.ndarray, val: np.ndarray, width: int, height: int, name: str) -> Markup:
    quarters = _means(train, np.ceil(train[:, 0] * 4))
    faint = _means(train, np.arange(len(train)) * _MOST_POINTS // max(len(train), _MOST_POINTS))
    # The first steps fall from ln(V) and would press everything else to the floor.
    settled = quarters[quarters[:, 0] >= min(1, train[-1:, 0].max(initial=0) / 2)]
    shown = np.concatenate([settled[:, 1], val[:, 1]])
    low, high = shown.min(), shown.max()
    ticks_y = _ticks(low - 0.12 * (high - low or 1), high + 0.08 * (high - low or 1), 5)
    end = max(train[-1:, 0].max(initial=0), val[-1:, 0].max(initial=0)) or 1.0
    span = np.array([[0, ticks_y[0]], [end, ticks_y[-1]]])
    corners = np.array([[_LEFT, height - _BOTTOM], [width - _RIGHT, _TOP]])

    def place(points: np.ndarray) -> np.ndarray:
        return corners[0] + (points - span[0]) / (span[1] - span[0]) * (corners[1] - corners[0])

    ticks_x = [
        tick
        for tick in _ticks(0, end, 8 if width > 500 else 5)
        if tick <= end and tick == round(tick)
    ]
    axes = [_across(place(np.array([[0, tick]]))[0, 1], tick, width) for tick in ticks_y]
    axes += [
        _text(
            f"{tick:g}", *place(np.array([[tick, ticks_y[0]]]))[0] + (0, 18), text_anchor="middle"
        )
        for tick in ticks_x
    ]
    axes.append(_text("nats per word", 0, 12))
    axes.append(_text("epochs", width - _RIGHT, height - 2, text_anchor="end"))
    frame = element(
        "rect",
        x=_LEFT,
        y=_TOP - 4,
        width=width - _LEFT - _RIGHT + 8,
        height=height - _BOTTOM - _TOP + 8,
    )
    clip = element("clipPath", frame, id=f"plot-{name}")
    lines = [
        _line(place(faint), "faint"),
        _line(place(quarters), "train"),
        _line(place(val), "val"),
    ]
    lines = element("g", *lines, clip_path=f"url(#plot-{name})")
    return element(
        "svg",
        clip,
        *axes,
        lines,
        _points(val, place(val)),
        viewBox=f"0 0 {width} {height}",
        class_=name,
        role="img",
        aria_label=_said(train, val),
    )


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Returns round numbers from at most `low` to at least `high`, about `most` of them."""
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def _across(y: float, tick: float, width: int) -> Markup:
    """Draws a line of the grid with its number."""
    line = element("line", x1=_LEFT, x2=width - _RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid")
    return join(line, _text(f"{tick:g}", _LEFT - 8, y + 4, text_anchor="end"))


def _text(text: str, x: float, y: float, **attributes: Any) -> Markup:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", **attributes)


def _line(points: np.ndarray, name: str) -> Markup | None:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("polyline", points=path, class_=name) if len(points) else None


def _points(val: np.ndarray, points: np.ndarray) -> Markup | None:
    """Draws a dot for each validation, which names its number when pointed at, and a ring around
    the lowest.
    """
    if not len(val):
        return None
    dots = [
        element(
            "circle",
            element("title", f"epoch {epoch:g}: {loss:.3f}"),
            cx=f"{x:.1f}",
            cy=f"{y:.1f}",
            r=3.2,
        )
        for (epoch, loss), (x, y) in zip(val, points, strict=True)
    ]
    x, y = points[val[:, 1].argmin()]
    ring = element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=8, class_="ring")
    return element("g", *dots, ring, class_="dots")


def _said(train: np.ndarray, val: np.ndarray) -> str:
    """Says the curves in a sentence."""
    parts = ["Losses in nats per word against epochs."]
    if len(train):
        parts.append(f"Training ends at {train[-1, 1]:.3f} after {train[-1, 0]:.3g} epochs.")
    if len(val):
        epoch, loss = val[val[:, 1].argmin()]
        parts.append(
            f"Validation goes from {val[0, 1]:.3f} to its lowest, {loss:.3f}, after epoch "
            f"{epoch:g}."
        )
    return " ".join(parts)
