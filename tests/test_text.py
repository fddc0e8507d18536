import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jaxcap import text
from jaxcap.errors import UserError
from jaxcap.text import END, PAD, START, UNK, Vocabulary

CAPTIONS = ["A dog runs .", "A dog and a cat .", "The cat sleeps ."]


@pytest.fixture
def vocabulary():
    return Vocabulary.build(text.count_words(map(text.split_words, CAPTIONS)))


@pytest.mark.parametrize(
    ("caption", "plain", "kept"),
    [
        ("A man , smiling .", ["a", "man", "smiling"], ["a", "man", ",", "smiling", "."]),
        (
            '"Go!" (he) [said];',
            ["go", "he", "said"],
            ['"', "go", "!", '"', "(", "he", ")", "[", "said", "]", ";"],
        ),
        (
            "a t-shirt , o.k. ...",
            ["a", "t-shirt", "o.k"],
            ["a", "t-shirt", ",", "o.k", ".", ".", ".", "."],
        ),
        ("  two\tgirls\u00a0run \n", ["two", "girls", "run"], ["two", "girls", "run"]),
        (". ,", [], [".", ","]),
        ("", [], []),
    ],
)
def test_tokenise_strips_or_keeps_the_marks_around_words(caption, plain, kept):
    assert text.split_words(caption) == plain
    assert text.split_words(caption, keep_punctuation=True) == kept


@pytest.mark.parametrize("keep", [False, True])
def test_the_captions_of_images_are_split_one_by_one_and_share_their_words(keep):
    captions = [("A dog runs .", "..."), (), ("A dog sleeps .",)]
    split = text.split_captions(captions, {"tokenizer": "words", "keep_punctuation": keep})
    assert split == [
        [text.split_words(caption, keep_punctuation=keep) for caption in of_image]
        for of_image in captions
    ]
    assert split[0][0][1] is split[2][0][1]


def test_vocabulary_is_ordered_by_count_then_alphabet_whatever_the_order_of_the_captions(
    vocabulary,
):
    assert vocabulary.words == (*text.SPECIALS, "a", "cat", "dog", "and", "runs", "sleeps", "the")
    assert Vocabulary.build(text.count_words(map(text.split_words, CAPTIONS[::-1]))) == vocabulary


def test_minimum_count_drops_exactly_the_rarer_words():
    counts = Counter({"a": 5, "dog": 2, "cat": 1})
    assert Vocabulary.build(counts, 2).words[4:] == ("a", "dog")
    with pytest.raises(UserError, match="seen 6 times"):
        Vocabulary.build(counts, 6)


def test_encoded_captions_start_end_and_are_padded(vocabulary):
    a, dog, runs = map(vocabulary.index, ["a", "dog", "runs"])
    tokens = vocabulary.encode(["a", "dog", "runs"], 7)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [START, a, dog, runs, END, PAD, PAD]


@pytest.mark.parametrize("length", range(8))
def test_every_caption_has_one_start_and_one_end_and_truncation_is_counted(vocabulary, length):
    words = (["a", "dog", "and", "a", "cat"] * 2)[:length]
    tokens, truncated = vocabulary.encode_all([words, ["dog"]], 6)
    assert tokens.shape == (2, 6)
    for row in tokens:
        assert row[0] == START and (row == START).sum() == 1 and (row == END).sum() == 1
    assert truncated == (length > 4) == (not text.fits(words, 6))
    assert vocabulary.decode(tokens[0]) == words[:4]


def test_encode_all_encodes_each_caption_as_encode_does(vocabulary):
    captions = [text.split_words(caption) for caption in CAPTIONS] + [[], ["zebra"] * 9]
    tokens, truncated = vocabulary.encode_all(captions, 6)
    np.testing.assert_array_equal(tokens, [vocabulary.encode(words, 6) for words in captions])
    assert truncated == 2
    assert vocabulary.encode_all([], 6)[0].shape == (0, 6)


def test_a_caption_word_spelled_like_a_special_is_an_unknown_word():
    counts = Counter(dict.fromkeys(text.SPECIALS, 9) | {"dog": 1})
    vocabulary = Vocabulary.build(counts)
    assert vocabulary.words == (*text.SPECIALS, "dog")
    assert [vocabulary.index(special) for special in text.SPECIALS] == [UNK] * 4
    words = text.split_words("<start> <END> <pad> dog")
    assert vocabulary.encode(words, 6).tolist() == [START, UNK, UNK, UNK, 4, END]


def test_decoding_stops_at_the_first_end_and_leaves_specials_out(vocabulary):
    a = vocabulary.index("a")
    dog = vocabulary.index("dog")
    assert vocabulary.decode(np.array([START, a, UNK, PAD, dog, END, a, END])) == ["a", "dog"]
    assert vocabulary.decode([a, dog]) == ["a", "dog"]
    assert vocabulary.decode([]) == []


def test_unknown_rate_is_the_fraction_of_occurrences_without_a_number(vocabulary):
    assert vocabulary.unknown_rate({"a": 6, "zebra": 3, "<end>": 1}) == pytest.approx(0.4)
    assert vocabulary.unknown_rate({}) == 0


def test_a_caption_without_room_for_a_word_is_refused(vocabulary):
    with pytest.raises(UserError, match="text.max_length is 2"):
        vocabulary.encode(["a"], 2)


