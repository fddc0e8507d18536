import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcap.errors import UserError
from jaxcap.inputs import feature_files, features, images
from jaxcap.io.progress import Progress
from jaxcap.models.encoder import normalize

GRID = (4, 3)
VIEWS = ("plain", "mirror", "top_left")
COUNT = 11


def photo(index: int) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (12, 10, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


NAMES = [f"photo{index}.png" for index in range(COUNT)]


def quarters(pixels: np.ndarray) -> np.ndarray:
    """An encoder of sorts: the mean colour of each quarter, uint8 [B, S, S, 3] to float [B, 4,
    3].
    """
    half = pixels.shape[1] // 2
    corners = (pixels[:, y : y + half, x : x + half] for y in (0, half) for x in (0, half))
    return np.stack([corner.mean((1, 2)) for corner in corners], 1) / 7


def fill(path, encode=quarters, **changed) -> Path:
    spec = {"key": "k", "grid": GRID, "views": VIEWS, "resize": 10, "size": 8}
    options = {"photo": photo, "names": NAMES, "batch_size": 4, "workers": 2}
    for name, value in changed.items():
        (spec if name in spec else options)[name] = value
    return features.fill_cache(path, encode=encode, spec=features.CacheSpec(**spec), **options)


def stops_at(call: int, error: BaseException):
    """An encoder that raises at its `call`-th call, and the list of its calls so far."""
    calls = []

    def encode(pixels):
        if len(calls) == call:
            raise error
        calls.append(len(pixels))
        return quarters(pixels)

    return encode, calls


def content(path: Path) -> bytes:
    return (path / "features.npy").read_bytes()


@pytest.fixture(scope="module")
def uncut(tmp_path_factory) -> Path:
    return fill(tmp_path_factory.mktemp("uncut") / "cache")


def test_rows_are_the_features_of_every_photo_in_every_view_in_order(uncut):
    cache = features.open_cache(uncut)
    assert cache.shape == (COUNT, len(VIEWS), *GRID) and cache.dtype == np.float16
    for index in range(COUNT):
        pixels = images.decode(photo(index), "x")
        for place, name in enumerate(VIEWS):
            view = images.view(pixels, name, resize=10, size=8)
            np.testing.assert_array_equal(
                cache[index, place], quarters(view[None])[0].astype(np.float16)
            )


def test_a_cache_is_a_plain_npy_file_and_says_what_it_holds(uncut):
    loaded = np.load(uncut / "features.npy", mmap_mode="r")
    assert loaded.shape == (COUNT, len(VIEWS), *GRID)
    meta = json.loads((uncut / "meta.json").read_text())
    assert meta["key"] == "k" and meta["views"] == list(VIEWS) and meta["photos"] == NAMES
    assert sorted(file.name for file in uncut.iterdir()) == ["features.npy", "meta.json"]
    assert [file.name for file in uncut.parent.iterdir()] == ["cache"]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 33, 64])
def test_neither_the_batch_size_nor_the_padding_shows(tmp_path, uncut, batch_size):
    sizes = set()

    def encode(pixels):
        sizes.add(len(pixels))
        return quarters(pixels)

    assert content(fill(tmp_path / "cache", encode, batch_size=batch_size)) == content(uncut)
    assert sizes == {batch_size}


@pytest.mark.parametrize("workers", [1, 7])
def test_the_number_of_threads_does_not_show(tmp_path, uncut, workers):
    assert content(fill(tmp_path / "cache", workers=workers)) == content(uncut)


