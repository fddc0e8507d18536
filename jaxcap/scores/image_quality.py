"""How near a picture comes to another: PSNR and SSIM."""

import numpy as np

NAMES = ("PSNR", "SSIM")
WINDOW = 7  # pixels a side of the window of SSIM
_MOST = 100.0  # dB, of pictures that are equal, whose PSNR has no end


def psnr(reference: np.ndarray, picture: np.ndarray, data_range: float = 255.0) -> float:
    """Computes the peak signal-to-noise ratio in decibels; infinite for equal pictures.

    Args:
      reference: the clean picture, of any shape.
      picture: the other one, of the same shape.
      data_range: white minus black.
    """
    error = np.subtract(reference, picture, dtype=np.float64)
    mean = np.square(error).mean()
    if mean == 0:
        return float("inf")
    return float(10 * np.log10(data_range**2 / mean))


def ssim(reference: np.ndarray, picture: np.ndarray, data_range: float = 255.0) -> float:
    """Computes the mean structural similarity, at most 1.

    Wang et al. 2004, "Image Quality Assessment: From Error Visibility to Structural Similarity",
    equation 13 with K1 = 0.01 and K2 = 0.03, over all windows of 7 x 7 pixels that lie inside the
    picture, evenly weighted and with the sample covariance, and over the channels: what
    scikit-image's `structural_similarity` computes by default.

    Args:
      reference: [H, W, C], sides of at least 7.
      picture: the other one, of the same shape.
      data_range: white minus black.
    """
    x = np.asarray(reference, np.float64)
    y = np.asarray(picture, np.float64)
    if x.shape != y.shape or min(x.shape[:2]) < WINDOW:
        raise ValueError(f"pictures of {x.shape} and {y.shape}: must be one shape, sides >= 7")
    mean_x = _average_windows(x)
    mean_y = _average_windows(y)
    # The sample covariance divides by one less than the pixels of a window.
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variance_x = unbiased * (_average_windows(x * x) - mean_x**2)
    variance_y = unbiased * (_average_windows(y * y) - mean_y**2)
    covariance = unbiased * (_average_windows(x * y) - mean_x * mean_y)
    c1 = (0.01 * data_range) ** 2
    c2 = (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return float((luminance * structure).mean())


def measure(reference: np.ndarray, picture: np.ndarray) -> tuple[float, float]:
    """Returns (PSNR, SSIM) of uint8 pictures, an infinite PSNR as 100 dB, so that it has a mean."""
    return min(psnr(reference, picture), _MOST), ssim(reference, picture)


def _average_windows(x: np.ndarray) -> np.ndarray:
    """Returns the mean of each window of [H, W, C]. [H - 6, W - 6, C]"""
    # A window's sum is the difference of two sums from the start of a row or column.
    sums = np.cumsum(np.pad(x, ((1, 0), (0, 0), (0, 0))), axis=0)
    x = sums[WINDOW:] - sums[:-WINDOW]
    sums = np.cumsum(np.pad(x, ((0, 0), (1, 0), (0, 0))), axis=1)
    x = sums[:, WINDOW:] - sums[:, :-WINDOW]
    return x / WINDOW**2
