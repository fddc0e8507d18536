"""Prepared sets: checked, written once, found again by content, never half-written."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from jaxcap.data import builder, prepare
from jaxcap.data.builder import SplitBuilder
from jaxcap.errors import UserError
from tests.data.raw_files import NAMES30K, draw, files_in, ids, load, write_flickr30k


def test_the_same_photo_under_two_names_in_two_splits_is_noted(raw, capsys):
    write_flickr30k(raw, NAMES30K)
    photos = raw / "flickr30k_images"
    (photos / NAMES30K[5]).write_bytes((photos / NAMES30K[1]).read_bytes())
    (photos / NAMES30K[3]).write_bytes(
        (photos / NAMES30K[2]).read_bytes()
    )  # both in train: no leak
    notes = load("flickr30k", dir=str(raw))["train"].notes
    assert (
        "photos in two splits, byte for byte the same: 1, namely 102.jpg (train) = 106.jpg (test)"
        in notes
    )
    assert "102.jpg (train) = 106.jpg (test)" in capsys.readouterr().err


def test_a_set_is_prepared_once_and_anew_when_its_files_change(raw, capsys):
    write_flickr30k(raw, NAMES30K)
    first = load("flickr30k", dir=str(raw))
    assert "train 4 images, 20 captions; val 1 images, 5 captions" in capsys.readouterr().err
    again = load("flickr30k", dir=str(raw))
    assert capsys.readouterr().err == ""
    assert again["train"].notes == first["train"].notes != ()
    (raw / "val_images.txt").write_text(f"{NAMES30K[3]}\n{NAMES30K[4]}\n")
    (raw / "train_images.txt").write_text(f"{NAMES30K[0]}\n")
    assert ids(load("flickr30k", dir=str(raw)))["val"] == NAMES30K[3:5]
    assert "preparing 3 photos" in capsys.readouterr().err  # the test split is there already


def count_sets(cache):
    """How many prepared sets there are, one for each split that was ever written."""
    return len(list((cache / "prepared").glob("*/*/captions")))


def test_an_overwritten_photo_is_noticed_also_with_the_size_and_the_time_it_had(raw, tmp_path):
    photo = write_flickr30k(raw, NAMES30K) / "flickr30k_images" / NAMES30K[0]
    before = load("flickr30k", dir=str(raw))["train"]
    stat = photo.stat()
    photo.write_bytes(photo.read_bytes()[::-1])
    os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = load("flickr30k", dir=str(raw))["train"]
    assert after.photo(0) == before.photo(0)[::-1]
    assert (after.photos[0] != before.photos[0], after.photos[1:]) == (True, before.photos[1:])
    assert count_sets(tmp_path / "cache") == 4  # train twice


def test_photos_in_deeper_folders_are_watched_too(tmp_path, capsys):
    folder = tmp_path / "mine"
    draw(folder / "2024" / "june", "a.png", "b.png", "c.png")
    rows = "".join(f"2024/june/{name}.png,a dog\n" for name in "abc")
    (folder / "captions.csv").write_text(f"image,caption\n{rows}", encoding="utf-8")
    before = load("folder", dir=str(folder))
    Image.new("RGB", (9, 9)).save(folder / "2024" / "june" / "a.png")
    after = load("folder", dir=str(folder))
    pairs = [
        (old, new)
        for name in before
        for old, new in zip(before[name].photos, after[name].photos, strict=True)
    ]
    assert sum(old != new for old, new in pairs) == 1


def test_stray_files_and_a_moved_folder_make_no_other_copy(raw, tmp_path, capsys):
    write_flickr30k(raw, NAMES30K)
    first = load("flickr30k", dir=str(raw))
    (raw / ".DS_Store").write_text("")
    (raw / "flickr30k_images" / ".DS_Store").write_text("")
    raw.rename(tmp_path / "moved")
    capsys.readouterr()
    again = load("flickr30k", dir=str(tmp_path / "moved"))
    assert capsys.readouterr().err == ""
    assert count_sets(tmp_path / "cache") == 3
    assert {name: split.photos for name, split in again.items()} == {
        name: split.photos for name, split in first.items()
    }
    assert again["val"].photo(0) == first["val"].photo(0)


def test_every_option_that_changes_the_content_has_a_set_of_its_own(raw):
    write_flickr30k(raw, NAMES30K)
    published = ids(load("flickr30k", dir=str(raw)))
    seeds = [ids(load("flickr30k", dir=str(raw), splits="random", seed=seed)) for seed in range(4)]
    assert all(sum(map(len, splits.values())) == 6 for splits in seeds)
    assert len({json.dumps(splits, sort_keys=True) for splits in [published, *seeds]}) > 2
    assert ids(load("flickr30k", dir=str(raw), seed=3)) == published


def test_a_strictly_prepared_set_serves_looser_wishes(raw, capsys):
    write_flickr30k(raw, NAMES30K)
    load("flickr30k", dir=str(raw))
    capsys.readouterr()
    assert list(load("flickr30k", dir=str(raw), only=("test",), allow_missing=True)) == ["test"]
    assert capsys.readouterr().err == ""


def test_prepared_dir_is_where_the_prepared_set_goes(raw, tmp_path):
    load("flickr30k", dir=str(write_flickr30k(raw, NAMES30K)), prepared_dir=str(tmp_path / "here"))
    assert list((tmp_path / "here" / "flickr30k").glob("*/captions/*/metadata.json"))
    assert not (tmp_path / "cache").exists()


def test_an_interrupted_preparation_leaves_nothing_and_the_next_one_is_whole(
    raw, tmp_path, monkeypatch
):
    write_flickr30k(raw, NAMES30K)
    read = builder.read_photo

    def interrupted(example):
        if example.id == NAMES30K[2]:
            raise KeyboardInterrupt
        return read(example)

    monkeypatch.setattr(builder, "read_photo", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("flickr30k", dir=str(raw))
    assert files_in(tmp_path / "cache") == []
    monkeypatch.setattr(builder, "read_photo", read)
    assert len(load("flickr30k", dir=str(raw))["train"]) == 4


def test_what_a_killed_process_left_is_not_taken_for_complete_and_cleared_away(raw, tmp_path):
    write_flickr30k(raw, NAMES30K)
    load("flickr30k", dir=str(raw))
    complete, *others = (tmp_path / "cache" / "prepared" / "flickr30k").glob("*/captions/*")
    assert len(others) == 2
    unfinished = complete.with_name("incomplete.AB12CD_1.0.0")
    complete.rename(unfinished)
    assert not SplitBuilder(data_dir=complete.parents[1]).is_complete
    assert len(load("flickr30k", dir=str(raw))["train"]) == 4
    assert complete.exists() and not unfinished.exists()


def test_a_photo_that_vanishes_while_it_is_read_is_named(raw, monkeypatch):
    write_flickr30k(raw, NAMES30K)
    monkeypatch.setattr(
        prepare,
        "check_space",
        lambda *arguments: (raw / "flickr30k_images" / "104.jpg").unlink(),
    )
    with pytest.raises(UserError, match="104.jpg: cannot be read"):
        load("flickr30k", dir=str(raw))


def test_a_full_disk_ends_in_one_line_and_leaves_nothing(raw, tmp_path, monkeypatch):
    write_flickr30k(raw, NAMES30K)

    class Disk:
        free = 10

    with (
        monkeypatch.context() as patched,
        pytest.raises(UserError, match="0 MB are free.*data.prepared_dir"),
    ):
        patched.setattr(shutil, "disk_usage", lambda folder: Disk)
        load("flickr30k", dir=str(raw))

    def write(self, examples, digests, update):
        raise RuntimeError(
            "write() failed: No space left on device; writing x"
        )  # as array_record says it

    with monkeypatch.context() as patched, pytest.raises(UserError, match="no space left on disk"):
        patched.setattr(SplitBuilder, "write", write)
        load("flickr30k", dir=str(raw))
    assert files_in(tmp_path / "cache") == []


def test_a_prepared_dir_that_cannot_be_written_is_named(raw, tmp_path):
    write_flickr30k(raw, NAMES30K)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to .*file .*data.prepared_dir"):
        load("flickr30k", dir=str(raw), prepared_dir=str(tmp_path / "file"))


def test_two_processes_prepare_the_same_set_once(raw, tmp_path):
    write_flickr30k(raw, NAMES30K)
    code = (
        "from tests.data.raw_files import load;"
        f"print(len(load('flickr30k', dir={str(raw)!r})['train']))"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [run.communicate() for run in runs]
    assert [out for out, _ in said] == ["4\n", "4\n"]
    assert sum("preparing 6 photos" in err for _, err in said) == 1
