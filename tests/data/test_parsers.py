"""Published caption files: what is read, what is repaired and noted, and which row is wrong."""

import json

import pytest

from jaxcap.data import parsers
from jaxcap.errors import UserError

HEADER = "image_name| comment_number| comment\n"
MALFORMED = "2199200615.jpg| 4   A dog runs across the grass .\n"

# ---- Flickr30k's results.csv


def test_results_are_read_without_quoting(file):
    path = file(HEADER + '1.jpg| 0| "Stop" says a man .\n1.jpg| 1| He said: "no\n2.jpg| 0| a | b\n')
    captions, notes = parsers.read_flickr30k_results(path)
    assert captions == {"1.jpg": ['"Stop" says a man .', 'He said: "no'], "2.jpg": ["a | b"]}
    assert notes == []


def test_the_one_malformed_row_is_repaired_and_said(file):
    captions, notes = parsers.read_flickr30k_results(file(HEADER + "1.jpg| 0| a\n" + MALFORMED))
    assert captions["2199200615.jpg"] == ["A dog runs across the grass ."]
    assert notes == ["captions.csv: 1 malformed row repaired: 2199200615.jpg, comment 4 (row 3)"]


@pytest.mark.parametrize(
    "row", ["7.jpg| 4   A dog runs .", "7.jpg| x| A dog", "7.jpg| 1| ", "| 1| A dog", "7.jpg"]
)
def test_any_other_malformed_row_is_an_error_with_its_number(file, row):
    with pytest.raises(
        UserError, match=r"captions\.csv, row 4: expected `image\| number\| comment`, found"
    ):
        parsers.read_flickr30k_results(file(f"{HEADER}1.jpg| 0| a\n\n{row}\n1.jpg| 1| b\n"))


def test_a_file_with_another_header_is_wrong_in_its_first_row(file):
    with pytest.raises(UserError, match="row 1"):
        parsers.read_flickr30k_results(file("image,caption\n1.jpg,a\n"))


# ---- Flickr8k's two files


def test_token_rows_with_a_space_for_the_tab_are_read_and_counted(file):
    path = file("1_a.jpg#0 A child in pink .\n1_a.jpg#1\tA girl\twith a tab\n2_b.jpg#0\t A dog\n")
    captions, notes = parsers.read_flickr8k_token(path)
    assert captions == {
        "1_a.jpg": ["A child in pink .", "A girl\twith a tab"],
        "2_b.jpg": ["A dog"],
    }
    assert notes == ["captions.csv: 1 rows have a space for the tab"]


def test_token_rows_of_the_photo_that_does_not_exist_are_left_out(file):
    captions, notes = parsers.read_flickr8k_token(
        file("1_a.jpg#0\ta\n2258277193_586949ec62.jpg.1#0\tpeople\n")
    )
    assert list(captions) == ["1_a.jpg"]
    assert notes == [
        "captions.csv: 1 captions of 2258277193_586949ec62.jpg.1 left out: there is no such photo"
    ]


@pytest.mark.parametrize("row", ["1_a.jpg\ta dog", "1_a.jpg#x\ta dog", "1_a.jpg#1", "1_a.jpg#1\t "])
def test_other_token_rows_are_errors_with_their_number(file, row):
    with pytest.raises(UserError, match="row 2: expected `image#number<tab>caption`"):
        parsers.read_flickr8k_token(file(f"1_a.jpg#0\ta\n{row}\n"))


def test_kaggles_captions_are_unquoted_only_where_a_writer_quoted_them(file):
    rows = (
        "1.jpg,plain",
        '1.jpg,"a dog , a cat"',
        '1.jpg,"a ""stop"" sign , red"',
        '1.jpg,"Hi" he said "bye"',
        '2.jpg,"open',
    )
    captions, _ = parsers.read_kaggle_captions(file("\n".join(("image,caption", *rows))))
    assert captions["1.jpg"] == [
        "plain",
        "a dog , a cat",
        'a "stop" sign , red',
        '"Hi" he said "bye"',
    ]
    assert captions["2.jpg"] == ['"open']


