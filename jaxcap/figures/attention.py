"""Pictures of where a model looks as it writes: the photo under each word's attention.

See `light` for how attention is shown. The "9×" beside a word is its highest weight as a multiple
of the even spread 1 / L.
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
    add_caption,
    add_frame,
    arrange_rows,
    fit,
    stack,
    wrap_text,
)
from jaxcap.figures.light import light_photo, spread_light

_SHEET_PHOTO = 232  # pixels of the longer side of a sheet's photos
_SHEET_TILE = 92  # and of its pictures of words
_LEGEND = (
    "light: attention, on one scale for the sentence  ·  "
    "9×: the highest weight, against an even spread"
)


class Sample(NamedTuple):
    """A captioned photo.

    Attributes:
      photo: uint8 [H, W, 3], or a PIL image.
      words: the caption's T words.
      attention: weights over the regions for each word. [T, L]
      references: what people wrote.
    """

    photo: np.ndarray | Image.Image
    words: Sequence[str]
    attention: np.ndarray
    references: Sequence[str] = ()


def attention_figure(
    photo: np.ndarray | Image.Image,
    words: Sequence[str],
    attention: np.ndarray,
    grid: tuple[int, int],
    *,
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
      grid: rows and columns of regions, rows * columns = L.
      columns: pictures in a row; by default what makes a pleasant page.
      title: a line above; by default the caption.
      tile: pixels of a picture's longer side.

    Returns:
      The figure, in RGB.

    Raises:
      ValueError: `attention` does not fit the words or the grid.
    """
    plain = fit(photo, tile)
    pictures = [add_caption(plain, "", "")]
    pictures += _draw_words(plain, words, _as_maps(words, attention, grid), 17)
    if columns is None:
        columns = max(4, math.ceil(math.sqrt(1.6 * len(pictures))))
    body = arrange_rows(pictures, min(len(pictures), columns), GAP)
    heading = wrap_text(" ".join(words) if title is None else title, 22, True, body.width, INK)
    return add_frame([heading, body, wrap_text(_LEGEND, 12, False, body.width, FAINT)])


def attention_gif(
    photo: np.ndarray | Image.Image,
    words: Sequence[str],
    attention: np.ndarray,
    grid: tuple[int, int],
    *,
    size: int = 360,
    seconds: float = 0.7,
) -> bytes:
    """Animates a caption: the plain photo, then a frame a word, marked in the sentence below.

    Args:
      photo: uint8 [H, W, 3], or a PIL image.
      words: the caption's words.
      attention: weights over the regions, a row for each word. [T, L]
      grid: rows and columns of regions.
      size: pixels of the photo's longer side.
      seconds: how long a word stands.

    Returns:
      The bytes of a GIF that repeats for ever.
    """
    plain = fit(photo, size)
    lights = spread_light(_as_maps(words, attention, grid), plain.size)
    pictures = [plain, *(light_photo(plain, light) for light in lights)]
    frames = []
    times = []
    for t, picture in enumerate(pictures):
        color = FAINT if t else INK
        sentence = wrap_text(" ".join(words), 18, True, size, color, marked=t - 1)
        frame = add_frame([picture, sentence])
        # The usual palette of a GIF, by median cut, takes a hundred times as long for 1 dB less
        # error, and its files are larger.
        frames.append(frame.quantize(256, Image.Quantize.FASTOCTREE))
        # The plain photo and the last word stand twice as long.
        times.append(round(1000 * seconds * (2 if t in (0, len(words)) else 1)))
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return file.getvalue()


def sample_sheet(
    samples: Sequence[Sample | tuple], grid: tuple[int, int], *, width: int = 1240
) -> Image.Image:
    """Draws captioned photos one below another: caption, references, and the words' attention.

    Args:
      samples: (photo, words, attention, references) each; see `Sample`.
      grid: rows and columns of regions.
      width: pixels of the sheet, its frame not counted.

    Returns:
      The sheet, in RGB.
    """
    return add_frame([_draw_sample(Sample(*sample), grid, width) for sample in samples], 3 * GAP)


def _draw_sample(sample: Sample, grid: tuple[int, int], width: int) -> Image.Image:
    """Returns one sample's part of the sheet: the photo, and to its right all else."""
    photo = fit(sample.photo, _SHEET_PHOTO)
    left = _SHEET_PHOTO + 2 * GAP
    inner = width - left
    texts = [wrap_text(" ".join(sample.words) or "(no words)", 20, True, inner, INK)]
    texts += [wrap_text(reference, 14, False, inner, FAINT) for reference in sample.references]
    parts = [stack(texts, 4)]
    maps = _as_maps(sample.words, sample.attention, grid)
    tiles = _draw_words(fit(sample.photo, _SHEET_TILE), sample.words, maps, 13)
    if tiles:
        columns = max(1, inner // (tiles[0].width + 6))
        parts.append(arrange_rows(tiles, columns, 6))
    right = stack(parts, GAP)
    sheet = Image.new("RGB", (width, max(photo.height, right.height)), PAPER)
    sheet.paste(photo, (0, 0))
    sheet.paste(right, (left, 0))
    return sheet


def _draw_words(
    plain: Image.Image, words: Sequence[str], maps: np.ndarray, text_size: int
) -> list[Image.Image]:
    """Returns the photo in the light of each word, the word and its peak below."""
    tiles = []
    for word, weights, light in zip(words, maps, spread_light(maps, plain.size), strict=True):
        peak = f"{weights.size * weights.max():.2g}×"
        tiles.append(add_caption(light_photo(plain, light), word, peak, text_size))
    return tiles


def _as_maps(words: Sequence[str], attention: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Returns the words' attention as maps, once it is seen to fit. [T, rows, columns]"""
    attention = np.asarray(attention, np.float32)
    rows, columns = grid
    if attention.ndim != 2 or attention.shape[1] != rows * columns or len(attention) < len(words):
        raise ValueError(
            f"attention of shape {attention.shape} for {len(words)} words over {rows} x {columns} "
            "regions"
        )
    return attention[: len(words)].reshape(-1, rows, columns)
