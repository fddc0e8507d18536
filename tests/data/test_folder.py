"""A user's own photos: rows that are read or refused by number, and which photo is meant."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from jaxcap.errors import UserError
from tests.data.raw_files import load


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "c.csv",
            "image,caption,image\na.jpg,x,b.jpg\n",
            "row 1: the header names 2 columns image: keep one",
        ),
        (
            "c.csv",
            "image,caption,split,Split\na.jpg,x,val,val\n",
            "row 1: the header names 2 columns split: keep one",
        ),
        (
            "c.csv",
            "image,captions\na.jpg,x\n",
            "row 1: the header must name the columns image and caption",
        ),
        ("c.csv", "image,caption,caption\na.jpg,, \n", "row 2: a.jpg has an empty caption"),
        ("c.csv", "image,caption\na.jpg,x\nb.jpg,x\0y\n", "row 3: half a character or a NUL byte"),
        ("c.csv", "image,caption\na.jpg,x\nb\0.jpg,x\n", "row 3: half a character or a NUL byte"),
        (
            "c.jsonl",
            '{"image": "a.jpg", "caption": "\\ud83d"}\n',
            "row 1: half a character or a NUL byte",
        ),
        (
            "c.jsonl",
            '{"image": "\\udc00.jpg", "caption": "x"}\n',
            "row 1: half a character or a NUL byte",
        ),
        (
            "c.jsonl",
            '{"image": "a.jpg", "caption": "x", "caption": "y"}\n',
            "row 1: expected .*a key stands there twice",
        ),
        ("c.jsonl", "[" * 100_000 + "\n", "row 1: expected .*recursion"),
        ("c.csv", "image,caption\na.jpg,x\n", "c.csv: 1 photos have captions, and 3 are the least"),
        (
            "c.csv",
            "image,caption\na.jpg,x\nb.jpg,x\n",
            "c.csv: 2 photos have captions, and 3 are the least",
        ),
        ("c.csv", "image,caption\na.jpg,...\nb.jpg,!\n", "no captions in it"),
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
        (
            "c.csv",
            "image,caption,split\na.jpg,x,train\na.jpg,y,test\n",
            "row 3: a.jpg is in split 'train'",
        ),
        ("c.tsv", "image\tcaption\na.jpg x\n", "row 2: 1 fields"),
        ("c.jsonl", '{"image": "a.jpg", "caption": "x"}\n{"image": "a.jpg"\n', "row 2: expected"),
        ("c.jsonl", '{"image": "a.jpg", "caption": "x"}\n["a.jpg", "x"]\n', "row 2: expected"),
        ("c.jsonl", '{"image": "a.jpg", "text": "x"}\n', "row 1: expected .*'caption'"),
        ("c.jsonl", '{"image": 3, "caption": "x"}\n', "row 1: image and split must be strings"),
        ("c.jsonl", '{"image": "a.jpg", "captions": "x"}\n', "row 1: .*captions a list"),
        ("c.jsonl", '{"image": "a.jpg", "captions": []}\n', "row 1: a.jpg has an empty caption"),
        (
            "c.jsonl",
            '{"image": "a.jpg", "captions": ["x", ""]}\n',
            "row 1: a.jpg has an empty caption",
        ),
        ("c.txt", "image,caption\na.jpg,x\n", r"must be called \*\.csv, \*\.tsv, \*\.jsonl"),
    ],
)
def test_a_bad_row_of_ones_own_file_is_named_by_its_number(file, name, content, said):
    path = file(content, name)
    with pytest.raises(UserError, match=said):
        load("folder", dir=str(path.parent), captions=name, prepared_dir=str(path.parent / "out"))


@pytest.fixture
def photos(tmp_path):
    for place in ("a.jpg", "images/b.png", "sub/c.jpg", "d.jpg"):
        (tmp_path / "mine" / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (len(place), ord(place[0]), 0)).save(tmp_path / "mine" / place)
    return tmp_path / "mine"


def load_from(folder, **options):
    return load("folder", dir=str(folder), prepared_dir=str(folder.parent / "prepared"), **options)


def test_ones_own_photos_may_lie_in_subfolders_and_in_a_folder_images(photos):
    (photos / "captions.csv").write_text(
        "image,caption\n" + "".join(f"{x},s\n" for x in ("a.jpg", "b.png", "sub/c.jpg"))
    )
    splits = load_from(photos)
    assert sorted(image for split in splits.values() for image in split.ids) == [
        "a.jpg",
        "b.png",
        "sub/c.jpg",
    ]
    every = {
        image: split.photo(index)
        for split in splits.values()
        for index, image in enumerate(split.ids)
    }
    assert every["b.png"] == (photos / "images" / "b.png").read_bytes()
    assert every["sub/c.jpg"] == (photos / "sub" / "c.jpg").read_bytes()


def test_a_split_column_decides_unless_random_splits_are_asked_for(photos):
    rows = ("a.jpg,s,train", "b.png,s,validation", "a.jpg,t,train", "d.jpg,s,train")
    (photos / "captions.csv").write_text("\n".join(("image,caption,split", *rows)))
    splits = load_from(photos)
    assert {name: split.ids for name, split in splits.items()} == {
        "train": ("a.jpg", "d.jpg"),
        "val": ("b.png",),
    }
    assert splits["train"].captions == (("s", "t"), ("s",))
    assert set(load_from(photos, splits="random")) == {"train", "val", "test"}


def test_ones_own_missing_photos_are_named(photos):
    (photos / "captions.csv").write_text(
        "image,caption\na.jpg,s\ngone.jpg,s\nd.jpg,s\nsub/c.jpg,s\n"
    )
    with pytest.raises(UserError, match="1 of 4 photos are missing, such as .*gone.jpg"):
        load_from(photos)


def test_which_file_of_captions_is_meant_must_be_clear(photos, tmp_path):
    with pytest.raises(
        UserError, match="no file captions.csv or captions.tsv or captions.jsonl in .*mine"
    ):
        load_from(photos)
    with pytest.raises(UserError, match="no file texts.csv"):
        load_from(photos, captions="texts.csv")
    for name in ("captions.csv", "captions.jsonl"):
        (photos / name).write_text("")
    with pytest.raises(
        UserError, match="captions.csv and captions.jsonl: name one with data.captions"
    ):
        load_from(photos)
    elsewhere = tmp_path / "texts.csv"
    elsewhere.write_text("image,caption\na.jpg,s\nb.png,s\nd.jpg,s\n")
    assert sum(map(len, load_from(photos, captions=str(elsewhere)).values())) == 3
    with pytest.raises(UserError, match="name the folder of your photos with data.dir"):
        load("folder")
    with pytest.raises(UserError, match="is no folder"):
        load("folder", dir=str(tmp_path / "nowhere"))


def every_id(splits):
    return sorted(image for split in splits.values() for image in split.ids)


def write_captions(folder, *rows):
    (folder / "captions.csv").write_text("\n".join(("image,caption", *rows)), encoding="utf-8")


def test_photos_without_captions_are_counted_and_named(photos, capsys):
    for name in (
        "extra.jpg",
        "images/more.png",
        "._a.jpg",
        ".hidden.jpg",
        "note.txt",
        "sub/unseen.jpg",
    ):
        (photos / name).write_bytes((photos / "d.jpg").read_bytes())
    write_captions(photos, "a.jpg,s", "b.png,s", "sub/c.jpg,s")
    note = "3 photos have no caption and are left out: d.jpg, extra.jpg, more.png"
    assert note in load_from(photos)["train"].notes
    assert note in capsys.readouterr().err
    write_captions(
        photos, "a.jpg,s", "b.png,s", "sub/c.jpg,s", "d.jpg,s", "extra.jpg,s", "more.png,s"
    )
    assert not [note for note in load_from(photos)["train"].notes if "no caption" in note]


def test_captions_of_marks_alone_are_left_out_with_the_photos_that_have_no_other(photos):
    rows = ("a.jpg,a dog", "a.jpg,...", 'a.jpg,"! , ?"', "b.png,!!!", "sub/c.jpg,s", "d.jpg,- .")
    write_captions(photos, *rows)
    splits = load_from(photos)
    assert every_id(splits) == ["a.jpg", "d.jpg", "sub/c.jpg"]
    captions = {
        image: split.captions[index]
        for split in splits.values()
        for index, image in enumerate(split.ids)
    }
    assert captions["a.jpg"] == ("a dog",) and captions["d.jpg"] == ("- .",)
    notes = splits["train"].notes
    assert (
        "3 captions without a word left out: '...' of a.jpg, '! , ?' of a.jpg, '!!!' of b.png"
        in notes
    )
    assert not [note for note in notes if "have no caption" in note]
    assert "1 photos have no other caption and are left out: b.png" in notes


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_file", ["NFC", "NFD"])
def test_accents_may_be_written_in_either_form_in_the_file_and_on_the_disk(
    tmp_path, on_disk, in_file, monkeypatch
):
    mine = tmp_path / "mine"
    names = ("caf\u00e9.jpg", "\u00e9t\u00e9/\u00fc.jpg", "\u1e69.png")
    for shade, name in enumerate(names):
        path = mine / unicodedata.normalize(on_disk, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(path)
    write_captions(mine, *(f"{unicodedata.normalize(in_file, name)},s" for name in names))
    listed = []
    original = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda path: listed.append(path) or original(path))
    splits = load_from(mine)
    assert every_id(splits) == sorted(names)
    assert not [note for note in splits["train"].notes if "no caption" in note]
    assert listed.count(mine) <= 2  # once for the photos, beside once for the folders below


def test_a_photo_named_in_both_forms_is_one_photo(photos):
    Image.new("RGB", (4, 4)).save(photos / "caf\u00e9.jpg")
    write_captions(photos, "caf\u00e9.jpg,one", "cafe\u0301.jpg,two", "a.jpg,s", "d.jpg,s")
    splits = load_from(photos)
    assert every_id(splits) == ["a.jpg", "caf\u00e9.jpg", "d.jpg"]
    assert ("one", "two") in [captions for split in splits.values() for captions in split.captions]


LOADING = """
import sys
from jaxcap import errors
from tests.data.raw_files import load
def main():
    splits = load("folder", dir=sys.argv[1], prepared_dir=sys.argv[2])
    for split in splits.values():
        for index, image in enumerate(split.ids):
            print(image, split.captions[index][0], len(split.photo(index)))
errors.exit_with(main)
"""


def test_accents_do_no_harm_where_the_locale_knows_ascii_alone(tmp_path):
    names = ("caf\u00e9.jpg", "\u00e9t\u00e9/\u00fc.jpg", "\u1e69.png")
    for name in names:
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (len(name), 0, 0)).save(path)
    write_captions(tmp_path / "mine", *(f"{name},un caf\u00e9" for name in names))
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    strict = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    command = [
        sys.executable,
        *strict,
        "-c",
        LOADING,
        str(tmp_path / "mine"),
        str(tmp_path / "prepared"),
    ]
    ran = subprocess.run(command, capture_output=True, env=os.environ | locale)
    assert ran.returncode == 0, ran.stderr.decode()
    size = {name: (tmp_path / "mine" / name).stat().st_size for name in names}
    assert sorted(ran.stdout.decode().splitlines()) == sorted(
        f"{name} un caf\u00e9 {size[name]}" for name in names
    )
