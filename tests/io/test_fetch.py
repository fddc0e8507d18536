"""Downloads from a server on this machine that redirects, resumes, breaks off and fails as those of
the world do.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxcap.errors import UserError
from jaxcap.io import fetch as fetching
from jaxcap.io import locks
from jaxcap.io.fetch import fetch
from tests.hub import serving

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub():
    with serving(CONTENT) as server:
        yield server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def only(folder, *names):
    """Tells whether the folder holds these files and nothing else."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_file_arrives_whole_and_leaves_nothing_beside_it(hub, tmp_path, sha256):
    path = fetch(hub.url, tmp_path / "new" / "file", sha256=sha256, what="weights")
    assert path.read_bytes() == CONTENT
    assert only(path.parent, "file")


def test_a_file_that_is_there_is_not_downloaded_again(hub, tmp_path):
    for _ in range(2):
        fetch(hub.url, tmp_path / "file", sha256=SHA256, what="weights")
    assert len(hub.asked) == 1


def test_another_file_in_its_place_is_replaced(hub, tmp_path):
    (tmp_path / "file").write_bytes(b"something else")
    assert fetch(hub.url, tmp_path / "file", sha256=SHA256, what="weights").read_bytes() == CONTENT


def test_a_server_that_does_not_tell_the_length_will_do(hub, tmp_path):
    hub.lengths = False
    assert fetch(hub.url, tmp_path / "file", sha256=SHA256, what="weights").read_bytes() == CONTENT


def test_a_connection_that_breaks_off_is_taken_up_where_it_broke(hub, tmp_path):
    hub.faults.extend([("cut", 100_000), ("cut", 50_000)])
    assert fetch(hub.url, tmp_path / "file", sha256=SHA256, what="weights").read_bytes() == CONTENT
    assert hub.asked == [None, "bytes=100000-", "bytes=150000-"]


def interrupted(hub, folder):
    """Leaves the beginning of a download in `folder`, as a killed process does."""
    hub.faults.extend([("cut", 100_000), ("status", 503), ("status", 503)])
    with pytest.raises(UserError, match="503"):
        fetch(hub.url, folder / "file", what="weights")
    assert (folder / "file.part").read_bytes() == CONTENT[:100_000]
    hub.asked.clear()


def test_a_later_call_goes_on_where_an_earlier_one_ended(hub, tmp_path):
    interrupted(hub, tmp_path)
    assert fetch(hub.url, tmp_path / "file", what="weights").read_bytes() == CONTENT
    assert hub.asked == ["bytes=100000-"]
    assert only(tmp_path, "file")


@pytest.mark.parametrize("change", ["content", "ranges", "no etag", "weak etag"])
def test_a_download_begins_anew_when_it_cannot_go_on(hub, tmp_path, change):
    """Another file on the server, a server without ranges, or one that names no version: never two
    files in one.
    """
    hub.etag = {"no etag": None, "weak etag": 'W/"first"'}.get(change, hub.etag)
    interrupted(hub, tmp_path)
    if change == "content":
        hub.content = CONTENT[::-1]
        hub.etag = '"second"'
    hub.ranges = change != "ranges"
    assert fetch(hub.url, tmp_path / "file", what="weights").read_bytes() == hub.content
    assert hub.asked == [None if "etag" in change else "bytes=100000-"]
    assert only(tmp_path, "file")


@pytest.mark.parametrize("surplus", [b"", b"more"])
def test_a_part_that_is_complete_is_kept_and_a_longer_one_is_not(hub, tmp_path, surplus):
    interrupted(hub, tmp_path)
    (tmp_path / "file.part").write_bytes(CONTENT + surplus)
    assert fetch(hub.url, tmp_path / "file", what="weights").read_bytes() == CONTENT
    assert len(hub.asked) == (2 if surplus else 1)


def test_a_wrong_file_is_removed_and_named(hub, tmp_path):
    with pytest.raises(
        UserError, match="another file than expected.*sha256.*was removed: .*put the right file at"
    ):
        fetch(hub.url, tmp_path / "file", sha256="0" * 64, what="weights")
    assert only(tmp_path)


MD5 = hashlib.md5(CONTENT).hexdigest()


def test_an_md5_is_compared_where_no_sha256_was_published(hub, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"something else")
    assert fetch(hub.url, tmp_path / "file", md5=MD5, what="photos").read_bytes() == CONTENT
    fetch(hub.url, tmp_path / "file", md5=MD5, what="photos")
    assert len(hub.asked) == 1 and "checksum" not in capsys.readouterr().err
    hub.content = CONTENT[:-1] + b"x"
    (tmp_path / "file").unlink()
    with pytest.raises(UserError, match=r"another file than expected \(md5 .*was removed"):
        fetch(hub.url, tmp_path / "file", md5=MD5, what="photos")
    assert only(tmp_path)


