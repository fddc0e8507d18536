"""Text and pictures laid out on white paper, with Pillow alone."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxcap.text import one_line

INK = (28, 30, 36)
FAINT = (122, 126, 136)
PAPER = (255, 255, 255)
GAP = 12  # pixels between pictures
_LINE = 1.35  # height of a line, in sizes of its text
_SMALLEST = 6  # text size


def fit(photo: np.ndarray | Image.Image, side: int) -> Image.Image:
    """Returns the photo in RGB with its longer side at `side` pixels, its aspect kept."""
    if not isinstance(photo, Image.Image):
        photo = Image.fromarray(np.asarray(photo))
    image = photo.convert("RGB")
    shrink = side / max(image.size)
    width, height = (max(1, round(length * shrink)) for length in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def add_caption(picture: Image.Image, word: str, note: str, text_size: int = 17) -> Image.Image:
    """Returns the picture with the word below it, and a faint note at the right.

    Args:
      picture: in RGB.
      word: drawn smaller where it would meet the note.
      note: in small letters.
      text_size: pixels of the word.
    """
    sheet = Image.new("RGB", (picture.width, picture.height + round(1.7 * text_size)), PAPER)
    sheet.paste(picture, (0, 0))
    word = one_line(word)
    note = one_line(note)
    note_font = load_font(round(0.7 * text_size), False)
    space = picture.width - note_font.getlength(note) - 4
    size = text_size
    while size > _SMALLEST and load_font(size, True).getlength(word) > space:
        size -= 1
    draw = ImageDraw.Draw(sheet)
    base = picture.height + round(1.25 * text_size)
    draw.text((0, base), word, INK, load_font(size, True), anchor="ls")
    draw.text((picture.width, base), note, FAINT, note_font, anchor="rs")
    return sheet


def wrap_text(
    text: str, size: int, bold: bool, width: int, color: tuple[int, int, int], marked: int = -1
) -> Image.Image:
    """Returns the text in lines of at most `width` pixels.

    Args:
      text: the words.
      size: of the letters, in pixels.
      bold: whether they are.
      width: of the picture, in pixels.
      color: of the words.
      marked: the index of a word that stands in full ink; -1 for none.
    """
    font = load_font(size, bold)
    space = font.getlength(" ")
    places = []
    x = 0.0
    line = 0
    for word in one_line(text).split(" "):
        length = font.getlength(word)
        if x and x + length > width:
            x = 0.0
            line += 1
        places.append((x, line, word))
        x += length + space
    sheet = Image.new("RGB", (width, round((line + 1) * _LINE * size)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (x, line, word) in enumerate(places):
        base = round((line * _LINE + 1) * size)
        draw.text((x, base), word, INK if i == marked else color, font, anchor="ls")
    return sheet


def arrange_rows(pictures: Sequence[Image.Image], columns: int, gap: int) -> Image.Image:
    """Lays pictures of one size out in rows."""
    width = pictures[0].width + gap
    height = pictures[0].height + gap
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width - gap, rows * height - gap), PAPER)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        sheet.paste(picture, (column * width, row * height))
    return sheet


def stack(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """Lays pictures out one below another."""
    width = max(picture.width for picture in pictures)
    height = sum(picture.height + gap for picture in pictures) - gap
    sheet = Image.new("RGB", (width, height), PAPER)
    y = 0
    for picture in pictures:
        sheet.paste(picture, (0, y))
        y += picture.height + gap
    return sheet


def add_frame(pictures: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Stacks pictures with a margin around all of it."""
    inner = stack(pictures, gap)
    sheet = Image.new("RGB", (inner.width + 4 * GAP, inner.height + 4 * GAP), PAPER)
    sheet.paste(inner, (2 * GAP, 2 * GAP))
    return sheet


@functools.cache
def load_font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """Returns DejaVu Sans, which matplotlib brings; it has Latin, Greek and Cyrillic letters."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
