"""Measures of generated captions and of attention maps, on cases whose answer is known."""

import random

import numpy as np
import pytest

from jaxcap import scores
from jaxcap.scores import attention, health

GRID = (7, 7)


def words(*captions):
    return [caption.split() for caption in captions]


# Captions.


def test_the_summary_of_four_known_captions():
    captions = words("a dog runs", "a dog runs", "a man in a hat in a", "the the cat")
    assert health.summary(captions, known={("a", "dog", "runs")}) == {
        "distinct_words": 8,
        "mean_length": 4.0,
        "unique": 0.75,
        "repeats_2": 0.25,
        "repeats_3": 0.0,
        "repeats_4": 0.0,
        "stutters": 0.25,
        "ends_in_function_word": 0.25,
        "empty": 0.0,
        "novel": 0.5,
    }


def test_a_longer_repetition_repeats_its_parts():
    result = health.summary(words("a man and a dog and a man and a cat", "one two three"))
    assert (result["repeats_2"], result["repeats_3"], result["repeats_4"]) == (0.5, 0.5, 0.5)


def test_without_training_captions_nothing_is_said_of_novelty():
    assert "novel" not in health.summary(words("a dog"))


def test_empty_captions_are_counted_and_break_nothing():
    assert health.summary([[], ["a"]])["empty"] == 0.5


@pytest.mark.parametrize(
    ("caption", "ends"),
    [("a man in a", 1), ("a man with", 1), ("a man and", 1), ("a dog looks on", 0), ("a dog", 0)],
)
def test_which_endings_are_cut_off(caption, ends):
    assert health.summary(words(caption))["ends_in_function_word"] == ends


def planted(phrase, part, captions, seed):
    """Returns random captions, a part of which holds a phrase."""
    rng = random.Random(seed)
    texts = [[rng.choice("abcdefghijklmnop") for _ in range(8)] for _ in range(captions)]
    return [text[:3] + phrase.split() + text[3:] if rng.random() < part else text for text in texts]


def test_an_overused_phrase_is_found_whole_and_first():
    captions = planted("in a blue shirt", 0.3, 400, seed=0)
    references = planted("in a blue shirt", 0.02, 2000, seed=1)
    first, *rest = health.overused(captions, references)
    assert first.words == "in a blue shirt"
    assert first.captions == sum("blue" in caption for caption in captions)
    assert first.rate == first.captions / 400 and 0.01 < first.reference_rate < 0.03
    assert not any(
        "blue" in phrase.words for phrase in rest if phrase.captions > first.captions / 2
    )


def test_a_phrase_that_references_use_as_often_is_not_overused():
    captions = planted("in a blue shirt", 0.3, 400, seed=0)
    references = planted("in a blue shirt", 0.25, 2000, seed=1)
    assert "in a blue shirt" not in {
        phrase.words for phrase in health.overused(captions, references)
    }


def test_a_phrase_is_counted_once_a_caption():
    captions = words(*["red hot chili red hot chili"] * 6)
    found = {
        phrase.words: phrase
        for phrase in health.overused(captions, words(*["a dog runs fast"] * 50))
    }
    assert [phrase.captions for phrase in found.values()] == [6] * len(found) and found


def test_few_uses_and_few_rows_are_respected():
    captions = planted("in a blue shirt", 0.3, 400, seed=0)
    references = planted("in a blue shirt", 0.0, 2000, seed=1)
    assert all(phrase.captions >= 60 for phrase in health.overused(captions, references, least=60))
    assert len(health.overused(captions, references, least=1, most=3)) == 3


# Attention.


def even(count):
    return np.full((count, 49), 1 / 49)


def spot(row, column):
    maps = np.zeros((1, *GRID))
    maps[0, row, column] = 1
    return maps.reshape(1, 49)


def random_maps(count, seed):
    return np.random.default_rng(seed).dirichlet(np.full(49, 0.3), count)


def test_even_attention_is_spread_still_and_without_a_centre():
    maps = even(4)
    np.testing.assert_allclose(attention.entropy(maps), 1)
    np.testing.assert_allclose(attention.change(maps), 0, atol=1e-12)
    np.testing.assert_allclose(attention.centre_bias(maps, GRID), 0, atol=1e-12)


def test_attention_on_single_regions_is_sharp_and_moves_wholly():
    maps = np.concatenate([spot(3, 3), spot(0, 0), spot(0, 0)])
    np.testing.assert_allclose(attention.entropy(maps), 0, atol=1e-12)
    np.testing.assert_allclose(attention.change(maps), [1, 0])
    assert attention.centre_bias(maps, GRID)[0] == pytest.approx(1)
    assert attention.centre_bias(maps, GRID)[1] < -0.5


def test_the_measures_stay_in_their_bounds():
    maps = random_maps(50, seed=0)
    assert ((attention.entropy(maps) > 0) & (attention.entropy(maps) < 1)).all()
    assert ((attention.change(maps) > 0) & (attention.change(maps) < 1)).all()


def test_means_are_over_words_not_over_captions():
    rows = attention.statistics([spot(3, 3), even(3)], GRID)
    assert attention.from_statistics(rows.sum(0)) == pytest.approx([0.75, 0, 0.25])


def test_the_measures_have_intervals_like_any_score():
    rows = attention.statistics([random_maps(5, seed) for seed in range(20)], GRID)
    table = scores.with_intervals(attention.NAMES, rows, attention.from_statistics, resamples=100)
    assert list(table) == ["entropy", "change", "centre_bias"]
    assert all(entry["low"] < entry["value"] < entry["high"] for entry in table.values())


CORNER = {"shape": "circle", "colour": "red", "box": (0, 0, 2 / 7, 2 / 7)}
MIDDLE = {"shape": "star", "colour": "blue", "box": (3 / 7, 3 / 7, 4 / 7, 4 / 7)}


def grounded(maps, caption, objects, grid=GRID):
    rows = attention.grounding_statistics([maps], [caption.split()], [objects], grid)
    return dict(zip(attention.GROUNDING_NAMES, attention.from_statistics(rows.sum(0)), strict=True))


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
    rows = attention.grounding_statistics(
        [even(2), even(2)], words("a dog", "a star"), [[CORNER], [CORNER]], GRID
    )
    assert rows.sum() == 0
    assert np.isnan(attention.from_statistics(rows.sum(0))).all()
