"""Measures of generated captions, on cases whose answer is known."""

import dataclasses
import random

import pytest

from jaxcap.scores import health


def words(*captions):
    return [caption.split() for caption in captions]


def test_the_summary_of_four_known_captions():
    captions = words("a dog runs", "a dog runs", "a man in a hat in a", "the the cat")
    summary = health.summarize(captions, known={("a", "dog", "runs")})
    assert dataclasses.asdict(summary) == {
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
    result = health.summarize(words("a man and a dog and a man and a cat", "one two three"))
    assert (result.repeats_2, result.repeats_3, result.repeats_4) == (0.5, 0.5, 0.5)


def test_without_training_captions_nothing_is_said_of_novelty():
    assert health.summarize(words("a dog")).novel is None


def test_empty_captions_are_counted_and_break_nothing():
    assert health.summarize([[], ["a"]]).empty == 0.5


@pytest.mark.parametrize(
    ("caption", "ends"),
    [("a man in a", 1), ("a man with", 1), ("a man and", 1), ("a dog looks on", 0), ("a dog", 0)],
)
def test_which_endings_are_cut_off(caption, ends):
    assert health.summarize(words(caption)).ends_in_function_word == ends


def planted(phrase, part, captions, seed):
    """Returns random captions, a part of which holds a phrase."""
    rng = random.Random(seed)
    texts = [[rng.choice("abcdefghijklmnop") for _ in range(8)] for _ in range(captions)]
    return [text[:3] + phrase.split() + text[3:] if rng.random() < part else text for text in texts]


def test_an_overused_phrase_is_found_whole_and_first():
    captions = planted("in a blue shirt", 0.3, 400, seed=0)
    references = planted("in a blue shirt", 0.02, 2000, seed=1)
    first, *rest = health.find_overused(captions, references)
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
        phrase.words for phrase in health.find_overused(captions, references)
    }


def test_a_phrase_is_counted_once_a_caption():
    captions = words(*["red hot chili red hot chili"] * 6)
    found = {
        phrase.words: phrase
        for phrase in health.find_overused(captions, words(*["a dog runs fast"] * 50))
    }
    assert [phrase.captions for phrase in found.values()] == [6] * len(found) and found


def test_few_uses_and_few_rows_are_respected():
    captions = planted("in a blue shirt", 0.3, 400, seed=0)
    references = planted("in a blue shirt", 0.0, 2000, seed=1)
    assert all(
        phrase.captions >= 60 for phrase in health.find_overused(captions, references, least=60)
    )
    assert len(health.find_overused(captions, references, least=1, most=3)) == 3
