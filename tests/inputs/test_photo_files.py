"""Reading photos within bounds: how many large ones are decoded together."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from jaxcap.inputs import images
from jaxcap.inputs.photo_files import PICTURE, MemoryBudget, Reader


def test_threads_wait_for_memory_and_one_alone_may_take_more():
    budget = MemoryBudget(10)
    lock = threading.Lock()
    inside = []
    seen = []

    def work(size):
        with budget.reserve(size):
            with lock:
                inside.append(size)
                seen.append(list(inside))
            time.sleep(0.002)
            with lock:
                inside.remove(size)

    sizes = [1, 4, 4, 7, 30, 10, 2, 2, 2, 9] * 8
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, sizes))
    assert len(seen) == len(sizes)
    assert all(sum(together) <= 10 or len(together) == 1 for together in seen)
    assert any(len(together) > 1 for together in seen)


def test_memory_is_released_after_a_failure():
    budget = MemoryBudget(1)
    with pytest.raises(ValueError), budget.reserve(5):
        raise ValueError
    with budget.reserve(5):
        pass


@pytest.mark.parametrize(
    ("mode", "size", "kind"),
    [
        ("RGB", (4100, 4100), "JPEG"),
        ("RGB", (900, 600), "JPEG"),
        ("RGBA", (3000, 2100), "PNG"),
        ("L", (70, 50), "GIF"),
    ],
)
def test_the_head_tells_how_many_pixels_are_decoded(tmp_path, mode, size, kind):
    Image.new(mode, size).save(tmp_path / "a", kind)
    data = (tmp_path / "a").read_bytes()
    with (tmp_path / "a").open("rb") as file:
        assert images.count_decoded_pixels(file) == np.prod(images.decode(data, "a").shape[:2])


def test_what_is_kept_is_the_view_of_the_whole_photo_and_a_small_picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (500, 900, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = Reader(32, drawn=True)(tmp_path / "a.png")
    np.testing.assert_array_equal(seen.view, images.test_view(pixels, size=32))
    assert seen.picture.shape == (PICTURE * 5 // 9, PICTURE, 3)
    assert Reader(32, drawn=False)(tmp_path / "a.png").picture is None
