"""The page: its sections put into page.html, with the style and the script that stand beside it."""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from jaxcap.evaluation.result import Result
from jaxcap.io.files import write_atomically
from jaxcap.report import tables
from jaxcap.report.cells import format_interval
from jaxcap.report.curves import draw_curves
from jaxcap.report.gallery import MOST_PHOTOS, CaptionedPhoto, draw_gallery
from jaxcap.report.markup import Markup, element, join, number
from jaxcap.report.run import draw_run
from jaxcap.scores.intervals import Estimate

MOST_BYTES = 14_500_000  # mail servers and viewers of notebooks refuse larger files
_HEADLINE = ("CIDEr-D", "BLEU-4", "ROUGE-L", "METEOR")


def write(
    path: os.PathLike | str,
    result: Result,
    metrics: Sequence[Mapping[str, Any]],
    photos: Sequence[CaptionedPhoto],
) -> None:
    """Writes a run's report as one HTML file that needs nothing beside it.

    Args:
      path: the file to write.
      result: of the evaluation; what it lacks is left out of the page.
      metrics: the records of metrics.jsonl.
      photos: some captioned photos; of very many, the best and the worst are shown.

    Raises:
      ValueError: a photo's attention does not fit its words.
      UserError: the disk is full.
    """
    # Photos are nearly all of the page; how well they compress is known once they are encoded.
    most = MOST_PHOTOS
    page = render(result, metrics, photos, most)
    while len(page) > MOST_BYTES and most:
        most //= 2
        page = render(result, metrics, photos, most)
    write_atomically(path, page)


def render(
    result: Result,
    metrics: Sequence[Mapping[str, Any]],
    photos: Sequence[CaptionedPhoto],
    most: int = MOST_PHOTOS,
) -> bytes:
    """Returns the page with at most `most` photos in it; see `write`."""
    sections = [
        ("scores", "Scores", join(tables.draw_scores(result), _draw_notes(result))),
        ("photos", "Photos", draw_gallery(photos, most)),
        ("captions", "Captions", tables.draw_health(result.health)),
        ("attention", "Attention", tables.draw_attention(result.attention, result.scenes)),
        ("training", "Training", draw_curves(metrics)),
        ("run", "How it was made", draw_run(result)),
    ]
    links = []
    body = []
    for anchor, title, content in sections:
        if content:
            links.append(element("a", title, href=f"#{anchor}"))
            body.append(element("section", element("h2", title), content, id=anchor))
    # Inline, for a page in one file; their hashes let the browser refuse every other script.
    style = _read("page.css")
    script = _read("page.js")
    page = Template(_read("page.html")).substitute(
        title=join(_title(result), " · jaxcap"),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        header=_draw_header(result),
        links=join(*links),
        main=join(*body),
    )
    return page.encode()


def _read(name: str) -> str:
    return resources.files("jaxcap.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Returns what a Content-Security-Policy calls this inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _title(result: Result) -> str:
    """Returns the run's name, which is its folder's, and what it was scored on."""
    # A workdir of another machine may have its separators.
    workdir = result.run.workdir.rstrip("/\\").replace("\\", "/")
    name = workdir.rsplit("/", 1)[-1] or result.data.name
    if result.run.members:
        name = f"Ensemble of {len(result.run.members)} with {name}"
    return f"{name} on {result.data.split}"


def _draw_header(result: Result) -> Markup:
    """Draws the title, what was captioned, and the scores that a reader looks for first."""
    names = [name for name in _HEADLINE if name in result.scores]
    figures = [_draw_figure(name, result.scores[name]) for name in names]
    return join(
        element("p", "jaxcap · report", class_="brand"),
        element("h1", _title(result)),
        element("p", _describe(result), class_="what"),
        element("dl", *figures, class_="figures") if figures else None,
    )


def _describe(result: Result) -> str:
    """Returns in a sentence what was captioned, and how."""
    parts = [
        f"{result.data.images:,} photos of {result.data.name}",
        f"{result.data.references:,} references",
        result.search.describe(),
    ]
    if result.run.epoch is not None:
        parts.append(f"trained for {number(result.run.epoch, '.3g')} epochs")
    return ", ".join(parts)


def _draw_figure(name: str, score: Estimate) -> Markup:
    """Draws one score in large letters."""
    value = element("dd", number(score.value, times=100), class_="value")
    interval = format_interval(score)
    return element("div", element("dt", name), value, element("dd", interval, class_="interval"))


def _draw_notes(result: Result) -> Markup:
    """Draws the notes under the scores, and the signature that tells which can be compared."""
    scales = (
        "All scores are times 100, as papers print them. Each bar starts at 0 and has its row's "
        "own scale."
    )
    notes = [scales, *result.notes]
    signature = element("p", "Signature ", element("code", result.signature), class_="signature")
    return join(element("ul", *(element("li", note) for note in notes), class_="notes"), signature)
