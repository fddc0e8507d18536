"""The curves of a training as one picture."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcap.figures.series import (
    drop_start,
    find_lowest,
    mean_quarters,
    read_losses,
    read_series,
)
from jaxcap.io.files import write_atomically

_TRAIN = "#c46000"
_FAINT = "#e0a060"
_VAL = "#2a5cd4"
_RATE = "#777777"


def write_curves(metrics: Sequence[Mapping[str, Any]], path: os.PathLike | str) -> None:
    """Draws a run's losses against epochs, and its learning rate below when that was recorded.

    Args:
      metrics: records with "split" ("train" or "val"), "epoch" (epochs done, with fractions) and
        "loss" in nats per word; a record whose loss is null is left out.
      path: the PNG to write.
    """
    # Here, because it takes a moment to import; no pyplot, so no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    rates = read_series(metrics, "train", "learning_rate")
    heights = [4, 1] if len(rates) else [4]
    panels = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    _draw_losses(panels[0], read_losses(metrics, "train"), read_losses(metrics, "val"))
    if len(rates):
        panels[1].plot(*rates.T, color=_RATE, linewidth=1.2)
        panels[1].set(ylabel="learning rate", ylim=(0, None))
        panels[1].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for panel in panels:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set(xlabel="epochs", xlim=(0, None))
    file = io.BytesIO()
    figure.savefig(file, format="png")
    write_atomically(path, file.getvalue())


def _draw_losses(panel: Any, train: np.ndarray, val: np.ndarray) -> None:
    """Draws the training loss, its means, and the validation loss with its lowest marked."""
    panel.set(ylabel="loss (nats per word)")
    means = mean_quarters(train)
    if len(train):
        panel.plot(*train.T, color=_FAINT, alpha=0.35, linewidth=0.8)
        panel.plot(
            *means.T, color=_TRAIN, linewidth=1.6, label="training (means of quarter epochs)"
        )
    if len(val):
        panel.plot(*val.T, color=_VAL, marker="o", markersize=4, linewidth=1.6, label="validation")
        epoch, lowest = find_lowest(val)
        ring = {"marker": "o", "markersize": 11, "markerfacecolor": "none"}
        panel.plot(epoch, lowest, **ring, markeredgecolor=_VAL)
        # A label at the end of the curve would leave the picture.
        side = "right" if epoch > 0.7 * val[-1, 0] else "center"
        label = f"lowest: {lowest:.3f} after epoch {epoch:g}"
        panel.annotate(label, (epoch, lowest), (0, 14), textcoords="offset points", ha=side)
        later = drop_start(means)[:, 1]
        panel.set_ylim(top=1.05 * max(val[:, 1].max(), later.max(initial=0)))
    if len(train) or len(val):
        panel.legend(frameon=False, loc="upper right")
