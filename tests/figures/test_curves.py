"""The curves of a training as a picture."""

import subprocess
import sys

import pytest
from PIL import Image

from jaxcap.figures import curves
from jaxcap.figures.curves import write_curves
from jaxcap.figures.series import read_losses, read_series


def records(epochs=6, rate=True):
    for step in range(1, 20 * epochs + 1):
        numbers = {"step": step, "epoch": step / 20, "split": "train", "loss": 2 + 5 / step}
        yield numbers | ({"learning_rate": 1e-3} if rate else {})
        if step % 20 == 0:
            yield {
                "step": step,
                "epoch": step / 20,
                "split": "val",
                "loss": 2.5 + abs(step / 20 - 4) / 10,
            }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "metrics",
    [
        [],
        list(records()),
        list(records(rate=False)),
        list(records())[:3],
        [r for r in records() if r["split"] == "val"][:1],
        [r | {"loss": None} for r in records(2)],
    ],
    ids=["nothing", "whole", "no rate", "cut short", "one validation", "diverged"],
)
def test_curves_are_drawn_of_any_run(tmp_path, metrics):
    write_curves(metrics, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1200, 750)
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_the_lowest_validation_loss_is_marked():
    from matplotlib.figure import Figure

    panel = Figure().subplots()
    metrics = list(records())
    curves._draw_losses(
        panel,
        read_series(metrics, "train", "loss"),
        read_series(metrics, "val", "loss"),
    )
    (text,) = panel.texts
    assert text.get_text() == "lowest: 2.500 after epoch 4" and text.xy == (4, 2.5)


def test_drawing_curves_touches_no_state_that_all_of_matplotlib_shares(tmp_path):
    code = (
        "import sys; from jaxcap.figures.curves import write_curves;"
        f"write_curves([], {str(tmp_path / 'c.png')!r});"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_curves_are_of_nats_per_word_whatever_was_minimized():
    metrics = [
        {"split": "val", "epoch": 1, "loss": 0.4, "word_loss": 2.0},
        {"split": "train", "epoch": 1, "loss": 0.5, "word_loss": 2.5},
    ]
    assert read_losses(metrics, "val").tolist() == [[1, 2.0]]
    assert read_losses(metrics, "train").tolist() == [[1, 2.5]]
    plain = [{"split": "val", "epoch": 1, "loss": 3.0}]
    assert read_losses(plain, "val").tolist() == [[1, 3.0]]
