"""The score's tokeniser against Java's, on sentences of our own and on the real caption files."""

import json
import os
from pathlib import Path

import pytest

from jaxcap.scores.tokenizer import ptb_tokenize, tokenize_pairs

GOLDEN = Path(__file__).parents[1] / "golden"
TOKENS = json.loads((GOLDEN / "tokens.json").read_text(encoding="utf-8"))
REAL = os.environ.get("JAXCAP_DATA", "")


def test_equals_java_on_every_golden_caption():
    ours = {caption: " ".join(ptb_tokenize(caption)) for caption in TOKENS}
    assert {caption: words for caption, words in ours.items() if words != TOKENS[caption]} == {}
    assert list(TOKENS) == (GOLDEN / "captions.txt").read_text(encoding="utf-8").splitlines()


def test_punctuation_marks_never_come_out():
    words = {word for caption in TOKENS for word in ptb_tokenize(caption)}
    assert not words & {
        "''",
        "'",
        "``",
        "`",
        '"',
        ".",
        "?",
        "!",
        ",",
        ":",
        "-",
        "--",
        "...",
        ";",
        "",
    }


def test_words_are_lower_case_and_hold_no_plain_space():
    for caption in TOKENS:
        for word in ptb_tokenize(caption):
            assert word == word.lower() and " " not in word


def test_a_generated_caption_is_its_words():
    """A caption of plain lower-case words, as the decoder writes it, is split at its spaces and
    nowhere else.
    """
    caption = "a man in a blue shirt rides a bike past two dogs and a street sign"
    assert ptb_tokenize(caption) == caption.split()


@pytest.mark.parametrize("caption", ["", " ", ".", " . , ! ? ; : - -- ... ' \" ` "])
def test_a_caption_of_marks_has_no_words(caption):
    assert ptb_tokenize(caption) == []


def test_a_caption_is_read_on_its_own():
    """Each part of two captions, cut where the first ends in a letter with a full stop, keeps its
    words.
    """
    assert ptb_tokenize("A sign that reads K.") == ["a", "sign", "that", "reads", "k."]


def test_no_caption_takes_long():
    """Long runs of one character, which could send a regular expression back and forth, end at
    once.
    """
    for unit in ("a", "a.", "a-", "'", "1", "1,", "a'", "A&", "-", "/a", "@a", "www."):
        ptb_tokenize(unit * 2000)


def _captions_of_coco() -> list[str]:
    path = Path(REAL) / "coco" / "captions_val2017.json"
    return [row["caption"] for row in json.loads(path.read_text(encoding="utf-8"))["annotations"]]


def _captions_of_flickr30k() -> list[str]:
    lines = (Path(REAL) / "flickr30k" / "results.csv").read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("|")[-1].strip() for line in lines]


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not REAL, reason="JAXCAP_DATA is not set")
@pytest.mark.parametrize(
    ("captions", "count"), [(_captions_of_coco, 25_014), (_captions_of_flickr30k, 158_915)]
)
def test_differs_from_java_on_at_most_five_captions_in_ten_thousand(captions, count, monkeypatch):
    ptbtokenizer = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dfile.encoding=UTF-8")
    texts = captions()
    assert len(texts) == count
    java = ptbtokenizer.PTBTokenizer().ptb_tokenize({"all": [{"caption": text} for text in texts]})[
        "all"
    ]
    different = [
        (text, words)
        for text, words in zip(texts, java, strict=True)
        if " ".join(ptb_tokenize(text)) != words
    ]
    assert len(different) <= 5 * count / 10_000, different[:20]


@pytest.mark.parametrize(
    ("hypotheses", "references"), [({}, {}), ({"1": "a"}, {}), ({"1": "a"}, {"1": []})]
)
def test_nothing_to_score_is_refused(hypotheses, references):
    with pytest.raises(ValueError, match="caption"):
        tokenize_pairs(hypotheses, references)
