"""A picture of photos with noise, without it again, and as they were."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxcap.figures.layout import add_caption, add_frame, arrange_rows, fit
from jaxcap.scores import image_quality

_PHOTO = 224  # pixels a side on the sheet


def draw_denoised(
    clean: Sequence[np.ndarray], noisy: Sequence[np.ndarray], denoised: Sequence[np.ndarray]
) -> Image.Image:
    """Draws a column for each photo: noisy, denoised, clean, with PSNR and SSIM.

    Args:
      clean: photos uint8 [S, S, 3].
      noisy: the same with noise.
      denoised: what was made of the noisy ones.
    """
    tiles = []
    for name, photos in (("noisy", noisy), ("denoised", denoised)):
        for photo, reference in zip(photos, clean, strict=True):
            psnr, ssim = image_quality.measure(reference, photo)
            tiles.append(_draw_tile(photo, name, f"{psnr:.1f} dB, SSIM {ssim:.2f}"))
    tiles += [_draw_tile(photo, "clean", "") for photo in clean]
    return add_frame([arrange_rows(tiles, len(clean), 6)])


def _draw_tile(photo: np.ndarray, name: str, note: str) -> Image.Image:
    return add_caption(fit(photo, _PHOTO), name, note)
