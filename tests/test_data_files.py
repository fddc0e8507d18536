"""Caption files, dirt included: what is read, what is repaired and said, and which row is wrong."""

import json

import pytest
from PIL import Image

from jaxcap import data
from jaxcap.data import captions_files as files
from jaxcap.data.folder import read_rows
from jaxcap.errors import UserError

HEADER = "image_name| comment_number| comment\n"
MALFORMED = "2199200615.jpg| 4   A dog runs across the grass .\n"


@pytest.fixture
def file(tmp_path):
    def write(content, name="captions.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


# ---- Flickr30k's results.csv


def test_results_are_read_without_quoting(file):
    path = file(HEADER + '1.jpg| 0| "Stop" says a man .\n1.jpg| 1| He said: "no\n2.jpg| 0| a | b\n')
    captions, notes = files.flickr30k_results(path)
    assert captions == {"1.jpg": ['"Stop" says a man .', 'He said: "no'], "2.jpg": ["a | b"]}
    assert notes == []


def test_the_one_malformed_row_is_repaired_and_said(file):
    captions, notes = files.flickr30k_results(file(HEADER + "1.jpg| 0| a\n" + MALFORMED))
    assert captions["2199200615.jpg"] == ["A dog runs across the grass ."]
    assert notes == ["captions.csv: 1 malformed row repaired: 2199200615.jpg, comment 4 (row 3)"]


@pytest.mark.parametrize("row", ["7.jpg| 4   A dog runs .", "7.jpg| x| A dog", "7.jpg| 1| ", "| 1| A dog", "7.jpg"])
def test_any_other_malformed_row_is_an_error_with_its_number(file, row):
    with pytest.raises(UserError, match=r"captions\.csv, row 4: expected `image\| number\| comment`, found"):
        files.flickr30k_results(file(f"{HEADER}1.jpg| 0| a\n\n{row}\n1.jpg| 1| b\n"))


def test_a_file_with_another_header_is_wrong_in_its_first_row(file):
    with pytest.raises(UserError, match="row 1"):
        files.flickr30k_results(file("image,caption\n1.jpg,a\n"))


# ---- Flickr8k's two files


def test_token_rows_with_a_space_for_the_tab_are_read_and_counted(file):
    path = file("1_a.jpg#0 A child in pink .\n1_a.jpg#1\tA girl\twith a tab\n2_b.jpg#0\t A dog\n")
    captions, notes = files.flickr8k_token(path)
    assert captions == {"1_a.jpg": ["A child in pink .", "A girl\twith a tab"], "2_b.jpg": ["A dog"]}
    assert notes == ["captions.csv: 1 rows have a space for the tab"]


def test_token_rows_of_the_photo_that_does_not_exist_are_left_out(file):
    captions, notes = files.flickr8k_token(file("1_a.jpg#0\ta\n2258277193_586949ec62.jpg.1#0\tpeople\n"))
    assert list(captions) == ["1_a.jpg"]
    assert notes == ["captions.csv: 1 captions of 2258277193_586949ec62.jpg.1 left out: there is no such photo"]


@pytest.mark.parametrize("row", ["1_a.jpg\ta dog", "1_a.jpg#x\ta dog", "1_a.jpg#1", "1_a.jpg#1\t "])
def test_other_token_rows_are_errors_with_their_number(file, row):
    with pytest.raises(UserError, match="row 2: expected `image#number<tab>caption`"):
        files.flickr8k_token(file(f"1_a.jpg#0\ta\n{row}\n"))


def test_kaggles_captions_are_unquoted_only_where_a_writer_quoted_them(file):
    rows = (
        "1.jpg,plain",
        '1.jpg,"a dog , a cat"',
        '1.jpg,"a ""stop"" sign , red"',
        '1.jpg,"Hi" he said "bye"',
        '2.jpg,"open',
    )
    captions, _ = files.kaggle_captions(file("\n".join(("image,caption", *rows))))
    assert captions["1.jpg"] == ["plain", "a dog , a cat", 'a "stop" sign , red', '"Hi" he said "bye"']
    assert captions["2.jpg"] == ['"open']


@pytest.mark.parametrize("row", ["1.jpg", "1.jpg,", ",a dog", '1.jpg,""'])
def test_kaggles_bad_rows_have_numbers(file, row):
    with pytest.raises(UserError, match="row 3: expected `image,caption`"):
        files.kaggle_captions(file(f"image,caption\n1.jpg,a\n{row}\n"))


# ---- all text files


def test_byte_order_marks_line_ends_and_unicode_spaces_do_no_harm(file):
    path = file("\ufeff1_a.jpg#0\tone\u2028two\r\n1_a.jpg#1\tthree\x85four\r\n")
    assert files.flickr8k_token(path)[0] == {"1_a.jpg": ["one\u2028two", "three\x85four"]}


def test_text_that_is_not_utf8_is_named(file):
    with pytest.raises(UserError, match="captions.csv: not UTF-8"):
        files.flickr8k_token(file("1_a.jpg#0\tcafé\n".encode("latin-1")))


# ---- JSON files


def test_coco_captions_are_gathered_by_file_name(file):
    content = {
        "images": [{"id": 3, "file_name": "c.jpg"}, {"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [
            {"image_id": 1, "caption": "one "},
            {"image_id": 3, "caption": "x"},
            {"image_id": 1, "caption": "two"},
        ],
    }
    assert files.coco_annotations(file(json.dumps(content))) == {"c.jpg": ["x"], "a.jpg": ["one", "two"]}


@pytest.mark.parametrize("reader", [files.coco_annotations, files.read_karpathy])
@pytest.mark.parametrize("content", ['{"images": [', "[]", '{"images": [{}], "annotations": [{}]}', '{"images": 3}'])
def test_cut_off_or_foreign_json_is_named(file, reader, content):
    with pytest.raises(UserError, match="captions.csv: not"):
        reader(file(content))


def test_karpathys_restval_counts_as_train(file):
    images = [
        {"filename": "a.jpg", "cocoid": 7, "split": "restval", "sentences": [{"raw": "a dog "}]},
        {"filename": "b.jpg", "split": "test", "sentences": [{"raw": "b"}]},
    ]
    read = files.read_karpathy(file(json.dumps({"images": images})))
    assert read == [("a.jpg", 7, "train", ["a dog"]), ("b.jpg", None, "test", ["b"])]


# ---- a user's own file


def rows(path):
    return [tuple(row) for row in read_rows(path)]


def test_csv_and_tsv_are_read_as_spreadsheets_write_them(file):
    assert rows(
        file('\ufeffImage, Caption \r\na.jpg,"a dog, ""red"""\r\n\r\nsub/b.jpg,"two\nlines"\r\n./a.jpg,c\r\n')
    ) == [
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
    ("name", "content", "said"),
    [
        ("c.csv", "image,caption\na.jpg,x\nb.jpg,y, z\n", "row 3: 3 fields under 2 columns"),
        ("c.csv", "image,caption\na.jpg,x\nb.jpg\n", "row 3: 1 fields under 2 columns"),
        ("c.csv", 'image,caption\na.jpg,x\nb.jpg,"y\nz\n', "row 3: .*end of data"),
        ("c.csv", 'image,caption\na.jpg,x\nb.jpg,"y" z\n', "row 3: .*expected after"),
        ("c.csv", "image,caption\na.jpg,\n", "row 2: a.jpg has an empty caption"),
        ("c.csv", "image,caption\n ,x\n", "row 2: no image"),
        (
            "c.csv",
            "photo;caption\na.jpg;x\n",
            "row 1: the header must name the columns image and caption; .*photo;caption",
        ),
        ("c.csv", "image,caption\n", "no captions in it"),
        ("c.csv", "", "no captions in it"),
        ("c.csv", "image,caption,split\na.jpg,x,train\nb.jpg,y,tset\n", "row 3: 'tset'"),
        ("c.csv", "image,caption,split\na.jpg,x,train\nb.jpg,y,\n", "row 3: ''"),
        ("c.csv", "image,caption,split\na.jpg,x,train\na.jpg,y,test\n", "row 3: a.jpg is in split 'train'"),
        ("c.tsv", "image\tcaption\na.jpg x\n", "row 2: 1 fields"),
        ("c.jsonl", '{"image": "a.jpg", "caption": "x"}\n{"image": "a.jpg"\n', "row 2: expected"),
        ("c.jsonl", '{"image": "a.jpg", "caption": "x"}\n["a.jpg", "x"]\n', "row 2: expected"),
        ("c.jsonl", '{"image": "a.jpg", "text": "x"}\n', "row 1: expected .*'caption'"),
        ("c.jsonl", '{"image": 3, "caption": "x"}\n', "row 1: image and split must be strings"),
        ("c.jsonl", '{"image": "a.jpg", "captions": "x"}\n', "row 1: .*captions a list"),
        ("c.jsonl", '{"image": "a.jpg", "captions": []}\n', "row 1: a.jpg has an empty caption"),
        ("c.jsonl", '{"image": "a.jpg", "captions": ["x", ""]}\n', "row 1: a.jpg has an empty caption"),
        ("c.txt", "image,caption\na.jpg,x\n", r"must be called \*\.csv, \*\.tsv, \*\.jsonl"),
    ],
)
def test_a_bad_row_of_ones_own_file_is_named_by_its_number(file, name, content, said):
    path = file(content, name)
    with pytest.raises(UserError, match=said):
        data.load("folder", dir=str(path.parent), captions=name, prepared_dir=str(path.parent / "out"))


@pytest.fixture
def photos(tmp_path):
    for place in ("a.jpg", "images/b.png", "sub/c.jpg", "d.jpg"):
        (tmp_path / "mine" / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (len(place), ord(place[0]), 0)).save(tmp_path / "mine" / place)
    return tmp_path / "mine"


def load(folder, **options):
    return data.load("folder", dir=str(folder), prepared_dir=str(folder.parent / "prepared"), **options)


def test_ones_own_photos_may_lie_in_subfolders_and_in_a_folder_images(photos):
    (photos / "captions.csv").write_text(
        "image,caption\n" + "".join(f"{x},s\n" for x in ("a.jpg", "b.png", "sub/c.jpg"))
    )
    splits = load(photos)
    assert sorted(id for split in splits.values() for id in split.ids) == ["a.jpg", "b.png", "sub/c.jpg"]
    every = {id: split.photo(index) for split in splits.values() for index, id in enumerate(split.ids)}
    assert every["b.png"] == (photos / "images" / "b.png").read_bytes()
    assert every["sub/c.jpg"] == (photos / "sub" / "c.jpg").read_bytes()


def test_a_split_column_decides_unless_random_splits_are_asked_for(photos):
    rows = ("a.jpg,s,train", "b.png,s,validation", "a.jpg,t,train", "d.jpg,s,train")
    (photos / "captions.csv").write_text("\n".join(("image,caption,split", *rows)))
    splits = load(photos)
    assert {name: split.ids for name, split in splits.items()} == {"train": ("a.jpg", "d.jpg"), "val": ("b.png",)}
    assert splits["train"].captions == (("s", "t"), ("s",))
    assert set(load(photos, splits="random")) == {"train", "val", "test"}


def test_ones_own_missing_photos_are_named(photos):
    (photos / "captions.csv").write_text("image,caption\na.jpg,s\ngone.jpg,s\nd.jpg,s\nsub/c.jpg,s\n")
    with pytest.raises(UserError, match="1 of 4 photos are missing, such as .*gone.jpg"):
        load(photos)


def test_which_file_of_captions_is_meant_must_be_clear(photos, tmp_path):
    with pytest.raises(UserError, match="no file captions.csv or captions.tsv or captions.jsonl in .*mine"):
        load(photos)
    with pytest.raises(UserError, match="no file texts.csv"):
        load(photos, captions="texts.csv")
    for name in ("captions.csv", "captions.jsonl"):
        (photos / name).write_text("")
    with pytest.raises(UserError, match="captions.csv and captions.jsonl: name one with data.captions"):
        load(photos)
    elsewhere = tmp_path / "texts.csv"
    elsewhere.write_text("image,caption\na.jpg,s\nb.png,s\nd.jpg,s\n")
    assert sum(map(len, load(photos, captions=str(elsewhere)).values())) == 3
    with pytest.raises(UserError, match="name the folder of your photos with data.dir"):
        data.load("folder")
    with pytest.raises(UserError, match="is no folder"):
        data.load("folder", dir=str(tmp_path / "nowhere"))
