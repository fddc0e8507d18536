"""Each check of a set-up finds its fault by name, and nothing in a sound one."""

from types import SimpleNamespace

import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxcap.checks import setup
from jaxcap.checks.photos import check_photos
from jaxcap.inputs.batches import encode_captions
from jaxcap.text import Vocabulary

TEXT = {"max_length": 6, "end_mark": True}
WORDS = [[["a", "dog"], ["two", "men", "run"]], [["a", "man"]]]
VOCABULARY = Vocabulary.build({"a": 3, "dog": 2, "two": 1, "men": 1, "run": 1, "man": 1})
TRAIN = {
    "captions": "random",
    "batch_size": 2,
    "epochs": 10,
    "schedule": "step",
    "decay_epochs": 4,
    "warmup_steps": 0,
}


def captions(**text):
    return encode_captions(WORDS, VOCABULARY, TEXT | text)


def split(ids, photos=()):
    return SimpleNamespace(ids=tuple(ids), photos=tuple(photos))


def names(findings):
    return [finding.name for finding in findings]


@pytest.mark.parametrize(
    ("val", "test", "found"),
    [
        ("ef", "gh", []),
        ("ab", "gh", ["validation-is-training"]),
        ("ef", "ef", ["selection-on-test"]),
        ("ef", "ah", ["photo-in-two-splits"]),
        ("ab", "ab", ["validation-is-training", "photo-in-two-splits"]),
    ],
)
def test_photos_in_two_splits_are_found_by_their_ids(val, test, found):
    splits = {"train": split("abcd"), "val": split(val), "test": split(test)}
    assert names(check_photos(splits)) == found


def test_a_photo_under_another_name_is_found_by_its_bytes():
    splits = {"train": split("abc", "123"), "val": split("def", "456"), "test": split("ghi", "781")}
    (finding,) = check_photos(splits)
    assert finding.name == "photo-in-two-splits"
    assert finding.found == "1 of the 3 photos of test are in train too (i)"


def test_photos_without_a_test_split_are_checked_too():
    assert check_photos({"train": split("ab"), "val": split("c")}) == []


def test_marks_are_those_of_the_encoded_captions():
    assert setup.check_start(captions()) is None
    assert setup.check_end(captions()) is None
    endless = captions(end_mark=False)
    assert setup.check_start(endless).name == "pad-is-start"
    assert setup.check_end(endless).name == "no-end-mark"


@pytest.mark.parametrize(
    ("changed", "fires"),
    [
        ({}, False),
        ({"decay_epochs": 10}, True),
        ({"decay_epochs": 9}, False),
        ({"decay_epochs": 9, "warmup_steps": 1}, True),
        ({"schedule": "constant", "decay_epochs": 100}, False),
        ({"schedule": "cosine", "warmup_steps": 10}, True),
        ({"schedule": "cosine", "warmup_steps": 9}, False),
    ],
)
def test_a_schedule_must_change_the_rate_before_training_ends(changed, fires):
    """In ten epochs of a step each."""
    finding = setup.check_schedule(TRAIN | changed, 1)
    assert (finding is not None) is fires
    assert finding is None or finding.name == "schedule-never-fires"


def test_an_epoch_has_the_steps_of_its_photos_or_pairs():
    assert setup.count_epoch_steps(TRAIN, captions()) == 1
    assert setup.count_epoch_steps(TRAIN | {"captions": "pairs"}, captions()) == 2


def test_a_loss_over_padding_is_told_with_its_share():
    assert setup.check_loss({"average": "words"}, captions()) is None
    finding = setup.check_loss({"average": "positions"}, captions())
    assert finding.name == "loss-over-padding"
    # 2, 1 and 2 of 5 positions are behind the end.
    assert "33% of the positions" in finding.found


def test_frequent_words_must_not_keep_random_vectors():
    known = np.array([word not in ("a", "man") for word in VOCABULARY.words])
    arguments = (VOCABULARY, captions())
    trained = {"rate": 0.1, "missing_rate": -1.0}
    frozen = {"rate": 0.0, "missing_rate": -1.0}
    assert setup.check_vectors(*arguments, known, trained) is None
    assert setup.check_vectors(*arguments, known, {"rate": 0.0, "missing_rate": 1.0}) is None
    assert setup.check_vectors(*arguments, np.ones(len(known), bool), frozen) is None
    finding = setup.check_vectors(*arguments, known, frozen)
    assert finding.name == "frozen-random-words"
    # "a" twice and "man" once, of seven words.
    assert finding.found.startswith("2 frequent words, 42.9% of all that is read (a, man)")
    assert "6 frequent words" in setup.check_vectors(*arguments, None, frozen).found


def test_imported_weights_must_not_learn_at_the_full_rate():
    config = ConfigDict({"encoder": {"weights": "hub"}})

    def check(rate):
        return setup.check_encoder(
            config, {"encoder": {"backbone": {"stem": {"kernel": 0.0}, "layer4": {"kernel": rate}}}}
        )

    assert check(0.0) is None
    assert check(0.1) is None
    finding = check(1.0)
    assert finding.name == "encoder-moves"
    assert finding.found.startswith("1 of 2 parameters") and "(layer4)" in finding.found
    config.encoder.weights = "random"
    assert check(1.0) is None


def test_captions_cut_are_counted_against_a_tenth():
    assert setup.check_length(captions(), 6) is None
    finding = setup.check_length(captions(max_length=4), 4)
    assert finding.name == "captions-cut"
    assert finding.found.startswith("33.3% of the training captions")


def test_a_training_set_must_not_be_smaller_than_its_vocabulary():
    assert setup.check_size(11, 10) is None
    assert setup.check_size(9, 10).name == "fewer-photos-than-words"
