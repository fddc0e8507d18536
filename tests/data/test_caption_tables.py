"""Tables of captions: csv, tsv and jsonl, as spreadsheets and programs write them."""

import json

import pytest

from jaxcap.data.caption_tables import read_rows
from jaxcap.errors import UserError


def rows(path):
    return [tuple(row) for row in read_rows(path)]


def test_csv_and_tsv_are_read_as_spreadsheets_write_them(file):
    content = (
        '\ufeffImage, Caption \r\na.jpg,"a dog, ""red"""\r\n\r\n'
        'sub/b.jpg,"two\nlines"\r\n./a.jpg,c\r\n'
    )
    assert rows(file(content)) == [
        (2, "a.jpg", ['a dog, "red"'], ""),
        (4, "sub/b.jpg", ["two\nlines"], ""),
        (6, "a.jpg", ["c"], ""),
    ]
    table = file("caption\timage\tsplit\tlicence\na dog, red\ta.jpg\tdev\tx\n", "captions.tsv")
    assert rows(table) == [(2, "a.jpg", ["a dog, red"], "val")]


def test_jsonl_rows_have_a_caption_or_captions(file):
    lines = ({"image": "a.jpg", "caption": "x"}, {"image": "b.jpg", "captions": ["y", " z "]})
    path = file("\n\n".join(map(json.dumps, lines)), "captions.jsonl")
    assert rows(path) == [(1, "a.jpg", ["x"], ""), (3, "b.jpg", ["y", "z"], "")]


@pytest.mark.parametrize(
    "header",
    [
        "image,caption,caption",
        "image,caption_1,caption_2",
        "Image,Caption1,Caption 2",
        "image,caption,caption.1",
    ],
)
def test_every_column_of_captions_counts_and_blank_ones_among_them_do_not(file, header):
    assert rows(file(f"{header}\na.jpg,one,two\nb.jpg,three, \nc.jpg,,four\n")) == [
        (2, "a.jpg", ["one", "two"], ""),
        (3, "b.jpg", ["three"], ""),
        (4, "c.jpg", ["four"], ""),
    ]


def test_jsonl_rows_may_have_both_a_caption_and_captions(file):
    path = file('{"image": "a.jpg", "captions": ["x"], "caption": "y"}\n', "captions.jsonl")
    assert rows(path) == [(1, "a.jpg", ["x", "y"], "")]


def test_captions_of_a_megabyte_are_read_or_refused_in_one_line(file):
    long = "word " * 200_000
    line = json.dumps({"image": "a.jpg", "caption": long})
    assert rows(file(line, "captions.jsonl")) == [(1, "a.jpg", [long.strip()], "")]
    with pytest.raises(
        UserError, match="captions.csv, row 3: field larger than field limit"
    ) as mistake:
        rows(file(f"image,caption\na.jpg,x\nb.jpg,{long}\n"))
    assert len(str(mistake.value)) < 400