def test_a_file_without_a_published_sum_is_taken_and_that_is_said_once(hub, tmp_path, capsys):
    for _ in range(2):
        fetch(hub.url, tmp_path / "file", what="photos")
    assert (
        capsys.readouterr().err.count(
            "photos: no checksum of it is known, so it is taken as it came"
        )
        == 1
    )


DOWNLOADING = """
import hashlib, sys
from jaxcap.io.fetch import fetch
url, path, sha256 = sys.argv[1:]
fetched = fetch(url, path, sha256=sha256 or None, what="weights")
print(hashlib.sha256(fetched.read_bytes()).hexdigest())
"""


def downloading(*arguments):
    """Begins a process that downloads."""
    command = [sys.executable, "-c", DOWNLOADING, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_of_two_processes_one_downloads_and_the_other_waits_and_finds_it(hub, tmp_path, sha256):
    hub.pause = 3.0
    running = [downloading(hub.url, tmp_path / "file", sha256) for _ in range(2)]
    ended = [process.communicate(timeout=60) for process in running]
    assert [out for out, _ in ended] == [f"{SHA256}\n"] * 2, ended
    assert len(hub.asked) == 1
    assert (
        sum("another process downloads weights: waiting for it" in said for _, said in ended) == 1
    )
    assert only(tmp_path, "file")


def test_whoever_waits_goes_on_where_a_killed_download_ended(hub, tmp_path):
    hub.content = CONTENT * 4
    hub.pause = 60.0  # some pieces of a download before the pause
    sha256 = hashlib.sha256(hub.content).hexdigest()
    killed = downloading(hub.url, tmp_path / "file", sha256)
    for _ in range(200):
        time.sleep(0.05)
        if (tmp_path / "file.part").exists() and (tmp_path / "file.part").stat().st_size:
            break
    hub.pause = 0.0
    waiting = downloading(hub.url, tmp_path / "file", sha256)
    assert "waiting" in waiting.stderr.readline()
    killed.kill()
    killed.communicate()
    out, _ = waiting.communicate(timeout=60)
    assert out == f"{sha256}\n"
    assert hub.asked[0] is None and re.fullmatch(r"bytes=[1-9]\d+-", hub.asked[1])
    assert only(tmp_path, "file")


def test_threads_take_turns_as_well(tmp_path):
    path = tmp_path / "made"
    inside = []
    most = []

    def make(_):
        with locks.hold_path(path, "waiting"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.005)
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(40)))
    assert most == [1] * 40
    assert only(tmp_path)


@pytest.mark.parametrize(("code", "attempts"), [(404, 1), (401, 1), (429, 3), (503, 3)])
def test_a_refusal_is_one_line_and_only_a_passing_one_is_tried_again(hub, tmp_path, code, attempts):
    hub.faults.extend([("status", code)] * 9)
    with pytest.raises(UserError) as mistake:
        fetch(hub.url, tmp_path / "file", what="ImageNet weights")
    assert re.search(
        rf"ImageNet weights: cannot download http.* says {code} .*put the file at",
        str(mistake.value),
    )
    assert "\n" not in str(mistake.value)
    assert len(hub.asked) == attempts


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_without_a_network_the_line_says_where_to_put_the_file(tmp_path, host):
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "file").write_bytes(b"something else")
    with pytest.raises(UserError) as mistake:
        fetch(f"http://{host}:{port}/file", tmp_path / "file", sha256=SHA256, what="weights")
    line = str(mistake.value)
    assert (
        "check the address and the network" in line
        and f"put the file at {tmp_path / 'file'}" in line
    )
    assert "its sha256 differs" in line and "\n" not in line
    assert only(tmp_path, "file")


def test_a_connection_that_always_breaks_off_is_given_up(hub, tmp_path):
    hub.faults.extend([("cut", 1000)] * 3)
    with pytest.raises(UserError, match="broke off after 3000 of 300000 bytes"):
        fetch(hub.url, tmp_path / "file", what="weights")


def test_a_silent_server_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.05)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        with pytest.raises(UserError, match="timed out"):
            fetch(url, tmp_path / "file", what="weights")


def test_a_file_that_would_not_fit_is_not_begun(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000)
    )
    with pytest.raises(UserError, match="no space left on disk while writing .*file.part"):
        fetch(hub.url, tmp_path / "file", what="weights")
    assert only(tmp_path)
    assert len(hub.asked) == 1


def test_a_disk_that_fills_up_on_the_way_ends_in_one_line(hub, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetching, "_receive", full)
    with pytest.raises(UserError, match="no space left on disk while writing .*file.part"):
        fetch(hub.url, tmp_path / "file", what="weights")
    assert len(hub.asked) == 1


def test_a_place_that_cannot_be_written_is_named(hub, tmp_path):
    (tmp_path / "plain").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="weights: cannot write .*plain"):
        fetch(hub.url, tmp_path / "plain" / "file", what="weights")
