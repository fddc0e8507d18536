"""Pictures of captioned photos of a split, as the encoder saw them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxcap.data.split import Split
from jaxcap.decoding.captions import Caption
from jaxcap.figures.attention import Sample, sample_sheet
from jaxcap.inputs import images


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


def view_photo(split: Split, row: int, size: int) -> np.ndarray:
    """Returns a photo as the encoder sees it, uint8 [S, S, 3]."""
    return images.plain_view(split.photo(row), split.ids[row], size=size)
