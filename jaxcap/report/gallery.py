"""The gallery: captioned photos whose words light the regions that they were written under."""

import base64
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxcap.figures.light import light_scale
from jaxcap.report.markup import Markup, element, join, number

MOST_PHOTOS = 48
_SIDE = 448  # pixels: twice what a card shows on most screens
_QUALITY = 85  # of JPEG
_CANVAS = 112  # pixels of the light's canvas, which the browser stretches over the photo
_LEGEND = """Point at a word, tap it, or tab to a caption and use the arrow keys: the photo is lit
where the captioner looked as it wrote that word, on one scale for the sentence. “4× even” means
that the brightest region has four times the attention of an even spread. The line under a word is
as long as the word was probable."""
_PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "bottom", "lower right"),
)


class CaptionedPhoto(NamedTuple):
    """A captioned photo.

    Attributes:
      id: of the photo.
      image: as the encoder saw it, uint8. [S, S, 3]
      words: the caption's T words.
      attention: each word's weights over the regions of a grid, row by row. [T, L]
      grid: rows and columns of regions, rows * columns = L.
      probabilities: of each word, when it was written. [T]
      references: what people wrote.
      score: the caption's CIDEr-D.
    """

    id: str
    image: np.ndarray
    words: list[str]
    attention: np.ndarray
    grid: tuple[int, int]
    probabilities: np.ndarray
    references: tuple[str, ...]
    score: float


def split_by_score(
    photos: Sequence[CaptionedPhoto], most: int = MOST_PHOTOS
) -> tuple[list[CaptionedPhoto], list[CaptionedPhoto], list[CaptionedPhoto]]:
    """Returns the best captions, some from the middle and the worst, a third each.

    Args:
      photos: in any order.
      most: how many photos to return where there are more.
    """
    ordered = sorted(photos, key=lambda photo: (-photo.score, photo.id))
    count = min(len(ordered), most)
    best = math.ceil(count / 3)
    worst = min(best, count - best)
    middle = count - best - worst
    first = (len(ordered) - middle) // 2
    return ordered[:best], ordered[first : first + middle], ordered[len(ordered) - worst :][::-1]


def draw_gallery(photos: Sequence[CaptionedPhoto], most: int = MOST_PHOTOS) -> Markup | None:
    """Draws at most `most` photos, good ones first; None when there are none."""
    best, middle, worst = split_by_score(photos, most)
    rows = [
        _draw_row("The best", "highest CIDEr-D first", best),
        _draw_row("From the middle", None, middle),
        _draw_row("The worst", "lowest CIDEr-D first", worst),
    ]
    if not any(rows):
        return None
    return join(element("p", _LEGEND, class_="lead"), *rows)


def draw_card(photo: CaptionedPhoto) -> Markup:
    """Draws one photo with its words and references.

    Raises:
      ValueError: the attention does not fit the words or the grid.
    """
    attention = np.asarray(photo.attention, np.float64)
    regions = math.prod(photo.grid)
    fits = attention.ndim == 2 and attention.shape[1] == regions
    if not fits or len(attention) < len(photo.words):
        raise ValueError(
            f"{photo.id}: attention of shape {attention.shape} for {len(photo.words)} words "
            f"over {photo.grid} regions"
        )
    attention = attention[: len(photo.words)]
    height, width = photo.image.shape[:2]
    picture = element(
        "img",
        src=_encode_jpeg(photo.image),
        width=width,
        height=height,
        alt=" ".join(photo.words) or photo.id,
    )
    canvas = element("canvas", width=_CANVAS, height=_CANVAS, aria_hidden="true")
    hint = "Point at a word" if photo.words else None
    texts = [
        _draw_words(photo, attention),
        _draw_facts(photo),
        _draw_references(photo.references),
    ]
    return element(
        "figure",
        element("div", picture, canvas, class_="photo"),
        element("p", hint, class_="said", aria_hidden="true"),
        element("figcaption", *texts),
        class_="card",
    )


def _draw_row(title: str, about: str | None, photos: Sequence[CaptionedPhoto]) -> Markup | None:
    if not photos:
        return None
    note = element("span", about, class_="note") if about else None
    cards = element("div", *map(draw_card, photos), class_="cards")
    return join(element("h3", title, " ", note), cards)


def _encode_jpeg(image: np.ndarray) -> str:
    """Encodes a photo as a data URI."""
    picture = Image.fromarray(np.asarray(image, np.uint8))
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _draw_words(photo: CaptionedPhoto, attention: np.ndarray) -> Markup:
    """Draws the caption as a toolbar: one stop of the Tab key, arrows between the words."""
    if not photo.words:
        return element("p", "(no words)", class_="caption empty")
    # NaN, as of a run that has diverged, is no light.
    shares = np.nan_to_num(attention / light_scale(attention))
    light = np.round(255 * shares).astype(np.uint8)  # [T, L]
    parts: list[Markup | str] = []
    for t, word in enumerate(photo.words):
        about = _describe_word(photo.probabilities[t], attention[t], photo.grid)
        button = element(
            "button",
            word,
            type="button",
            tabindex=-1 if t else 0,
            aria_label=f"{word}: {about}",
            data_probability=f"{float(photo.probabilities[t]):.3f}",
            data_light=base64.b64encode(light[t].tobytes()).decode("ascii"),
        )
        parts += [button, " "]
    return element(
        "div", *parts, class_="caption", role="toolbar", aria_label="Words of the caption"
    )


def _describe_word(probability: float, weights: np.ndarray, grid: tuple[int, int]) -> str:
    """Returns in words how probable a word was, and where its attention lies."""
    rows, columns = grid
    row, column = divmod(int(weights.argmax()), columns)
    # Which third of the photo holds the region's centre.
    third_down = min(2, (2 * row + 1) * 3 // (2 * rows))
    third_across = min(2, (2 * column + 1) * 3 // (2 * columns))
    place = _PLACES[third_down][third_across]
    peak = len(weights) * float(weights.max())
    return f"{number(float(probability), '.0f', 100)} % sure, {place}, {peak:.1f}× even"


def _draw_facts(photo: CaptionedPhoto) -> Markup:
    name = element("span", photo.id, class_="id")
    score = element("span", "CIDEr-D ", number(float(photo.score), ".0f", 100))
    return element("p", name, score, class_="about")


def _draw_references(references: Sequence[str]) -> Markup | None:
    if not references:
        return None
    summary = element("summary", f"What people wrote ({len(references)})")
    return element("details", summary, element("ul", *(element("li", text) for text in references)))
