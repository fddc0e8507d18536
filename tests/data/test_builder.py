"""The records of a prepared split: their order, their files, and the memory that writing takes."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from jaxcap.data import builder
from tests.data.raw_files import NAMES30K, load, write_flickr30k


def test_records_keep_their_order_over_several_files(raw, monkeypatch):
    monkeypatch.setattr(builder, "_SHARD_PHOTOS", 2)
    write_flickr30k(raw, NAMES30K, lists=False)
    order = NAMES30K[::-1]
    (raw / "train_images.txt").write_text("\n".join(order))
    split = load("flickr30k", dir=str(raw))["train"]
    assert (
        [split.records[index]["id"].decode() for index in range(len(split))]
        == order
        == list(split.ids)
    )


def test_a_file_holds_no_more_photos_than_fit_into_memory():
    assert builder.cut_into_shards([1] * 2500) == [
        range(1000),
        range(1000, 2000),
        range(2000, 2500),
    ]
    limit = builder._SHARD_BYTES
    assert builder.cut_into_shards([limit, 1, limit - 1, limit + 1, 1]) == [
        range(1),
        range(1, 3),
        range(3, 4),
        range(4, 5),
    ]
    assert builder.cut_into_shards([]) == [range(0)]


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    load("scenes", scenes=10, scene_size=32, seed=6)
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
def test_preparing_many_large_photos_takes_little_memory(tmp_path):
    """400 photos of 4 MB are 1.6 GB; the process stays below 1 GB, its imports included."""
    folder = tmp_path / "camera"
    folder.mkdir()
    rows = []
    noise = os.urandom(4_000_000)
    for number in range(400):
        # Preparing does not decode photos, so any bytes are a photo here.
        (folder / f"{number}.jpg").write_bytes(number.to_bytes(4) + noise)
        rows.append(f"{number}.jpg,a dog\n")
    (folder / "captions.csv").write_text("image,caption\n" + "".join(rows), encoding="utf-8")
    # Not the maximum that getrusage tells: a process inherits its parent's there.
    code = (
        "import re; from tests.data.raw_files import load;"
        f"load('folder', dir={str(folder)!r});"
        "print(re.search('VmHWM:.* ([0-9]+) kB', open('/proc/self/status').read())[1])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 700_000, run.stdout
    for path in (folder, tmp_path / "cache"):
        shutil.rmtree(path)