def test_json_round_trip_keeps_words_and_fingerprint_and_the_fingerprint_sees_the_order(vocabulary):
    odd = Vocabulary((*text.SPECIALS, "naïve", '"', "日本", "a b", "\\n"))
    for each in (vocabulary, odd):
        again = Vocabulary.from_json(each.to_json())
        assert again == each and again.fingerprint == each.fingerprint
    swapped = Vocabulary((*vocabulary.words[:-2], *vocabulary.words[:-3:-1]))
    assert swapped.fingerprint != vocabulary.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[\n", "broken JSON in line 2"),
        (json.dumps({"words": []}), "JSON list of words"),
        (json.dumps([*text.SPECIALS, 7]), "JSON list of words"),
        (json.dumps(["a", "dog"]), "must begin with <pad> <start> <end> <unk>"),
        (json.dumps(["<start>", "<pad>", "<end>", "<unk>", "a"]), "must begin with"),
        (json.dumps([*text.SPECIALS, "a", "dog", "a"]), "'a' stands in it 2 times"),
        (json.dumps([*text.SPECIALS, "<end>"]), "'<end>' stands in it 2 times"),
    ],
)
def test_a_broken_vocabulary_file_is_refused_in_one_line(content, message):
    with pytest.raises(UserError, match=message) as caught:
        Vocabulary.from_json(content)
    assert "\n" not in str(caught.value)


@pytest.mark.real_data
def test_flickr30k_has_the_20273_words_of_the_original_systems():
    """The 158,914 rows with three fields give 20,269 words; the malformed row adds none."""
    if not os.environ.get("JAXCAP_DATA"):
        pytest.skip("JAXCAP_DATA is not set")
    table = Path(os.environ["JAXCAP_DATA"], "flickr30k", "results.csv").read_text(encoding="utf-8")
    rows = [line.split("|") for line in table.rstrip("\n").split("\n")[1:]]
    captions = [text.split_words(row[2]) for row in rows if len(row) == 3]
    assert len(captions) == 158_914
    vocabulary = Vocabulary.build(text.count_words(captions))
    assert len(vocabulary) == 20_273
    tokens, truncated = vocabulary.encode_all(captions, 20)
    assert truncated / len(captions) == pytest.approx(0.106, abs=5e-4)
    for row, words in zip(tokens, captions, strict=True):
        assert vocabulary.decode(row) == words[:18]
    malformed = [row for row in rows if len(row) != 3]
    assert [row[0] for row in malformed] == ["2199200615.jpg"]
    assert UNK not in vocabulary.encode(text.split_words("A dog runs across the grass ."), 20)


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's T-shirt, red!", ["a", "man's", "t", "shirt", "red"]),
        ("<start> two  dogs.<end>", ["<start>", "two", "dogs", "<end>"]),
        ("line\nbreak\tand/slash", ["line", "break", "and", "slash"]),
        ("a_b {c} [d] ^e ~f `g \\h |i", list("abcdefghi")),
        ("... !!", []),
    ],
)
def test_the_tokenizer_of_keras_takes_marks_for_spaces(caption, words):
    assert text.split_words_as_keras(caption) == words
    assert text.split_captions([[caption]], {"tokenizer": "keras"}) == [[words]]


def test_the_most_frequent_words_stay_and_ties_as_they_first_came():
    counts = {"rare": 1, "zebra": 2, "the": 5, "apple": 2, "late": 2}
    by_first = text.Vocabulary.build(counts, max_words=7, ties="first")
    assert by_first.words[4:] == ("the", "zebra", "apple")
    by_alphabet = text.Vocabulary.build(counts, max_words=7)
    assert by_alphabet.words[4:] == ("the", "apple", "late")
    assert len(text.Vocabulary.build(counts, max_words=0)) == 9


def test_without_an_end_mark_one_word_more_fits():
    vocabulary = text.Vocabulary.build({"a": 3, "b": 2, "c": 1})
    tokens, cut = vocabulary.encode_all([["a", "b", "c"]], 4, end_mark=False)
    assert tokens.tolist() == [[text.PAD, 4, 5, 6]]
    assert cut == 0
    tokens, cut = vocabulary.encode_all([["a", "b", "c"]], 4)
    assert tokens.tolist() == [[text.START, 4, 5, text.END]]
    assert cut == 1


@pytest.mark.parity
@pytest.mark.skipif("JAXCAP_DATA" not in os.environ, reason="JAXCAP_DATA is not set")
def test_words_and_their_ranks_are_those_of_keras():
    """On COCO's captions: every caption's words, and which of them the 5,000 most frequent are."""
    pytest.importorskip("keras")
    from keras.src.legacy.preprocessing.text import Tokenizer

    path = Path(os.environ["JAXCAP_DATA"], "coco", "captions_val2017.json")
    annotations = json.loads(path.read_text(encoding="utf-8"))["annotations"]
    captions = [annotation["caption"] for annotation in annotations]
    filters = '!"#$%&()*+,-./:;=?@[\\]^_`{|}~\t\n'
    keras = Tokenizer(num_words=5000, oov_token="<unk>", filters=filters)
    keras.fit_on_texts([f"<start> {caption} <end>" for caption in captions])
    ours = text.split_captions([captions], {"tokenizer": "keras"})[0]
    vocabulary = text.Vocabulary.build(text.count_words(ours), max_words=5000, ties="first")
    ranked = sorted(keras.word_index, key=keras.word_index.get)
    kept = [word for word in ranked if keras.word_index[word] < 5000]
    assert set(vocabulary.words[1:]) == set(kept)
    specials = ("<start>", "<end>", "<unk>")
    assert list(vocabulary.words[4:]) == [word for word in kept if word not in specials]
    sequences = keras.texts_to_sequences([f"<start> {caption} <end>" for caption in captions])
    for words, sequence in zip(ours, sequences, strict=True):
        known = [vocabulary.words[vocabulary.index(word)] for word in words]
        assert ["<start>", *known, "<end>"] == [keras.index_word[number] for number in sequence]
