"""Data sets from the net, here from a server of our own: fetched once, unpacked whole, never
outside their folder.
"""

import functools
import hashlib
import http.server
import io
import json
import subprocess
import sys
import threading
import zipfile

import pytest
from PIL import Image

from jaxcap.data import coco, flickr8k, locations
from jaxcap.errors import UserError
from jaxcap.io import archives, fetch
from tests.data.raw_files import load

NAMES = [f"{number}_ab{number}.jpg" for number in range(21, 26)]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        self.server.asked.append(self.path)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A server of the folder `site`, in place of the real ones; counts what it is asked for."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    server.asked = []
    server.folder = folder
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(locations, "KAGGLE", tmp_path / "kaggle")
    monkeypatch.setattr(fetch, "PAUSES", ())
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def photo(shade):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def pack(path, **members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def offer_flickr8k(site, monkeypatch):
    monkeypatch.setattr(flickr8k, "URL", site.url)
    photos = {f"Flicker8k_Dataset/{name}": photo(index) for index, name in enumerate(NAMES)}
    junk = {f"__MACOSX/Flicker8k_Dataset/._{name}": "x" for name in NAMES * 2}
    monkeypatch.setattr(flickr8k, "MD5", {"Flickr8k_text.zip": "", "Flickr8k_Dataset.zip": ""})
    pack(site.folder / "Flickr8k_Dataset.zip", **photos, **junk)
    text = {"Flickr8k.token.txt": "".join(f"{name}#0\ta dog\n" for name in NAMES)}
    text |= {"Flickr_8k.trainImages.txt": "\n".join(NAMES[:3]), "Flickr_8k.devImages.txt": NAMES[3]}
    pack(
        site.folder / "Flickr8k_text.zip",
        **text,
        **{"Flickr_8k.testImages.txt": NAMES[4], "readme.txt": ""},
    )
    for name in flickr8k.MD5:
        flickr8k.MD5[name] = hashlib.md5((site.folder / name).read_bytes()).hexdigest()


def test_flickr8k_is_fetched_once_and_only_when_asked(site, monkeypatch, tmp_path):
    offer_flickr8k(site, monkeypatch)
    with pytest.raises(UserError, match="data.download=True"):
        load("flickr8k")
    assert not site.asked
    splits = load("flickr8k", download=True)
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "val": 1, "test": 1}
    assert splits["test"].photo(0) == photo(4)
    assert len(site.asked) == 2
    assert len(load("flickr8k", download=True)) == len(load("flickr8k")) == 3
    assert len(site.asked) == 2
    assert not list((tmp_path / "cache").rglob("*.zip"))
    assert len(load("flickr8k", dir=str(tmp_path / "own"), download=True)) == 3
    assert (tmp_path / "own" / "Flickr8k_Dataset").is_dir() and len(site.asked) == 4


def test_a_missing_archive_ends_in_one_line(site, monkeypatch):
    monkeypatch.setattr(flickr8k, "URL", site.url)
    with pytest.raises(UserError, match="Flickr8k_text.zip"):
        load("flickr8k", download=True)


def offer_coco(site, monkeypatch):
    monkeypatch.setattr(coco, "URL", site.url)
    monkeypatch.setattr(coco, "KARPATHY_URL", f"{site.url}/k/caption_datasets.zip")
    images = []
    sums = {}
    for year in (2014, 2017):
        annotated = {}
        for part, numbers in (("train", (1, 2, 3, 4)), ("val", (5, 6))):
            names = {
                n: f"COCO_{part}2014_{n:012d}.jpg" if year == 2014 else f"{n:012d}.jpg"
                for n in numbers
            }
            photos = {f"{part}{year}/{name}": photo(n) for n, name in names.items()}
            sums[f"{part}{year}.zip"] = pack(site.folder / "zips" / f"{part}{year}.zip", **photos)
            table = {"images": [{"id": n, "file_name": name} for n, name in names.items()]}
            table["annotations"] = [{"image_id": n, "caption": "a cat"} for n in names]
            annotated[f"annotations/captions_{part}{year}.json"] = json.dumps(table)
            if year == 2014:
                images += [
                    {"filename": name, "cocoid": n, "sentences": [{"raw": "a"}]}
                    for n, name in names.items()
                ]
        name = f"annotations_trainval{year}.zip"
        annotated[f"annotations/instances_train{year}.json"] = "not wanted"
        sums[name] = pack(site.folder / "annotations" / name, **annotated)
    for image, split in zip(
        images, ("train", "train", "val", "test", "restval", "test"), strict=True
    ):
        image["split"] = split
    members = {
        "dataset_coco.json": json.dumps({"images": images}),
        "dataset_flickr8k.json": "not wanted",
    }
    sums["caption_datasets.zip"] = pack(site.folder / "k" / "caption_datasets.zip", **members)
    monkeypatch.setattr(coco, "SHA256", sums)


def test_coco_of_2014_comes_with_karpathys_splits(site, monkeypatch, tmp_path):
    offer_coco(site, monkeypatch)
    splits = load("coco", download=True)
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "val": 1, "test": 2}
    assert sorted(site.asked) == [
        "/k/caption_datasets.zip",
        "/zips/train2014.zip",
        "/zips/val2014.zip",
    ]
    assert not list((tmp_path / "cache").rglob("dataset_flickr8k.json"))
    load("coco", download=True)
    assert len(site.asked) == 3


