"""Whether attention lies on the objects that are named, on cases whose answer is known."""

import numpy as np
import pytest

from jaxcap.scores import attention, grounding
from jaxcap.scores.grounding import (
    attention_gains,
    cell_coverage,
    count_correct,
    find_named_objects,
)
from tests.scores.maps import GRID, even, random_maps, spot


def words(*captions):
    return [caption.split() for caption in captions]


CORNER = {"shape": "circle", "colour": "red", "box": (0, 0, 2 / 7, 2 / 7)}
MIDDLE = {"shape": "star", "colour": "blue", "box": (3 / 7, 3 / 7, 4 / 7, 4 / 7)}


def grounded(maps, caption, objects, grid=GRID):
    rows = grounding.statistics([maps], [caption.split()], [objects], grid)
    return dict(zip(grounding.NAMES, attention.from_statistics(rows.sum(0)), strict=True))


def test_attention_inside_the_named_objects_box_wins_everything():
    maps = np.concatenate([even(2), spot(1, 1)])
    result = grounded(maps, "a red circle", [CORNER, MIDDLE])
    assert result["pointing"] == 1 and result["mass"] == pytest.approx(1)
    assert result["pointing_centre"] == 0 and result["mass_centre"] == 0


def test_attention_elsewhere_wins_nothing():
    result = grounded(np.concatenate([even(2), spot(6, 6)]), "a red circle", [CORNER, MIDDLE])
    assert result["pointing"] == 0 and result["mass"] == 0


def test_even_attention_wins_exactly_what_the_uniform_baseline_wins():
    result = grounded(even(6), "a red circle and a star", [CORNER, MIDDLE])
    assert result["pointing"] == pytest.approx(result["pointing_uniform"])
    assert result["mass"] == pytest.approx(result["mass_uniform"])
    assert result["pointing_uniform"] == pytest.approx((4 / 49 + 1 / 49) / 2)
    assert result["mass_uniform"] == pytest.approx((4 / 49 + 1 / 49) / 2)


def test_an_object_in_the_middle_is_won_by_the_centre_baseline():
    result = grounded(even(2), "a star", [MIDDLE])
    assert result["pointing_centre"] == 1 and result["mass_centre"] == pytest.approx(1)


def test_an_even_grid_has_four_centres():
    box = {"shape": "star", "colour": "blue", "box": (0.5, 0.5, 1, 1)}  # one of the four
    result = grounded(np.full((2, 64), 1 / 64), "a star", [box], grid=(8, 8))
    assert result["pointing_centre"] == pytest.approx(0.25) and result[
        "mass_centre"
    ] == pytest.approx(0.25)


def test_of_two_alike_the_colour_says_which_is_meant():
    twin = CORNER | {"colour": "green", "box": (5 / 7, 5 / 7, 1, 1)}
    maps = np.concatenate([even(2), spot(6, 6)])
    assert grounded(maps, "a green circle", [CORNER, twin])["pointing"] == 1
    assert grounded(maps, "a red circle", [CORNER, twin])["pointing"] == 0


def test_the_mass_is_the_attention_over_the_boxs_pixels():
    """Brute force: the map drawn with 100 pixels a region, summed over the pixels inside the
    box.
    """
    thing = {"shape": "star", "colour": "red", "box": (0.13, 0.4, 0.58, 0.93)}
    maps = random_maps(2, seed=3)
    pixels = np.kron(maps[1].reshape(GRID), np.ones((100, 100))) / 10_000
    inside = np.zeros((700, 700), bool)
    inside[91:406, 280:651] = True
    assert grounded(maps, "a star", [thing])["mass"] == pytest.approx(
        pixels[inside].sum(), abs=1e-9
    )


def test_captions_that_name_nothing_leave_no_score_rather_than_zero():
    rows = grounding.statistics(
        [even(2), even(2)], words("a dog", "a star"), [[CORNER], [CORNER]], GRID
    )
    assert rows.sum() == 0
    assert np.isnan(attention.from_statistics(rows.sum(0))).all()


def test_objects_are_read_from_both_kinds_of_grammar_and_from_broken_captions():
    assert find_named_objects(
        ["the", "small", "star", "is", "red", "and", "a", "big", "blue", "square"]
    ) == [
        (2, "star", "red"),
        (9, "square", "blue"),
    ]
    assert find_named_objects(["a", "star", "and", "a", "circle", "is"]) == [
        (1, "star", ""),
        (4, "circle", ""),
    ]
    assert find_named_objects([]) == []


THINGS = (
    {"shape": "star", "colour": "red", "size": "small", "box": (0.1, 0.2, 0.3, 0.5)},
    {"shape": "square", "colour": "blue", "size": "large", "box": (0.5, 0.5, 0.9, 0.8)},
)


@pytest.mark.parametrize(
    ("caption", "right"),
    [
        ("a red star and a blue square", 2),
        ("a red square and a blue star", 0),
        ("a red star and a red star", 1),
        ("a red star and a green circle", 1),
        ("a star and a square", 0),
    ],
)
def test_an_object_is_right_once_by_shape_and_colour_together(caption, right):
    assert count_correct(caption.split(), THINGS) == (right, 2)


def test_even_attention_gains_exactly_one():
    gains = attention_gains(
        np.full((7, 49), 1 / 49), ["a", "red", "star", "and", "a", "blue", "square"], THINGS
    )
    np.testing.assert_allclose(gains, [1, 1])


def test_attention_all_inside_the_box_gains_one_over_its_share():
    box = (2 / 7, 1 / 7, 4 / 7, 2 / 7)
    attention = np.zeros((3, 49))
    attention[2, [2 * 7 + 1, 3 * 7 + 1]] = 0.5
    gains = attention_gains(attention, ["a", "red", "star"], [THINGS[0] | {"box": box}])
    np.testing.assert_allclose(gains, [49 / 2])


def test_words_for_things_that_are_not_there_are_not_measured_and_a_wrong_colour_is():
    attention = np.full((6, 49), 1 / 49)
    assert (
        len(attention_gains(attention, ["a", "red", "circle", "a", "green", "star"], THINGS)) == 1
    )


def test_of_two_things_of_one_shape_the_colour_chooses():
    twins = [THINGS[0], THINGS[0] | {"colour": "blue", "box": (0.5, 0.5, 1.0, 1.0)}]
    attention = np.zeros((2, 4))
    attention[:, 3] = 1
    assert attention_gains(attention, ["blue", "star"], twins, grid=(2, 2)) == [4]
    assert attention_gains(attention, ["red", "star"], twins, grid=(2, 2)) == [0]


def test_cells_are_covered_as_a_fine_raster_counts_it():
    box = (0.13, 0.22, 0.58, 0.97)
    grid = (5, 8)
    fine = 400
    y = (np.arange(5 * fine) + 0.5) / (5 * fine)
    x = (np.arange(8 * fine) + 0.5) / (8 * fine)
    inside = np.outer((y > box[0]) & (y < box[2]), (x > box[1]) & (x < box[3]))
    counted = inside.reshape(5, fine, 8, fine).mean((1, 3))
    np.testing.assert_allclose(cell_coverage(box, grid), counted, atol=0.01)
