"""Pictures of captioned photos of a split, as the encoder saw them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxcap.data.split import Split
from jaxcap.decoding.captions import Caption
from jaxcap.figures.attention import Sample, sample_sheet
from jaxcap.inputs import images
from jaxcap.inputs.noise import Noise


def draw_samples(
    split: Split, captions: Sequence[Caption], size: int, grid: tuple[int, int]
) -> Image.Image:
    """Draws the first photos of a split with their captions, attention and references.

    Args:
      split: the photos.
      captions: of the first ones, in order.
      size: pixels a side that the encoder sees.
      grid: rows and columns of regions.
    """
    samples = []
    for row, caption in enumerate(captions):
        photo = view_photo(split, row, size)
        samples.append(Sample(photo, caption.words, caption.attention, split.captions[row]))
    return sample_sheet(samples, grid=grid)


def view_photo(split: Split, row: int, size: int, noise: Noise | None = None) -> np.ndarray:
    """Returns a photo as the encoder sees it, uint8 [S, S, 3], with noise where there is any."""
    data = split.photo(row)
    pixels = images.plain_view(data, split.ids[row], size=size)
    return pixels if noise is None else noise.add(pixels, data)
