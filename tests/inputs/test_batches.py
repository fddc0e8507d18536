"""Batches: every photo once an epoch, any batch can be made again, filling counts nowhere."""

import numpy as np
import pytest

from jaxcap.data.split import Split
from jaxcap.inputs.batches import (
    TrainingBatches,
    draw_captions,
    encode_captions,
    iterate_split,
    shorten,
)
from jaxcap.text import END, PAD, START, Vocabulary, count_words, split_captions, split_words

ROWS = 10
BATCH = 4


@pytest.fixture
def split():
    captions = tuple(
        tuple(f"dog number {n} runs {k}" for k in range(1 + n % 3)) for n in range(ROWS)
    )
    return Split("train", tuple(f"{n}.jpg" for n in range(ROWS)), captions, [{}] * ROWS)


@pytest.fixture
def captions(split):
    words = count_words(split_words(caption) for captions in split.captions for caption in captions)
    return encode_captions(words_of(split), Vocabulary.build(words), section(8))


def section(length):
    return {"max_length": length, "end_mark": True}


def words_of(split, *, keep_punctuation=False):
    return split_captions(
        split.captions, {"tokenizer": "words", "keep_punctuation": keep_punctuation}
    )


def batches(captions, **options):
    inputs = lambda rows, views, keys: {"rows": rows, "views": views, "keys": np.array(keys)}  # noqa: E731
    options = {"views": 3, "batch_size": BATCH, "choice": "all", "seed": 5} | options
    return TrainingBatches(inputs, captions, **options)


def real(batch):
    return (batch["tokens"] != PAD).any((1, 2))


def test_encoded_captions(captions):
    assert captions.tokens.shape == (ROWS, 3, 8)
    assert captions.counts.tolist() == [1 + n % 3 for n in range(ROWS)]
    assert (captions.tokens[0, 0] != PAD).sum() == 5 + 2
    assert captions.tokens[0, 0, 0] == START
    assert END in captions.tokens[0, 0]
    assert (captions.tokens[0, 1:] == PAD).all()
    assert captions.truncated == 0


def test_captions_without_a_word_are_not_learned_from():
    split = Split("train", ("a", "b"), (("...", "dog !", "?"), ("!",)), [{}] * 2)
    vocabulary = Vocabulary.build({"dog": 1, "!": 1, ".": 1, "?": 1})
    captions = encode_captions(words_of(split), vocabulary, section(5))
    assert captions.counts.tolist() == [1, 0]
    assert vocabulary.decode(captions.tokens[0, 0]) == ["dog"] and (captions.tokens[1] == PAD).all()
    (batch,) = batches(captions, choice="random").iterate_epoch(0)
    assert sorted((batch["tokens"] != PAD).sum((1, 2)).tolist()) == [0, 0, 0, 3]
    marks = encode_captions(words_of(split, keep_punctuation=True), vocabulary, section(5))
    assert marks.counts.tolist() == [3, 1]


def test_every_photo_comes_once_an_epoch(captions):
    for epoch in range(3):
        made = list(batches(captions).iterate_epoch(epoch))
        assert len(made) == len(batches(captions)) == 3
        assert {len(batch["rows"]) for batch in made} == {BATCH}
        rows = np.concatenate([batch["rows"][real(batch)] for batch in made])
        assert sorted(rows) == list(range(ROWS))


def test_epochs_differ_in_order_views_and_captions(captions):
    one, two = (list(batches(captions, choice="random").iterate_epoch(epoch)) for epoch in (0, 1))
    for name in ("rows", "views", "tokens"):
        assert any((a[name] != b[name]).any() for a, b in zip(one, two, strict=True)), name


def test_any_batch_can_be_made_again(captions):
    """Going on in the middle of an epoch gives the batches that an uninterrupted epoch gives."""
    whole = list(batches(captions, choice="random").iterate_epoch(7))
    for first in range(3):
        rest = list(batches(captions, choice="random").iterate_epoch(7, first))
        assert len(rest) == 3 - first
        for a, b in zip(whole[first:], rest, strict=True):
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize(
    ("words", "positions"), [(0, 2), (1, 2), (2, 2), (3, 3), (4, 5), (5, 5), (6, 9), (9, 9)]
)
def test_a_batch_is_halved_for_as_long_as_its_captions_fit(words, positions):
    tokens = np.full((2, 3, 9), PAD)
    tokens[1, 2, :words] = START
    assert shorten(tokens).shape == (2, 3, positions)
    assert (shorten(tokens) != PAD).sum() == words


