"""Pictures of what a model looks at while it writes: the photo under each word's attention map.

Attention is shown as light: a photo is dimmed, and lit again where the word's attention lies
(weight ** 0.7, as eyes see faint light better than a straight line gives it). All words of a
sentence share one scale, its highest weight, or four times the even spread 1 / L if that is more: a
model that looks everywhere gives dim pictures, and equally bright spots under two words mean equal
weights. The "9x" beside a word is its highest weight as a multiple of 1 / L.
"""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxcap.figures.layout import (
    FAINT,
    GAP,
    INK,
    PAPER,
    captioned,
    fitted,
    framed,
    in_rows,
    stacked,
    wrapped,
)

_DIMMED = 0.38  # brightness of a region without attention
_GLOW = (66, 44, 8)  # light added by full attention, so that a dark region is seen to be lit
_FULL_LIGHT = 4.0  # times the even spread: the weakest peak that may be shown at full light
_GAMMA = 0.7


class Sample(NamedTuple):
    """A captioned photo: uint8 [H, W, 3] or a PIL image, the words, attention [T, L], and what
    people wrote.
    """

    photo: np.ndarray | Image.Image
    words: Sequence[str]
    attention: np.ndarray
    references: Sequence[str] = ()


def attention_figure(
    photo: np.ndarray | Image.Image,
    words: Sequence[str],
    attention: np.ndarray,
    *,
    grid: tuple[int, int] | None = None,
    columns: int | None = None,
    title: str | None = None,
    tile: int = 216,
) -> Image.Image:
    """Draws the photo, then the photo in the light of each word's attention, row by row.

    Args:
      photo: uint8 [H, W, 3], or a PIL image.
      words: the caption's words.
      attention: weights over the regions, a row for each word; rows beyond the words are left out.
        [T, L]
      grid: rows and columns of regions, rows * columns = L; by default the grid is square.
      columns: pictures in a row; by default what makes a pleasant page.
      title: a line above; by default the caption.
      tile: pixels of a picture's longer side.

    Returns:
      The figure, in RGB.

    Raises:
      ValueError: `attention` does not fit the words or the grid.
    """
    plain = fitted(photo, tile)
    pictures = [
        captioned(plain, "", ""),
        *_word_tiles(plain, words, _maps(words, attention, grid), 17),
    ]
    columns = min(len(pictures), columns or max(4, math.ceil(math.sqrt(1.6 * len(pictures)))))
    body = in_rows(pictures, columns, GAP)
    heading = wrapped(" ".join(words) if title is None else title, 22, True, body.width, INK)
    legend = "light: attention, on one scale for the sentence  ·  9×: the highest weight, against an even spread"
    return framed([heading, body, wrapped(legend, 12, False, body.width, FAINT)])


def attention_gif(
    photo: np.ndarray | Image.Image,
    words: Sequence[str],
    attention: np.ndarray,
    *,
    grid: tuple[int, int] | None = None,
    size: int = 360,
    seconds: float = 0.7,
) -> bytes:
    """Animates a caption: the plain photo first, then a frame a word, the word marked in the
    sentence below.

    Args:
      photo: uint8 [H, W, 3], or a PIL image.
      words: the caption's words.
      attention: weights over the regions, a row for each word. [T, L]
      grid: rows and columns of regions; by default the grid is square.
      size: pixels of the photo's longer side.
      seconds: how long a word stands.

    Returns:
      The bytes of a GIF that repeats for ever.
    """
    plain = fitted(photo, size)
    pictures = [
        plain,
        *(_lit(plain, light) for light in _lights(_maps(words, attention, grid), plain.size)),
    ]
    frames = []
    for t, picture in enumerate(pictures):
        sentence = wrapped(" ".join(words), 18, True, size, FAINT if t else INK, marked=t - 1)
        frames.append(framed([picture, sentence]))
    file = io.BytesIO()
    times = [round(1000 * seconds * (2 if t in (0, len(words)) else 1)) for t in range(len(frames))]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return file.getvalue()


