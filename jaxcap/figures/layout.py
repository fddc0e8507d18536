"""Text and pictures laid out on white paper, with Pillow alone."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxcap.text import one_line

INK, FAINT, PAPER = (28, 30, 36), (122, 126, 136), (255, 255, 255)
GAP = 12


def fitted(photo: np.ndarray | Image.Image, side: int) -> Image.Image:
    """Returns the photo in RGB with its longer side at `side` pixels, its aspect kept."""
    image = (
        photo if isinstance(photo, Image.Image) else Image.fromarray(np.asarray(photo))
    ).convert("RGB")
    shrink = side / max(image.size)
    return image.resize(
        [max(1, round(length * shrink)) for length in image.size], Image.Resampling.LANCZOS
    )


def captioned(picture: Image.Image, word: str, note: str, text_size: int = 17) -> Image.Image:
    """Returns the picture with the word below it, and a faint note at the right."""
    sheet = Image.new("RGB", (picture.width, picture.height + round(1.7 * text_size)), PAPER)
    sheet.paste(picture, (0, 0))
    word, note = one_line(word), one_line(note)
    draw, base = ImageDraw.Draw(sheet), picture.height + round(1.25 * text_size)
    note_font = font(round(0.7 * text_size), False)
    room = picture.width - note_font.getlength(note) - 4
    size = next((s for s in range(text_size, 6, -1) if font(s, True).getlength(word) <= room), 6)
    draw.text((0, base), word, INK, font(size, True), anchor="ls")
    draw.text((picture.width, base), note, FAINT, note_font, anchor="rs")
    return sheet


def wrapped(
    text: str, size: int, bold: bool, width: int, colour: tuple[int, int, int], marked: int = -1
) -> Image.Image:
    """Returns the text in lines of at most `width` pixels; the word of index `marked` is in full
    ink.
    """
    face = font(size, bold)
    space, spots, x, line = face.getlength(" "), [], 0.0, 0
    for word in one_line(text).split(" "):
        length = face.getlength(word)
        if x and x + length > width:
            x, line = 0.0, line + 1
        spots.append((x, line, word))
        x += length + space
    sheet = Image.new("RGB", (width, round((line + 1) * 1.35 * size)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (x, line, word) in enumerate(spots):
        draw.text(
            (x, round((line * 1.35 + 1) * size)),
            word,
            INK if i == marked else colour,
            face,
            anchor="ls",
        )
    return sheet


def in_rows(pictures: Sequence[Image.Image], columns: int, gap: int) -> Image.Image:
    """Lays pictures of one size out in rows."""
    width, height = pictures[0].width + gap, pictures[0].height + gap
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * width - gap, rows * height - gap), PAPER)
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * width, i // columns * height))
    return sheet


def stacked(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """Lays pictures out one below another."""
    size = max(p.width for p in pictures), sum(p.height + gap for p in pictures) - gap
    sheet, y = Image.new("RGB", size, PAPER), 0
    for picture in pictures:
        sheet.paste(picture, (0, y))
        y += picture.height + gap
    return sheet


def framed(pictures: Sequence[Image.Image], gap: int = GAP) -> Image.Image:
    """Stacks pictures with a margin around all of it."""
    inner = stacked(pictures, gap)
    sheet = Image.new("RGB", (inner.width + 4 * GAP, inner.height + 4 * GAP), PAPER)
    sheet.paste(inner, (2 * GAP, 2 * GAP))
    return sheet


@functools.cache
def font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """Returns DejaVu Sans, which matplotlib brings along and which has Latin, Greek and Cyrillic
    letters.
    """
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)
