"""Each check of a result finds its fault by name, and nothing in a sound one."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.checks import outcome
from jaxcap.scores.intervals import Estimate

VARIED = [[f"word{number}", "here"] for number in range(20)]


def test_one_caption_for_more_than_a_tenth_of_the_photos_is_found():
    assert outcome.check_variety(VARIED) is None
    assert outcome.check_variety([VARIED[0], *VARIED[:19]]) is None  # 2 of 20: a tenth
    finding = outcome.check_variety([VARIED[0], VARIED[0], *VARIED[:18]])
    assert finding.name == "one-caption"
    assert finding.found == '3 of 20 photos have the caption "word0 here"'


def test_a_tenth_of_a_few_photos_is_none():
    assert outcome.check_variety([["a"]] * 9) is None
    assert outcome.check_variety([["a"]] * 10) is not None


def test_captions_that_fill_all_positions_never_end():
    """Of 5 positions one is the start's, so that a caption of 3 words can have ended."""
    assert outcome.check_ends([["a"] * 3] * 10, 5) is None
    assert outcome.check_ends([["a"] * 4, *[["a"]] * 9], 5) is None
    assert outcome.check_ends([["a"] * 4, ["b"] * 4, *[["a"]] * 8], 5).name == "never-ends"
    assert outcome.check_ends([], 5) is None


def test_attention_that_stays_where_it_is_is_found():
    still = np.full((4, 5), 0.2)
    moving = np.eye(5)[:4]
    assert outcome.measure_change([moving]) == 1
    assert outcome.check_attention(outcome.measure_change([still, moving])) is None
    assert outcome.check_attention(outcome.measure_change([still])).name == "attention-still"
    # One word has no next one.
    assert outcome.check_attention(outcome.measure_change([still[:1]])) is None


def test_a_score_no_better_than_a_baseline_is_named_with_it():
    scores = {"BLEU-4": 0.2, "CIDEr-D": 0.5}
    floor = {"shuffled": {"BLEU-4": 0.1, "CIDEr-D": 0.1}}
    assert outcome.check_floor(scores, floor) is None
    assert outcome.check_floor(scores, {}) is None
    floor["most common"] = {"BLEU-4": 0.3, "CIDEr-D": 0.4}
    finding = outcome.check_floor(scores, floor)
    assert finding.name == "below-baselines"
    assert finding.found.endswith(": BLEU-4 20.0 (most common: 30.0)")


@pytest.mark.parametrize(
    ("losses", "fires"),
    [
        ([3, 2, 1], False),
        ([1, 2, 3], False),
        ([1, 2, 3, 4], True),
        ([5, 1, 2, 3, 4], True),
        ([1, 2, 3, 4, 3.5], False),
        ([1, 1, 1, 1, 1], False),
        ([], False),
    ],
)
def test_a_validation_that_rises_for_three_epochs_is_overfitting(losses, fires):
    records = [{"split": "train", "loss": 0.1}]
    records += [{"split": "val", "loss": loss} for loss in losses]
    finding = outcome.check_history(records, "loss")
    assert (finding is not None) is fires
    assert finding is None or finding.name == "overfitting"


def test_overfitting_is_told_by_what_selects():
    """The loss of a model may rise while the score that selects it rises too."""
    records = []
    for epoch in range(5):
        records.append({"split": "val", "loss": 1 + epoch, "CIDEr-D": 0.1 * epoch})
    assert outcome.check_history(records, "CIDEr-D") is None
    for record in records:
        record["CIDEr-D"] = -record["CIDEr-D"]
    assert outcome.check_history(records, "CIDEr-D").name == "overfitting"


def test_a_frozen_parameter_that_moved_by_a_bit_is_named():
    saved = {"encoder": {"kernel": jnp.ones(3), "bias": jnp.zeros(2)}}
    assert outcome.check_frozen(saved, {"encoder": dict(saved["encoder"])}) is None
    moved = {"encoder": {"kernel": jnp.nextafter(jnp.ones(3), 2.0), "bias": jnp.zeros(2)}}
    finding = outcome.check_frozen(saved, moved)
    assert finding.name == "encoder-moves"
    assert "1 frozen parameters" in finding.found and "(encoder/kernel)" in finding.found


@pytest.mark.parametrize(
    ("difference", "fires"),
    [
        (Estimate(0.1, 0.08, 0.12), False),
        (Estimate(-0.1, -0.12, -0.08), False),
        (Estimate(0.1, -0.01, 0.2), True),
        (Estimate(0.1, 0.01, 0.19), True),
    ],
)
def test_a_difference_must_be_larger_than_its_interval(difference, fires):
    finding = outcome.check_differences("x", "y", {"CIDEr-D": difference})
    assert (finding is not None) is fires
    assert finding is None or finding.name == "interval-too-wide"
