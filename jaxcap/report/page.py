"""The page: its sections put into page.html, with the style and the script that stand beside it."""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from jaxcap.io.files import write_atomically
from jaxcap.report import tables
from jaxcap.report.curves import curves
from jaxcap.report.gallery import MOST_PHOTOS, Photo, gallery
from jaxcap.report.markup import Markup, element, join, number

MOST_BYTES = 14_500_000
_HEADLINE = ("CIDEr-D", "BLEU-4", "ROUGE-L", "METEOR")


def write(
    path: os.PathLike | str,
    result: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    photos: Sequence[Photo],
) -> None:
    """Writes a run's report as one HTML file that needs nothing beside it.

    Args:
      path: the file to write.
      result: what `jaxcap.evaluation` documents; sections that are not there are left out of the
        page.
      metrics: the records of metrics.jsonl.
      photos: some captioned photos; of very many, the best and the worst are shown.

    Raises:
      ValueError: a photo's attention does not fit its words.
      UserError: the disk is full.
    """
    most = MOST_PHOTOS
    page = render(result, metrics, photos, most)
    while len(page) > MOST_BYTES and most:
        most //= 2
        page = render(result, metrics, photos, most)
    write_atomically(path, page)


def render(
    result: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    photos: Sequence[Photo],
    most: int = MOST_PHOTOS,
) -> bytes:
    """Returns the page with at most `most` photos in it; see `write`."""
    style, script = _file("page.css"), _file("page.js")
    health, run = result.get("health") or {}, result.get("run") or {}
    sections = [
        ("scores", "Scores", join(tables.scores(result), _notes(result))),
        ("photos", "Photos", gallery(photos, most)),
        ("captions", "Captions", _captions(health)),
        (
            "attention",
            "Attention",
            tables.attention_health(result.get("attention") or {}, result.get("scenes")),
        ),
        ("training", "Training", curves(metrics)),
        ("run", "How it was made", _run(result, run)),
    ]
    sections = [(id_, title, body) for id_, title, body in sections if body]
    links = [element("a", title, href=f"#{id_}") for id_, title, _ in sections]
    body = [element("section", element("h2", title), body, id=id_) for id_, title, body in sections]
    return (
        Template(_file("page.html"))
        .substitute(
            title=join(_title(result), " · jaxcap"),
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            header=_header(result),
            links=join(*links),
            main=join(*body),
        )
        .encode()
    )


def _file(name: str) -> str:
    return resources.files("jaxcap.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Returns what a Content-Security-Policy calls this inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _title(result: Mapping[str, Any]) -> str:
    data = result.get("data") or {}
    workdir = str((result.get("run") or {}).get("workdir") or "").rstrip("/\\")
    name = workdir.replace("\\", "/").rsplit("/", 1)[-1] or data.get("name") or "A run"
    return f"{name} on {data['split']}" if data.get("split") else name


def _header(result: Mapping[str, Any]) -> Markup:
    table = result.get("scores") or {}
    figures = [_figure(name, table[name]) for name in _HEADLINE if name in table]
    return join(
        element("p", "jaxcap · report", class_="brand"),
        element("h1", _title(result)),
        element("p", _what(result), class_="what"),
        element("dl", *figures, class_="figures") if figures else None,
    )


def _what(result: Mapping[str, Any]) -> str:
    """Says in a sentence what was captioned, and how."""
    data, search, run = (result.get(key) or {} for key in ("data", "search", "run"))
    parts = [
        f"{data['images']:,} photos of {data.get('name', 'a data set')}"
        if "images" in data
        else None
    ]
    parts.append(f"{data['references']:,} references" if "references" in data else None)
    beam = search.get("beam")
    parts.append({None: None, 1: "greedy search"}.get(beam, f"beam search with {beam} beams"))
    parts.append(f"trained for {number(run['epoch'], '.3g')} epochs" if run.get("epoch") else None)
    return ", ".join(part for part in parts if part)


def _figure(name: str, score: Mapping[str, Any]) -> Markup:
    interval = None
    if score.get("low") is not None and score.get("high") is not None:
        interval = f"{number(score['low'], times=100)} – {number(score['high'], times=100)}"
    value = element("dd", number(score.get("value"), times=100), class_="value")
    return element("div", element("dt", name), value, element("dd", interval, class_="interval"))


def _notes(result: Mapping[str, Any]) -> Markup | None:
    """Writes the notes under the table, and the signature that tells which tables may be
    compared.
    """
    notes = [
        "All scores are times 100, as papers print them. Each bar starts at 0 and has its row's "
        "own scale."
    ]
    notes += result.get("notes") or []
    signature = result.get("signature")
    signature = (
        element("p", "Signature ", element("code", signature), class_="signature")
        if signature
        else None
    )
    has_scores = bool(result.get("scores"))
    return (
        join(element("ul", *(element("li", note) for note in notes), class_="notes"), signature)
        if has_scores
        else None
    )


def _captions(health: Mapping[str, Any]) -> Markup | None:
    worn = tables.phrases(health.get("overused") or [])
    return join(tables.captions_health(health), worn) or None


def _run(result: Mapping[str, Any], run: Mapping[str, Any]) -> Markup | None:
    """Draws the facts of the run, and its config folded."""
    parameters = run.get("parameters") or {}
    facts = {
        "Workdir": run.get("workdir"),
        "Checkpoint": f"step {run['step']:,}, epoch {number(run.get('epoch'), '.3g')}"
        if run.get("step")
        else None,
        "Validation loss": f"{number(run['val_loss'], '.3f')} nats per word"
        if run.get("val_loss")
        else None,
        "Vocabulary": f"{run['vocabulary_size']:,} words" if run.get("vocabulary_size") else None,
        "Encoder": run.get("encoder"),
        "Parameters": ", ".join(f"{count:,} {name}" for name, count in parameters.items()) or None,
        "Search": _settings(result.get("search") or {}) or None,
        "jaxcap": result.get("jaxcap"),
    }
    rows = [
        element("div", element("dt", name), element("dd", value))
        for name, value in facts.items()
        if value
    ]
    facts = element("dl", *rows, class_="facts") if rows else None
    return join(facts, _config(run.get("config") or {})) or None


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_value(value)}" for name, value in settings.items()
    )


def _config(config: Mapping[str, Any]) -> Markup | None:
    """Draws the whole config, one table for each of its sections."""
    if not config:
        return None
    plain = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    sections = {"": plain} | {
        key: value for key, value in config.items() if isinstance(value, Mapping)
    }
    drawn = [_config_table(name, values) for name, values in sections.items() if values]
    summary = element("summary", "The whole config")
    return element("details", summary, element("div", *drawn, class_="config"), class_="folded")


def _config_table(name: str, values: Mapping[str, Any]) -> Markup:
    rows = [
        element("tr", element("th", key, scope="row"), element("td", _value(value)))
        for key, value in values.items()
    ]
    return element("table", element("caption", name or "run"), element("tbody", *rows))


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in ("", None) else str(value)