@pytest.mark.parametrize("call", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("error", [RuntimeError("device lost"), KeyboardInterrupt()])
def test_a_fill_cut_off_goes_on_where_it_stopped_and_ends_in_the_same_bytes(
    tmp_path, uncut, call, error
):
    path = tmp_path / "cache"
    encode, _ = stops_at(call, error)
    with pytest.raises(type(error)):
        fill(path, encode)
    with pytest.raises(UserError, match="no finished features"):
        features.open_cache(path)
    encode, calls = stops_at(99, error)
    fill(path, encode)
    assert content(path) == content(uncut)
    rows_kept = 4 * max(call - 1, 0)  # the batch whose successor failed had not been read back
    assert len(calls) == -(-(COUNT * len(VIEWS) - rows_kept) // 4)


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from jaxcap.inputs import feature_files
from tests.inputs.test_features import fill, quarters
feature_files._RECORD_EVERY = 0
calls = []
def encode(pixels):
    calls.append(1)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return quarters(pixels)
fill({path!r}, encode)
"""


def test_a_killed_fill_goes_on_where_it_stopped_and_ends_in_the_same_bytes(tmp_path, uncut):
    path = tmp_path / "cache"
    script = KILLED.format(root=str(Path(__file__).parents[2]), path=str(path))
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    encode, calls = stops_at(99, RuntimeError())
    fill(path, encode)
    assert content(path) == content(uncut)
    assert len(calls) == 5  # 9 batches, of which 4 had been read back and recorded


def write_pieces(folder, meta, pieces, rows):
    """Writes pieces of an unfinished cache, whose rows are all known, in batches of two."""
    for piece in pieces:
        starts = range(piece.start, piece.stop, 2)
        batches = (rows[start : min(start + 2, piece.stop)] for start in starts)
        with Progress(None, "features", "views") as progress:
            feature_files.write_rows(folder, meta, piece, batches, progress)


@pytest.mark.parametrize("shares", [(2,), (3, 5), (5, 1, 2)])
def test_any_number_of_processes_goes_on_with_what_others_have_left(tmp_path, uncut, shares):
    """Each time, only some of the processes come to the end of their shares."""
    meta = feature_files.read_meta(uncut)
    rows = np.ascontiguousarray(features.open_cache(uncut)).reshape(-1, *GRID)
    partial = tmp_path / "cache.partial"
    feature_files.begin(partial, meta)
    left = len(rows)
    for count in shares:
        missing = feature_files.list_missing(partial, meta)
        divided = feature_files.share_out(missing, count)
        assert sum(piece.stop - piece.start for piece in missing) == left
        sizes = [sum(piece.stop - piece.start for piece in share) for share in divided]
        assert sum(sizes) == left and max(sizes) - min(sizes) <= 1
        for number in range(1, count, 2):
            write_pieces(partial, meta, divided[number], rows)
            left -= sizes[number]
    encode, calls = stops_at(99, RuntimeError())
    assert content(fill(tmp_path / "cache", encode)) == content(uncut)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        "features.npy",
        "meta.json",
    ]
    assert len(calls) < 9 and left < len(rows)  # what was there is not computed again


def test_a_batch_torn_by_the_cut_is_computed_again(tmp_path, uncut):
    for tear in (
        lambda data: data + b"torn",
        lambda data: data[:-5],
        lambda data: data[:40],
        lambda data: b"",
    ):
        path = tmp_path / "cache"
        with pytest.raises(RuntimeError):
            fill(path, stops_at(5, RuntimeError())[0])
        partial = path.with_name("cache.partial") / "features.npy"
        partial.write_bytes(tear(partial.read_bytes()))
        assert content(fill(path)) == content(uncut)
        shutil.rmtree(path)


@pytest.mark.parametrize("record", ["", "many", "-3", "999999"])
def test_a_damaged_record_of_progress_costs_time_but_no_row(tmp_path, uncut, record):
    path = tmp_path / "cache"
    with pytest.raises(RuntimeError):
        fill(path, stops_at(5, RuntimeError())[0])
    (tmp_path / "cache.partial" / "rows_done").write_text(record)
    assert content(fill(path)) == content(uncut)


def test_what_was_begun_for_other_features_is_not_gone_on_with(tmp_path, uncut):
    with pytest.raises(RuntimeError):
        fill(tmp_path / "cache", stops_at(5, RuntimeError())[0], key="other weights")
    assert content(fill(tmp_path / "cache")) == content(uncut)


def test_a_finished_cache_is_not_computed_again(tmp_path):
    path = fill(tmp_path / "cache")
    encode, calls = stops_at(0, AssertionError("encoded again"))
    assert fill(path, encode) == path and not calls


def test_a_finished_cache_of_something_else_is_refused(tmp_path):
    path = fill(tmp_path / "cache")
    before = content(path)
    with pytest.raises(UserError, match="does not hold these features"):
        fill(path, key="other weights")
    assert content(path) == before


def test_a_damaged_photo_is_named_and_once_repaired_the_rest_is_computed(tmp_path, uncut):
    def damaged(index):
        return photo(index)[: 60 if index == 8 else None]

    with pytest.raises(UserError, match="photo8.png"):
        fill(tmp_path / "cache", photo=damaged)
    encode, calls = stops_at(99, RuntimeError())
    fill(tmp_path / "cache", encode)
    assert content(tmp_path / "cache") == content(uncut)
    assert len(calls) < 6  # of 9


@pytest.mark.parametrize("value", [7e4, -1e9, np.inf, np.nan])
def test_features_that_half_precision_cannot_hold_are_refused_with_the_photo(tmp_path, value):
    def encode(pixels):
        made = quarters(pixels).astype(np.float32)
        made[3, 2, 1] = value  # of the first batch: the first view of the second photo
        return made

    with pytest.raises(UserError, match=r"photo photo1\.png .*half precision"):
        fill(tmp_path / "cache", encode)
    assert not (tmp_path / "cache").exists()


def test_the_largest_half_precision_number_is_no_overflow(tmp_path):
    path = fill(tmp_path / "cache", lambda pixels: np.full((len(pixels), *GRID), 65504.0))
    assert (features.open_cache(path) == 65504).all()


def test_an_encoder_of_another_grid_is_a_mistake_of_ours(tmp_path):
    with pytest.raises(ValueError, match=r"\(4, 4, 3\)"):
        fill(tmp_path / "cache", grid=(5, 3))


def test_too_small_a_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 700)
    )
    with pytest.raises(UserError, match=r"the features need 0\.0 MB .* 0\.0 MB are free"):
        fill(tmp_path / "cache")
    assert not list(tmp_path.glob("cache*"))


def test_a_disk_that_fills_up_ends_in_one_line_and_the_work_goes_on_later(
    tmp_path, uncut, monkeypatch
):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="no space left on disk"):
        patch.setattr(os, "fsync", full)
        fill(tmp_path / "cache")
    assert content(fill(tmp_path / "cache")) == content(uncut)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to .*file .*choose another folder"):
        fill(tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"views": ("plain", "center")}, "no view 'center'"),
        ({"views": ()}, "0 views"),
        ({"names": []}, "0 photos"),
    ],
)
def test_a_mistaken_request_is_refused_before_anything_is_written(tmp_path, changed, words):
    with pytest.raises(UserError, match=words):
        fill(tmp_path / "cache", **changed)
    assert not list(tmp_path.iterdir())


def test_of_two_that_fill_one_cache_one_works_and_the_other_waits(tmp_path, uncut, capsys):
    calls = []

    def slow(pixels):
        calls.append(1)
        time.sleep(0.05)
        return quarters(pixels)

    both = [threading.Thread(target=fill, args=(tmp_path / "cache", slow)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(calls) == 9
    assert content(tmp_path / "cache") == content(uncut)
    assert "waiting for it" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["cache"]


def test_a_batch_is_read_back_only_when_the_next_is_on_its_way(tmp_path):
    """So the device computes while the host reads back and writes."""
    events = []

    class Coming:
        def __init__(self, number, pixels):
            self.number = number
            self.pixels = pixels

        def __array__(self, dtype=None, copy=None):
            events.append(("read", self.number))
            return quarters(self.pixels)

    def encode(pixels):
        number = sum(kind == "sent" for kind, _ in events)
        events.append(("sent", number))
        return Coming(number, pixels)

    fill(tmp_path / "cache", encode)
    order = [("sent", 0)]
    for number in range(1, 9):
        order += [("sent", number), ("read", number - 1)]
    assert events == [*order, ("read", 8)]


def test_photos_are_decoded_ahead_but_not_all_at_once(tmp_path):
    asked = []
    at_first_call = []

    def counted(index):
        asked.append(index)
        return photo(index % COUNT)

    def encode(pixels):
        at_first_call.append(len(asked))
        return quarters(pixels)

    names = [str(index) for index in range(60)]
    fill(
        tmp_path / "cache",
        encode,
        photo=counted,
        names=names,
        views=("plain",),
        batch_size=4,
        workers=2,
    )
    assert (
        4 <= at_first_call[0] <= 4 + 2 + 2 * 4
    )  # one batch, the threads, and two batches that wait
    assert sorted(asked) == list(range(60))


def test_a_compiled_encoder_is_compiled_once_and_its_numbers_are_kept(tmp_path):
    traced = []

    @jax.jit
    def encode(pixels):
        traced.append(pixels.shape)
        return normalize(pixels).reshape(len(pixels), 64, 3)

    path = fill(tmp_path / "cache", encode, grid=(64, 3), views=("plain",))
    assert traced == [(4, 8, 8, 3)]
    pixels = np.stack(
        [images.test_view(images.decode(photo(index), "x"), size=8) for index in range(COUNT)]
    )
    expected = normalize(jnp.asarray(pixels)).reshape(COUNT, 64, 3)
    np.testing.assert_allclose(features.open_cache(path)[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_what_is_done_and_how_large_it_gets_is_said_first(tmp_path, capsys):
    with pytest.raises(RuntimeError):
        fill(tmp_path / "cache", stops_at(5, RuntimeError())[0])
    first = capsys.readouterr().err.splitlines()[0]
    assert first == f"features: 33 views, 0.0 MB in {tmp_path}"
    fill(tmp_path / "cache")
    assert "33 views, 16 of them done before" in capsys.readouterr().err.splitlines()[0]


def test_the_key_changes_with_everything_it_is_made_of():
    parts = {"weights": "w", "transform": {"views": ["plain"], "size": 224}, "photos": ["1f", "2e"]}
    changes = [
        {},
        {"weights": "v"},
        {"transform": {"views": ["mirror"], "size": 224}},
        {"transform": {"views": ["plain"], "size": 299}},
        {"transform": "plain"},
        {"photos": ["2e", "1f"]},
        {"photos": ["1f", "2e", "3d"]},
        {"photos": ["1f2e", ""]},
        {"photos": []},
    ]
    keys = {features.cache_key(**parts | change) for change in changes}
    assert len(keys) == len(changes)
    assert all(len(key) == 32 and int(key, 16) for key in keys)


def test_the_key_is_the_same_for_the_same_things_in_every_process():
    one = features.cache_key("w", {"size": 224, "views": ("plain",)}, ("1f", "2e"))
    assert one == features.cache_key("w", {"views": ["plain"], "size": 224}, ["1f", "2e"])
    assert one == "51b10ffd745bf558b350b7593cb608c2"


def test_photos_under_other_names_share_a_cache(tmp_path, uncut):
    def fails(pixels):
        raise AssertionError("nothing is to be computed")

    path = fill(tmp_path / "cache")
    assert fill(path, fails, names=[name.upper() for name in NAMES]) == path


def test_gather_equals_indexing_for_any_rows_and_views(uncut):
    cache = features.open_cache(uncut)
    rng = np.random.default_rng(0)
    whole = np.array(cache)
    for size in (1, 5, 40):
        rows = rng.integers(0, COUNT, size)
        views = rng.integers(0, len(VIEWS), size)
        for made, expected in (
            (
                features.gather(cache, rows, views),
                [whole[row, view] for row, view in zip(rows, views, strict=True)],
            ),
            (features.gather(cache, rows.tolist()), whole[rows, 0]),
            (features.gather(cache, rows, 2), whole[rows, 2]),
            (features.gather(whole, rows, views), whole[rows, views]),
        ):
            assert made.dtype == np.float16 and not isinstance(made, np.memmap)
            np.testing.assert_array_equal(made, expected)


def test_an_opened_cache_cannot_be_written(uncut):
    with pytest.raises(ValueError, match="read-only"):
        features.open_cache(uncut)[0, 0] = 0


def test_a_damaged_cache_is_named(tmp_path):
    path = fill(tmp_path / "cache")
    good = content(path)
    for data in (good[:-1], good[:30], b"", b"\x80\x04K\x01."):
        (path / "features.npy").write_bytes(data)
        with pytest.raises(UserError, match=f"features at {path} are damaged"):
            features.open_cache(path)
    (path / "features.npy").write_bytes(good)
    for meta in ("", "{}", '{"shape": [1, 2]}'):
        (path / "meta.json").write_text(meta)
        with pytest.raises(UserError, match="damaged"):
            features.open_cache(path)


@pytest.mark.real_data
@pytest.mark.skipif("JAXCAP_DATA" not in os.environ, reason="JAXCAP_DATA is not set")
def test_real_photos_cut_off_and_resumed_give_what_one_go_gives(tmp_path):
    photos = sorted((Path(os.environ["JAXCAP_DATA"]) / "flickr8k" / "images").iterdir())[:50]
    options = {
        "photo": lambda index: photos[index].read_bytes(),
        "names": [photo.stem for photo in photos],
    }
    options |= {"resize": 256, "size": 224, "batch_size": 16, "views": ("plain", "mirror")}
    with pytest.raises(RuntimeError):
        fill(tmp_path / "cut", stops_at(4, RuntimeError())[0], **options)
    cut = fill(tmp_path / "cut", **options)
    whole = fill(tmp_path / "whole", **options)
    assert content(cut) == content(whole)
    plain, mirror = np.moveaxis(features.open_cache(whole), 1, 0)
    np.testing.assert_allclose(plain[:, [1, 0, 3, 2]], mirror, atol=0.02)


def test_rows_of_32_bits_find_their_place_in_a_cache_of_more_than_2_gib(tmp_path):
    """The file is sparse: only the pages of its last row are ever written."""
    shape = (70_000, 1, 1, 2**14)
    cache = np.lib.format.open_memmap(
        tmp_path / "features.npy", mode="w+", dtype=np.float16, shape=shape
    )
    cache[-1] = 3
    cache.flush()
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    rows = np.array([shape[0] - 1, 0], np.int32)
    read = features.gather(mapped, rows, np.zeros(2, np.int32))
    assert [float(row.mean()) for row in read] == [3, 0]