def sample_sheet(
    samples: Sequence[Sample | tuple], *, grid: tuple[int, int] | None = None, width: int = 1240
) -> Image.Image:
    """Draws some captioned photos, one below another: the caption, what people wrote, and the
    words' attention.

    Args:
      samples: (photo, words, attention, references) each; see `Sample`.
      grid: rows and columns of regions; by default the grid is square.
      width: pixels of the sheet, its frame not counted.

    Returns:
      The sheet, in RGB.
    """
    return framed([_block(Sample(*sample), grid, width) for sample in samples], gap=3 * GAP)


def _block(sample: Sample, grid: tuple[int, int] | None, width: int) -> Image.Image:
    """Returns one sample's part of the sheet."""
    photo = fitted(sample.photo, 232)
    inner = width - 232 - 2 * GAP
    texts = [wrapped(" ".join(sample.words) or "(no words)", 20, True, inner, INK)]
    texts += [wrapped(reference, 14, False, inner, FAINT) for reference in sample.references]
    maps = _maps(sample.words, sample.attention, grid)
    tiles = _word_tiles(fitted(sample.photo, 92), sample.words, maps, 13)
    right = [stacked(texts, 4)] + (
        [in_rows(tiles, max(1, inner // (tiles[0].width + 6)), 6)] if tiles else []
    )
    column = stacked(right, GAP)
    block = Image.new("RGB", (width, max(photo.height, column.height)), PAPER)
    block.paste(photo, (0, 0))
    block.paste(column, (232 + 2 * GAP, 0))
    return block


def _word_tiles(
    plain: Image.Image, words: Sequence[str], maps: np.ndarray, text_size: int
) -> list[Image.Image]:
    """Returns the photo in the light of each word, the word and its peak below."""
    peaks = [f"{weights.size * weights.max():.2g}×" for weights in maps]
    return [
        captioned(_lit(plain, light), word, peak, text_size)
        for word, light, peak in zip(words, _lights(maps, plain.size), peaks, strict=True)
    ]


def _maps(words: Sequence[str], attention: np.ndarray, grid: tuple[int, int] | None) -> np.ndarray:
    """Returns the words' attention as maps, once it is seen to fit. [T, rows, columns]"""
    attention = np.asarray(attention, np.float32)
    rows, columns = grid or [math.isqrt(attention.shape[-1])] * 2
    if attention.ndim != 2 or attention.shape[1] != rows * columns or len(attention) < len(words):
        raise ValueError(
            f"attention of shape {attention.shape} for {len(words)} words over {rows} x {columns} "
            "regions"
        )
    return attention[: len(words)].reshape(-1, rows, columns)


def _lights(maps: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
    """Returns each word's light, 0 to 1, smoothly over the photo's (width, height). [height, width,
    1] each
    """
    scale = max(maps.max(initial=0.0), _FULL_LIGHT / maps[0].size) if len(maps) else 1.0
    down, across = _smooth(size[1], maps.shape[1]), _smooth(size[0], maps.shape[2])
    return [((down @ weights @ across.T / scale) ** _GAMMA)[..., None] for weights in maps]


def _smooth(pixels: int, cells: int) -> np.ndarray:
    """Returns how each pixel of a line mixes the cells around it: smooth, exact at their centres.
    [pixels, cells]
    """
    # Bicubic interpolation would draw dark rings around bright cells, as if attention were pushed
    # away there.
    place = np.clip((np.arange(pixels) + 0.5) * cells / pixels - 0.5, 0, cells - 1)
    distance = np.minimum(np.abs(place[:, None] - np.arange(cells)), 1)
    return (1 - distance) ** 2 * (1 + 2 * distance)


def _lit(plain: Image.Image, light: np.ndarray) -> Image.Image:
    """Dims the photo and lights it again: full light is the photo itself under a lamp."""
    photo = np.asarray(plain, np.float32)
    dim = (0.4 * photo + 0.6 * photo.mean(-1, keepdims=True)) * _DIMMED
    bright = 255 - (255 - photo) * (255 - np.array(_GLOW)) / 255
    return Image.fromarray((dim + (bright - dim) * light).astype(np.uint8))