@pytest.mark.parametrize("row", ["1.jpg", "1.jpg,", ",a dog", '1.jpg,""'])
def test_kaggles_bad_rows_have_numbers(file, row):
    with pytest.raises(UserError, match="row 3: expected `image,caption`"):
        parsers.read_kaggle_captions(file(f"image,caption\n1.jpg,a\n{row}\n"))


# ---- all text files


def test_byte_order_marks_line_ends_and_unicode_spaces_do_no_harm(file):
    path = file("\ufeff1_a.jpg#0\tone\u2028two\r\n1_a.jpg#1\tthree\x85four\r\n")
    assert parsers.read_flickr8k_token(path)[0] == {"1_a.jpg": ["one\u2028two", "three\x85four"]}


def test_text_that_is_not_utf8_is_named(file):
    with pytest.raises(UserError, match="captions.csv: not UTF-8"):
        parsers.read_flickr8k_token(file("1_a.jpg#0\tcafé\n".encode("latin-1")))


# ---- JSON files


def test_coco_captions_are_gathered_by_file_name(file):
    content = {
        "images": [
            {"id": 3, "file_name": "c.jpg"},
            {"id": 1, "file_name": "a.jpg"},
            {"id": 2, "file_name": "b.jpg"},
        ],
        "annotations": [
            {"image_id": 1, "caption": "one "},
            {"image_id": 3, "caption": "x"},
            {"image_id": 1, "caption": "two"},
        ],
    }
    assert parsers.read_coco_annotations(file(json.dumps(content))) == {
        "c.jpg": ["x"],
        "a.jpg": ["one", "two"],
    }


@pytest.mark.parametrize("reader", [parsers.read_coco_annotations, parsers.read_karpathy])
@pytest.mark.parametrize(
    "content", ['{"images": [', "[]", '{"images": [{}], "annotations": [{}]}', '{"images": 3}']
)
def test_cut_off_or_foreign_json_is_named(file, reader, content):
    with pytest.raises(UserError, match="captions.csv: not"):
        reader(file(content))


def test_karpathys_restval_counts_as_train(file):
    images = [
        {"filename": "a.jpg", "cocoid": 7, "split": "restval", "sentences": [{"raw": "a dog "}]},
        {"filename": "b.jpg", "split": "test", "sentences": [{"raw": "b"}]},
    ]
    read = parsers.read_karpathy(file(json.dumps({"images": images})))
    assert read == [("a.jpg", 7, "train", ["a dog"]), ("b.jpg", None, "test", ["b"])]


@pytest.mark.parametrize("text", ["half \\ud800", "\\udc00", "a\\u0000b"])
def test_half_a_character_in_any_json_is_refused(file, text):
    annotations = f'[{{"image_id": 1, "caption": "{text}"}}]'
    coco = f'{{"images": [{{"id": 1, "file_name": "a"}}], "annotations": {annotations}}}'
    with pytest.raises(
        UserError, match="captions.csv: not a file of COCO captions .*half a character"
    ):
        parsers.read_coco_annotations(file(coco))
    image = f'{{"filename": "a", "split": "test", "sentences": [{{"raw": "{text}"}}]}}'
    with pytest.raises(
        UserError, match="captions.csv: not a file of Karpathy's splits .*half a character"
    ):
        parsers.read_karpathy(file(f'{{"images": [{image}]}}'))


@pytest.mark.parametrize(
    "reader",
    [parsers.read_flickr30k_results, parsers.read_flickr8k_token, parsers.read_kaggle_captions],
)
def test_a_nul_byte_is_named_by_its_row(file, reader):
    with pytest.raises(UserError, match="captions.csv, row 1: a NUL byte"):
        reader(file("1_a.jpg#0\t\0a\n"))
