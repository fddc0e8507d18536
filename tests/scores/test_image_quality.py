"""PSNR and SSIM: scikit-image's golden file, scikit-image itself, and what must always hold."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcap.scores.image_quality import measure, psnr, ssim

GOLDEN = Path(__file__).parents[1] / "golden"


def picture(name):
    return np.asarray(Image.open(GOLDEN / name))


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def test_scores_of_files_are_those_of_scikit_image():
    wanted = json.loads((GOLDEN / "quality.json").read_text(encoding="utf-8"))
    assert len(wanted) == 2
    for name, scores in wanted.items():
        found = measure(picture("clean.png"), picture(name))
        assert found == pytest.approx((scores["PSNR"], scores["SSIM"]), abs=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("shape", [(7, 7, 3), (33, 20, 3), (120, 121, 3)])
@pytest.mark.parametrize("data_range", [255, 1])
def test_scores_are_those_of_scikit_image(shape, data_range):
    metrics = pytest.importorskip("skimage.metrics")
    clean = noise(shape)
    other = (clean * 0.7 + noise(shape, seed=1) * 0.3).astype(np.uint8)
    if data_range == 1:
        clean = clean / 255
        other = other / 255
    wanted = metrics.structural_similarity(clean, other, channel_axis=-1, data_range=data_range)
    assert ssim(clean, other, data_range) == pytest.approx(wanted, abs=1e-9)
    wanted = metrics.peak_signal_noise_ratio(clean, other, data_range=data_range)
    assert psnr(clean, other, data_range) == pytest.approx(wanted, abs=1e-9)


def test_ssim_by_its_definition_over_every_window():
    """Equation 13 of the paper, a window and a channel at a time."""
    x = noise((9, 8, 3)).astype(float)
    y = noise((9, 8, 3), seed=1).astype(float)
    values = []
    for top in range(3):
        for left in range(2):
            for channel in range(3):
                a = x[top : top + 7, left : left + 7, channel].ravel()
                b = y[top : top + 7, left : left + 7, channel].ravel()
                covariance = np.cov(a, b)
                c1 = (0.01 * 255) ** 2
                c2 = (0.03 * 255) ** 2
                means = (2 * a.mean() * b.mean() + c1) / (a.mean() ** 2 + b.mean() ** 2 + c1)
                spread = (2 * covariance[0, 1] + c2) / (covariance.trace() + c2)
                values.append(means * spread)
    assert ssim(x, y) == pytest.approx(np.mean(values), abs=1e-12)


def test_an_equal_picture_is_perfect_and_more_noise_is_worse():
    clean = picture("clean.png")
    assert psnr(clean, clean) == np.inf
    assert measure(clean, clean) == (100.0, pytest.approx(1.0))
    spread = noise(clean.shape).astype(float) - 127.5
    scores = [measure(clean, np.clip(clean + part * spread, 0, 255)) for part in (0.1, 0.3, 0.9)]
    assert scores == sorted(scores, reverse=True)
    assert len({ssim for _, ssim in scores}) == 3


def test_pictures_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        ssim(noise((8, 8, 3)), noise((8, 9, 3)))
    with pytest.raises(ValueError, match="sides >= 7"):
        ssim(noise((6, 9, 3)), noise((6, 9, 3)))
