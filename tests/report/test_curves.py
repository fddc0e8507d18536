"""The curves of a training as SVG."""

import pytest

from jaxcap.report import curves
from tests.report.pages import Parsed, metrics


def test_the_lowest_validation_is_ringed_and_named():
    drawn = curves.draw_curves(metrics(best=3))
    assert "lowest: 2.500 after epoch 3" in drawn
    assert "to its lowest, 2.500, after epoch 3" in drawn
    shown = Parsed(drawn).elements
    ring = next(attributes for _, attributes in shown if attributes.get("class") == "ring")
    dots = [
        attributes for name, attributes in shown if name == "circle" and "class" not in attributes
    ]
    lowest = max(dots[:5], key=lambda dot: float(dot["cy"]))  # y grows downwards
    assert (ring["cx"], ring["cy"]) == (lowest["cx"], lowest["cy"])


@pytest.mark.parametrize(
    "records",
    [
        [{"split": "train", "epoch": 0.01, "loss": 3.0}],
        [{"split": "val", "epoch": 1, "loss": 3.0}],
        [{"split": "train", "epoch": 0.5, "loss": None}, {"split": "val", "epoch": 1, "loss": 3.0}],
        [{"split": "train", "epoch": e / 10, "loss": 3.0} for e in range(1, 5000)],
    ],
    ids=["one step", "one epoch", "a loss that is none", "constant"],
)
def test_curves_of_any_run_stay_inside_their_figure(records):
    drawn = Parsed(curves.draw_curves(records))
    assert drawn.count("svg") == 2
    points = [pair.split(",") for line in drawn.attributes("points") for pair in line.split()]
    points += [pair for pair in zip(drawn.attributes("cx"), drawn.attributes("cy"), strict=True)]
    assert points
    assert len(points) < 6000
    assert all(0 <= float(x) <= 760 and 0 <= float(y) <= 320 for x, y in points)


def test_without_a_loss_there_is_no_curve():
    assert curves.draw_curves([]) is None
    assert curves.draw_curves([{"split": "val", "epoch": 1, "loss": None}]) is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2.61, 2.63), (0, 0.004), (1.5, 11), (-3, 7)])
def test_ticks_are_few_round_numbers_around_the_range(low, high):
    ticks = curves._ticks(low, high, 5)
    assert ticks[0] <= low < high <= ticks[-1]
    assert 3 <= len(ticks) <= 8
    assert len({f"{tick:g}" for tick in ticks}) == len(ticks)
