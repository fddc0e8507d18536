"""Attention as light: a photo is dimmed, and lit again where a word's attention lies.

All words of a sentence share one scale: its highest weight, or four times the even spread 1 / L if
that is more. A model that looks everywhere gives dim pictures, and equally bright spots under two
words mean equal weights.
"""

import numpy as np
from PIL import Image

FULL_LIGHT = 4.0  # times the even spread: the weakest peak that may be shown at full light
_DIMMED = 0.38  # brightness of a region without attention
_GLOW = (66, 44, 8)  # light added by full attention, so that a dark region is seen to be lit
_GAMMA = 0.7  # eyes see faint light better than a straight line gives it


def light_scale(attention: np.ndarray) -> float:
    """Returns the weight that is shown at full light in all maps of a sentence.

    Args:
      attention: weights of T words over L regions. [T, L]
    """
    return max(float(attention.max(initial=0.0)), FULL_LIGHT / attention.shape[-1])


def spread_light(maps: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Returns each word's light, 0 to 1, smoothly over a photo.

    Args:
      maps: the words' attention. [T, rows, columns]
      size: (width, height) of the photo.

    Returns:
      The light of each of T words. [height, width, 1] each
    """
    if not len(maps):
        return []
    scale = light_scale(maps.reshape(len(maps), -1))
    width, height = size
    down = _interpolate(height, maps.shape[1])
    across = _interpolate(width, maps.shape[2])
    return [((down @ weights @ across.T / scale) ** _GAMMA)[..., None] for weights in maps]


def light_photo(photo: Image.Image, light: np.ndarray) -> Image.Image:
    """Dims a photo and lights it again: full light is the photo itself under a lamp.

    Args:
      photo: in RGB.
      light: 0 to 1. [height, width, 1]
    """
    pixels = np.asarray(photo, np.float32)
    dim = (0.4 * pixels + 0.6 * pixels.mean(-1, keepdims=True)) * _DIMMED
    bright = 255 - (255 - pixels) * (255 - np.array(_GLOW)) / 255
    return Image.fromarray((dim + (bright - dim) * light).astype(np.uint8))


def _interpolate(pixels: int, cells: int) -> np.ndarray:
    """Returns how each pixel of a line mixes the cells around it; exact at their centres.

    Args:
      pixels: of the line.
      cells: that lie along it.

    Returns:
      The weights of the cells. [pixels, cells]
    """
    # Smoothstep between neighbours. Bicubic interpolation would draw dark rings around bright
    # cells, as if attention were pushed away there.
    place = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    distance = np.minimum(np.abs(place[:, None] - np.arange(cells)), 1)
    return (1 - distance) ** 2 * (1 + 2 * distance)
