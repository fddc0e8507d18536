"""The curves of a training as one picture."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxcap.io.files import write_atomically


def curves(metrics: Sequence[Mapping[str, Any]], path: os.PathLike | str) -> None:
    """Draws a run's losses in nats per word against epochs, and its learning rate below when that
    was recorded.

    Args:
      metrics: records with "split" ("train" or "val"), "epoch" (epochs done, with fractions) and
        "loss"; a record whose loss is null is left out.
      path: the PNG to write.
    """
    from matplotlib.figure import (
        Figure,
    )  # here, because it takes a moment to import; no pyplot, so no global state

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    rates = _series(metrics, "train", "learning_rate")
    panels = figure.subplots(
        2 if len(rates) else 1,
        sharex=True,
        squeeze=False,
        height_ratios=[4, 1][: 1 + bool(len(rates))],
    )
    _draw_losses(panels[0, 0], _series(metrics, "train", "loss"), _series(metrics, "val", "loss"))
    if len(rates):
        panels[1, 0].plot(*rates.T, color="#777777", linewidth=1.2)
        panels[1, 0].set(ylabel="learning rate", ylim=(0, None))
        panels[1, 0].ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for panel in panels[:, 0]:
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set(xlabel="epochs", xlim=(0, None))
    file = io.BytesIO()
    figure.savefig(file, format="png")
    write_atomically(path, file.getvalue())


def _series(metrics: Sequence[Mapping[str, Any]], split: str, name: str) -> np.ndarray:
    """Returns (epoch, value) of the records of a split that have the value. [N, 2]"""
    pairs = [
        (r["epoch"], r[name])
        for r in metrics
        if r.get("split") == split and r.get(name) is not None
    ]
    return np.array(pairs, np.float64).reshape(-1, 2)


def _draw_losses(panel: Any, train: np.ndarray, val: np.ndarray) -> None:
    """Draws the training loss, its means, and the validation loss with its lowest marked."""
    panel.set(ylabel="loss (nats per word)")
    quarters = np.floor(train[:, 0] * 4)
    means = np.array(
        [train[quarters == quarter].mean(0) for quarter in np.unique(quarters)]
    ).reshape(-1, 2)
    if len(train):
        panel.plot(*train.T, color="#e0a060", alpha=0.35, linewidth=0.8)
        panel.plot(
            *means.T, color="#c46000", linewidth=1.6, label="training (means of quarter epochs)"
        )
    if len(val):
        epoch, lowest = val[val[:, 1].argmin()]
        panel.plot(
            *val.T, color="#2a5cd4", marker="o", markersize=4, linewidth=1.6, label="validation"
        )
        panel.plot(
            epoch, lowest, "o", markersize=11, markerfacecolor="none", markeredgecolor="#2a5cd4"
        )
        side = "right" if epoch > 0.7 * val[-1, 0] else "center"
        said = f"lowest: {lowest:.3f} after epoch {epoch:g}"
        panel.annotate(said, (epoch, lowest), (0, 14), textcoords="offset points", ha=side)
        # The first steps fall from ln(V) and would press everything else to the floor.
        later = means[means[:, 0] >= min(0.5, val[0, 0]), 1]
        panel.set_ylim(top=1.05 * max(val[:, 1].max(), later.max(initial=0)))
    if len(train) or len(val):
        panel.legend(frameon=False, loc="upper right")