def test_coco_of_2017_comes_with_its_own_annotations(site, monkeypatch, tmp_path):
    offer_coco(site, monkeypatch)
    splits = load("coco", year=2017, download=True)
    assert {name: len(split) for name, split in splits.items()} == {"train": 3, "val": 1, "test": 2}
    assert sorted(site.asked) == [
        "/annotations/annotations_trainval2017.zip",
        "/zips/train2017.zip",
        "/zips/val2017.zip",
    ]
    assert not list((tmp_path / "cache").rglob("instances*"))


def test_an_archive_that_is_not_what_was_published_is_refused(site, monkeypatch):
    offer_coco(site, monkeypatch)
    monkeypatch.setitem(coco.SHA256, "train2014.zip", "0" * 64)
    with pytest.raises(UserError, match="train2014.zip.*sha256"):
        load("coco", download=True)


def test_flickr8ks_archives_are_checked_too(site, monkeypatch, tmp_path):
    assert [len(md5) for md5 in flickr8k.MD5.values()] == [32, 32]
    offer_flickr8k(site, monkeypatch)
    archive = site.folder / "Flickr8k_Dataset.zip"
    archive.write_bytes(archive.read_bytes().replace(b"JFIF", b"JFIX", 1))
    with pytest.raises(UserError, match="Flickr8k_Dataset.zip.*another file than expected .md5"):
        load("flickr8k", download=True)
    assert (tmp_path / "cache" / "raw" / "flickr8k" / "Flickr8k_text").is_dir()
    assert not list((tmp_path / "cache").rglob("*.zip*"))


def test_an_archive_that_came_damaged_is_removed_and_fetched_anew_by_the_next_run(site, tmp_path):
    archive = site.folder / "x.zip"
    pack(archive, **{"a.txt": "0123456789" * 9, "b.txt": "b"})
    whole = archive.read_bytes()
    archive.write_bytes(whole.replace(b"0123456789", b"0123456780", 1))
    with pytest.raises(
        UserError,
        match="x.zip was damaged .Bad CRC-32 for file 'a.txt'.* and is removed: run again",
    ):
        archives.fetch_archive(f"{site.url}/x.zip", tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []
    archive.write_bytes(whole)
    assert (
        archives.fetch_archive(f"{site.url}/x.zip", tmp_path / "raw") / "b.txt"
    ).read_text() == "b"


FETCHING = """
import sys
from pathlib import Path
from jaxcap.io.archives import fetch_archive
print(len(list(fetch_archive(sys.argv[1], Path(sys.argv[2])).iterdir())))
"""


def test_of_two_processes_one_fetches_and_unpacks_and_the_other_waits_and_finds_it(site, tmp_path):
    pack(site.folder / "x.zip", **{f"{number}.txt": "x" for number in range(3000)})
    command = [sys.executable, "-c", FETCHING, f"{site.url}/x.zip", str(tmp_path / "raw")]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [process.communicate(timeout=60) for process in running]
    assert [out for out, _ in ended] == ["3000\n"] * 4, ended
    assert len(site.asked) == 1
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["x"]


def test_an_encrypted_archive_is_named_and_kept(tmp_path):
    path = tmp_path / "x.zip"
    pack(path, **{"a.txt": "0123456789", "b.txt": "b"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= (
        1  # the flag in the directory, and before the file itself
    )
    content[6] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="x.zip: 'a.txt' in it is encrypted"):
        archives.unpack(path, tmp_path / "x")
    assert [child.name for child in tmp_path.iterdir()] == ["x.zip"]
    archives.unpack(path, tmp_path / "x", members="b")  # what is not wanted may be encrypted


def test_an_archive_packed_in_an_unknown_way_is_named(tmp_path):
    path = tmp_path / "x.zip"
    pack(path, **{"a.txt": "0123456789"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = content[8] = 99
    path.write_bytes(content)
    with pytest.raises(UserError, match="x.zip: packed in a way that is unknown here"):
        archives.unpack(path, tmp_path / "x")


def test_a_folder_of_downloads_that_cannot_be_written_is_named(site, tmp_path):
    pack(site.folder / "x.zip", **{"a.txt": "x"})
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="x.zip: cannot write .*file.* set another place"):
        archives.fetch_archive(f"{site.url}/x.zip", tmp_path / "file" / "raw")


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/tmp/evil.txt", "a/../../evil.txt", "inside/../../.other/evil.txt"]
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused_whole(tmp_path, name):
    pack(tmp_path / "x.zip", **{"good.txt": "", name: "evil"})
    with pytest.raises(UserError, match="evil.txt.*outside"):
        archives.unpack(tmp_path / "x.zip", tmp_path / "folder" / "x")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["x.zip"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"0123456789", b"0123456780", 1)]
)
def test_a_damaged_archive_is_named_and_leaves_nothing(tmp_path, damage):
    path = tmp_path / "x.zip"
    pack(path, **{"a.txt": "0123456789" * 9, "b.txt": "b"})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="x.zip: not a whole zip archive.*remove it"):
        archives.unpack(path, tmp_path / "x")
    assert [child.name for child in tmp_path.iterdir()] == ["x.zip"]
