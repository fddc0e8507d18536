"""The gallery: captioned photos whose words light the regions that they were written under."""

import base64
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxcap.report.markup import Markup, element, join, number

MOST_PHOTOS = 48
_SIDE = 448  # pixels: twice what a card shows on most screens
_QUALITY = 85
_FULL_LIGHT = 4.0  # times the even spread: the weakest peak that may be shown at full light
_LEGEND = """Point at a word, tap it, or tab to a caption and use the arrow keys: the photo is lit where the captioner
looked as it wrote that word, on one scale for the sentence. “4× even” means that the brightest region has four times
the attention of an even spread. The line under a word is as long as the word was probable."""
_PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "bottom", "lower right"),
)


class Photo(NamedTuple):
    """A captioned photo.

    Attributes:
      id: of the photo.
      image: as the encoder saw it, uint8. [S, S, 3]
      words: the caption's T words.
      attention: each word's weights over the regions of a square grid, row by row. [T, L]
      probabilities: of each word, when it was written. [T]
      references: what people wrote.
      score: the caption's CIDEr-D.
    """

    id: str
    image: np.ndarray
    words: list[str]
    attention: np.ndarray
    probabilities: np.ndarray
    references: tuple[str, ...]
    score: float


def chosen(
    photos: Sequence[Photo], most: int = MOST_PHOTOS
) -> tuple[list[Photo], list[Photo], list[Photo]]:
    """Returns the best captions, some from the middle and the worst: a third each of all of them,
    or of `most`.
    """
    ordered = sorted(photos, key=lambda photo: (-photo.score, photo.id))
    count = min(len(ordered), most)
    best = math.ceil(count / 3)
    worst = min(best, count - best)
    middle = count - best - worst
    first = (len(ordered) - middle) // 2
    return ordered[:best], ordered[first : first + middle], ordered[len(ordered) - worst :][::-1]


def gallery(photos: Sequence[Photo], most: int = MOST_PHOTOS) -> Markup | None:
    """Draws the photos, good ones first; None when there are none."""
    titles = (
        ("The best", "highest CIDEr-D first"),
        ("From the middle", None),
        ("The worst", "lowest CIDEr-D first"),
    )
    rows = [
        _row(*title, part) for title, part in zip(titles, chosen(photos, most), strict=True) if part
    ]
    return join(element("p", _LEGEND, class_="lead"), *rows) if rows else None


def _row(title: str, about: str | None, photos: Sequence[Photo]) -> Markup:
    about = element("span", about, class_="note") if about else None
    return join(
        element("h3", title, " ", about), element("div", *map(card, photos), class_="cards")
    )


def card(photo: Photo) -> Markup:
    """Draws one photo with its words and references.

    Raises:
      ValueError: the attention does not fit the words, or is not over a square grid.
    """
    attention = np.asarray(photo.attention, np.float64)
    side = math.isqrt(attention.shape[-1])
    if (
        attention.ndim != 2
        or side * side != attention.shape[1]
        or len(attention) < len(photo.words)
    ):
        raise ValueError(
            f"{photo.id}: attention of shape {attention.shape} for {len(photo.words)} words"
        )
    attention = attention[: len(photo.words)]
    height, width = photo.image.shape[:2]
    picture = element(
        "img",
        src=_jpeg(photo.image),
        width=width,
        height=height,
        alt=" ".join(photo.words) or photo.id,
    )
    return element(
        "figure",
        element(
            "div",
            picture,
            element("canvas", width=112, height=112, aria_hidden="true"),
            class_="photo",
        ),
        element("p", "Point at a word" if photo.words else None, class_="said", aria_hidden="true"),
        element(
            "figcaption", _words(photo, attention), _about(photo), _references(photo.references)
        ),
        class_="card",
    )


def _jpeg(image: np.ndarray) -> str:
    """Encodes a photo as a data URI."""
    picture = Image.fromarray(np.asarray(image, np.uint8))
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _words(photo: Photo, attention: np.ndarray) -> Markup:
    """Draws the caption as a toolbar: one stop of the Tab key, arrows between the words."""
    if not photo.words:
        return element("p", "(no words)", class_="caption empty")
    regions = attention.shape[1]
    # One scale for the sentence, so that a word written under scattered attention looks dim beside
    # a sharp one.
    light = np.round(255 * attention / max(attention.max(), _FULL_LIGHT / regions)).astype(
        np.uint8
    )  # [T, L]
    buttons = [
        element(
            "button",
            word,
            type="button",
            tabindex=-1 if t else 0,
            aria_label=f"{word}: {_said(photo.probabilities[t], attention[t])}",
            data_probability=f"{float(photo.probabilities[t]):.3f}",
            data_light=base64.b64encode(light[t].tobytes()).decode("ascii"),
        )
        for t, word in enumerate(photo.words)
    ]
    spaced = [part for button in buttons for part in (button, " ")]
    return element(
        "div", *spaced, class_="caption", role="toolbar", aria_label="Words of the caption"
    )


def _said(probability: float, weights: np.ndarray) -> str:
    """Says a word's probability and where its attention lies."""
    side = math.isqrt(len(weights))
    row, column = (
        min(2, (2 * int(i) + 1) * 3 // (2 * side)) for i in divmod(int(weights.argmax()), side)
    )
    peak = len(weights) * float(weights.max())
    return (
        f"{number(float(probability), '.0f', 100)} % sure, {_PLACES[row][column]}, {peak:.1f}× even"
    )


def _about(photo: Photo) -> Markup:
    name = element("span", photo.id, class_="id")
    return element(
        "p",
        name,
        element("span", "CIDEr-D ", number(float(photo.score), ".0f", 100)),
        class_="about",
    )


def _references(references: Sequence[str]) -> Markup | None:
    if not references:
        return None
    summary = element("summary", f"What people wrote ({len(references)})")
    return element("details", summary, element("ul", *(element("li", text) for text in references)))
