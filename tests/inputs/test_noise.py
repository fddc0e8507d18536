"""Noise on photos: its statistics, and that a photo always gets the same."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from jaxcap.data.split import Split
from jaxcap.inputs import images
from jaxcap.inputs.batches import read_photos
from jaxcap.inputs.features import CacheSpec, fill_cache, open_cache
from jaxcap.inputs.noise import Noise, add_noise

GREY = np.full((300, 400, 3), 128, np.uint8)


def drawn(gaussian, salt_and_pepper, pixels=GREY, seed=0):
    return add_noise(pixels, gaussian, salt_and_pepper, np.random.default_rng(seed))


def test_gaussian_noise_has_its_mean_and_deviation():
    noise = drawn(0.1, 0).astype(float) - 128
    values = noise.size
    assert abs(noise.mean()) < 5 * 25.5 / values**0.5
    assert noise.std() == pytest.approx(25.5, rel=0.01)
    # Each channel has its own.
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02


def test_salt_and_pepper_take_whole_pixels_each_as_often():
    noisy = drawn(0, 0.2)
    changed = (noisy != 128).all(-1)
    assert ((noisy != 128).any(-1) == changed).all()
    assert set(np.unique(noisy[changed])) == {0, 255}
    assert changed.mean() == pytest.approx(0.2, abs=0.005)
    assert (noisy[changed] == 255).mean() == pytest.approx(0.5, abs=0.02)


def test_salt_stays_white_under_gaussian_noise_and_nothing_leaves_the_range():
    noisy = drawn(0.3, 0.5, np.zeros((200, 200, 3), np.uint8))
    assert noisy.dtype == np.uint8
    assert (noisy == 255).all(-1).mean() == pytest.approx(0.25, abs=0.01)
    assert (drawn(0, 1) != 128).all()
    np.testing.assert_array_equal(drawn(0, 0), GREY)


def png(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_noise_follows_from_the_photo_alone(tmp_path):
    """Whatever it is called, wherever it stands, and whether it is read or cached."""
    noise = Noise(0.1, 0.05)
    files = [png(seed) for seed in range(4)]
    wanted = [noise.add(images.plain_view(file, "x", size=8), file) for file in files]
    assert not np.array_equal(
        wanted[0].astype(int) - images.plain_view(files[0], "x", size=8),
        wanted[1].astype(int) - images.plain_view(files[1], "x", size=8),
    )
    order = [2, 0, 3, 1]
    records = [{"photo": files[row]} for row in order]
    split = Split("val", tuple("abcd"), ((),) * 4, records)
    with ThreadPoolExecutor(2) as pool:
        read = read_photos(split, size=8, augment=None, pool=pool, noise=noise)
        rows = np.arange(4)
        batch = read(rows, np.zeros(4, int), [(0,)] * 4)["images"]
    np.testing.assert_array_equal(batch, np.stack(wanted)[order])

    def encode(pixels):
        return pixels.reshape(len(pixels), 8, 24).astype(np.float32)

    spec = CacheSpec("k", (8, 24), size=8, noise=noise)
    path = fill_cache(tmp_path / "cache", split.photo, "abcd", encode, spec, batch_size=3)
    np.testing.assert_array_equal(open_cache(path)[:, 0].reshape(batch.shape), batch)


@pytest.mark.parametrize(
    ("noise", "text"),
    [
        (Noise(0.1, 0.05), "gaussian=0.1,salt_and_pepper=0.05"),
        (Noise(gaussian=0.25), "gaussian=0.25"),
        (Noise(), ""),
    ],
)
def test_noise_is_written_as_it_is_typed(noise, text):
    assert str(noise) == text