def test_one_random_caption_is_one_of_the_photos(captions):
    seen = set()
    for epoch in range(60):
        for batch in batches(captions, choice="random").iterate_epoch(epoch):
            assert batch["tokens"].shape == (BATCH, 1, 8)
            for row, tokens in zip(
                batch["rows"][real(batch)], batch["tokens"][real(batch)], strict=True
            ):
                mine = captions.tokens[row, : captions.counts[row]]
                match = (mine == tokens).all(-1)
                assert match.any()
                seen.add((int(row), int(match.argmax())))
    assert len(seen) == captions.counts.sum()


def test_random_keys_belong_to_the_photo_and_the_epoch(captions):
    keys = [
        tuple(key)
        for epoch in (0, 1)
        for batch in batches(captions).iterate_epoch(epoch)
        for key in batch["keys"][real(batch)]
    ]
    assert len(set(keys)) == 2 * ROWS


def test_evaluation_sees_all_rows_in_order_in_the_plain_view(captions):
    inputs = lambda rows, views, keys: {"rows": rows, "views": views}  # noqa: E731
    made = list(iterate_split(inputs, ROWS, BATCH, captions.tokens))
    rows = np.concatenate([batch["rows"][real(batch)] for batch in made])
    assert rows.tolist() == list(range(ROWS))
    assert all((batch["views"] == 0).all() for batch in made)


def test_an_error_in_the_thread_reaches_the_loop(captions):
    def broken(rows, views, keys):
        raise RuntimeError("no such photo")

    made = TrainingBatches(broken, captions, 1, BATCH, "all", 0)
    with pytest.raises(RuntimeError, match="no such photo"):
        list(made.iterate_epoch(0))


def test_every_pair_comes_once_an_epoch(captions):
    pairs = batches(captions, choice="pairs")
    assert len(pairs) == -(-captions.counts.sum() // BATCH)
    for epoch in (0, 1):
        seen = []
        for batch in pairs.iterate_epoch(epoch):
            assert batch["tokens"].shape == (BATCH, 1, 8)
            for row, tokens, counts in zip(
                batch["rows"], batch["tokens"][:, 0], real(batch), strict=True
            ):
                if counts:
                    seen.append((int(row), tokens.tobytes()))
        wanted = []
        for row, count in enumerate(captions.counts):
            wanted += [(row, captions.tokens[row, number].tobytes()) for number in range(count)]
        assert sorted(seen) == sorted(wanted)
        assert seen != wanted


def test_pairs_of_any_step_can_be_made_again(captions):
    whole = list(batches(captions, choice="pairs").iterate_epoch(3))
    rest = list(batches(captions, choice="pairs").iterate_epoch(3, 2))
    for again, first in zip(rest, whole[2:], strict=True):
        for name in ("rows", "views", "tokens"):
            np.testing.assert_array_equal(again[name], first[name])


def test_drawn_captions_are_the_photos_own_and_change_with_the_seed(captions):
    drawn = [draw_captions(captions, (5, step))[:, 0] for step in range(20)]
    for tokens in drawn:
        for row, one in enumerate(tokens):
            own = captions.tokens[row, : captions.counts[row]].tolist()
            assert one.tolist() in own
    np.testing.assert_array_equal(drawn[3], draw_captions(captions, (5, 3))[:, 0])
    # Each of the three captions of photo 2 is drawn by some of the twenty.
    assert len({tokens[2].tobytes() for tokens in drawn}) == 3


def test_captions_without_an_end_mark_begin_with_padding(split):
    words = count_words(split_words(caption) for captions in split.captions for caption in captions)
    vocabulary = Vocabulary.build(words)
    unmarked = encode_captions(words_of(split), vocabulary, {"max_length": 6, "end_mark": False})
    tokens = unmarked.tokens[0, 0]
    assert tokens[0] == PAD
    assert vocabulary.decode(tokens) == ["dog", "number", "0", "runs", "0"]
    assert not np.isin(unmarked.tokens, (START, END)).any()
    assert unmarked.truncated == 0
