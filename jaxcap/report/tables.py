"""The tables of a report: scores beside their baselines, the health of captions and attention,
worn-out phrases.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxcap.report.markup import Markup, element, join, number

_CAPTIONS = {  # key of the health summary: title, how to read it, format, factor
    "distinct_words": (
        "Distinct words",
        "in all captions; references are more, so they have more",
        ",d",
        1,
    ),
    "mean_length": ("Mean length", "words", ".1f", 1),
    "unique": ("Unique", "different captions over all captions", ".1f", 100),
    "novel": ("Novel", "not a caption of the training set", ".1f", 100),
    "repeats_2": ("Repeat a pair of words", "inside one caption", ".1f", 100),
    "repeats_3": ("Repeat three words", "inside one caption", ".1f", 100),
    "repeats_4": ("Repeat four words", "inside one caption", ".1f", 100),
    "stutters": ("Stutter", "the same word twice in a row", ".1f", 100),
    "ends_in_function_word": (
        "End in a function word",
        "such as “a” or “with”: cut off",
        ".1f",
        100,
    ),
    "empty": ("Empty", "no word at all", ".1f", 100),
}
_ATTENTION = {
    "entropy": ("Entropy", "0: one region alone; 100: spread evenly over the photo"),
    "change": ("Change", "the part of the attention that moves from one word to the next"),
    "centre_bias": (
        "Centre bias",
        "100: all on the centre; 0: as even attention; below: on the border",
    ),
}
_GROUNDING = {
    "pointing": (
        "Pointing game",
        "how often a shape word's brightest region touches the object it names",
    ),
    "mass": ("Mass in the box", "the part of a shape word's attention inside its object's box"),
}


def scores(result: Mapping[str, Any]) -> Markup | None:
    """Draws the scores with their intervals, and the baselines' beside them, all times 100 as
    papers print them.
    """
    ours = result.get("scores") or {}
    baselines = [
        (baseline["name"], baseline.get("scores") or {})
        for baseline in result.get("baselines") or []
    ]
    if not ours:
        return None
    level = number(result.get("level") or 0.95, ".0%")
    heads = [_head(name, "number", f"mark b{i}") for i, (name, _) in enumerate(baselines)]
    heads = [
        _head("Score"),
        _head("Captions", "number"),
        _head(f"{level} interval", "wide"),
        *heads,
    ]
    rows = []
    for name, value in ours.items():
        others = [(title, table.get(name) or {}) for title, table in baselines]
        cells = [
            _cell(number(other.get("value"), times=100), "number", label=title)
            for title, other in others
        ]
        bar = _bar(value, [other for _, other in others])
        rows.append(
            _row(
                _row_head(name), _cell(_estimate(value), "number ours"), _cell(bar, "wide"), *cells
            )
        )
    return join(_table(heads, rows, "scores", "Scores"), _abouts(result.get("baselines") or []))


def _abouts(baselines: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Says what each baseline is."""
    terms = [
        element(
            "li",
            element("strong", baseline["name"], class_=f"mark b{i}"),
            " ",
            baseline.get("about"),
        )
        for i, baseline in enumerate(baselines)
    ]
    return element("ul", *terms, class_="abouts") if terms else None


def _estimate(score: Mapping[str, Any]) -> Markup:
    """Writes a value times 100 with its interval, where there is one."""
    value = element("strong", number(score.get("value"), times=100))
    if score.get("low") is None or score.get("high") is None:
        return value
    low, high = (number(score[end], times=100) for end in ("low", "high"))
    return join(value, " ", element("span", f"{low} – {high}", class_="interval"))


def _bar(
    score: Mapping[str, Any], others: Sequence[Mapping[str, Any]] = (), most: float | None = None
) -> Markup:
    """Draws a value from 0, its interval across the bar's end, and a mark for each of the
    others.
    """
    ends = [score.get("value"), score.get("high"), *(other.get("value") for other in others)]
    full = most or 1.04 * max([end for end in ends if end is not None], default=0) or 1

    def at(value: float) -> str:
        return f"{100 * min(max(value / full, 0), 1):.2f}%"

    parts = [element("rect", x=0, y=8, width="100%", height=6, rx=1.5, class_="track")]
    if score.get("value") is not None:
        parts.append(
            element("rect", x=0, y=8, width=at(score["value"]), height=6, rx=1.5, class_="value")
        )
    for i, other in enumerate(others):
        if other.get("value") is not None:
            x = at(other["value"])
            parts.append(element("line", x1=x, x2=x, y1=4, y2=18, class_=f"tick b{i}"))
    if score.get("low") is not None and score.get("high") is not None:
        low, high = at(score["low"]), at(score["high"])
        parts.append(element("line", x1=low, x2=high, y1=11, y2=11, class_="interval"))
        parts += [element("line", x1=x, x2=x, y1=6, y2=16, class_="interval") for x in (low, high)]
    return element("svg", *parts, width="100%", height=22, class_="bar", aria_hidden="true")


def captions_health(health: Mapping[str, Any]) -> Markup | None:
    """Draws how healthy the captions are, the references of the same photos beside them."""
    ours, theirs = health.get("captions") or {}, health.get("references") or {}
    rows = []
    for key, (title, about, form, times) in _CAPTIONS.items():
        if key in ours:
            values = [number(table.get(key), form, times) for table in (ours, theirs)]
            values = [f"{value} %" if times == 100 and value != "–" else value for value in values]
            cells = _cell(values[0], "number ours"), _cell(values[1], "number", label="references")
            rows.append(_row(_row_head(title, about), *cells))
    heads = [_head("Measure"), _head("Captions", "number"), _head("References", "number")]
    return _table(heads, rows, "health", "Health") if rows else None


def phrases(overused: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Draws the phrases that captions use far more often than people do, one bar above the
    other.
    """
    most = max((phrase["rate"] for phrase in overused), default=0)
    rows = []
    for phrase in overused:
        rates = [{"value": phrase["rate"]}, {"value": phrase["reference_rate"]}]
        shares = [number(rate["value"], ".1f", 100) + " %" for rate in rates]
        bar = _bar(rates[0], rates[1:], most=1.02 * most)
        cells = _cell(shares[0], "number ours"), _cell(shares[1], "number", label="references")
        times = phrase["rate"] / phrase["reference_rate"] if phrase["reference_rate"] else None
        often = _cell(
            "never written" if times is None else f"{times:.1f}×", "number", label="as often"
        )
        rows.append(
            _row(_row_head(f"“{phrase['words']}”"), cells[0], _cell(bar, "wide"), cells[1], often)
        )
    heads = [
        _head("Phrase"),
        _head("Captions", "number"),
        _head("", "wide"),
        _head("References", "number", "mark b0"),
    ]
    return (
        _table(
            [*heads, _head("As often", "number")],
            rows,
            "phrases",
            "Phrases that wear out: used far more often than people use them",
        )
        if rows
        else None
    )


def attention_health(
    attention: Mapping[str, Any], scenes: Mapping[str, Any] | None = None
) -> Markup | None:
    """Draws how sharp, lively and central the attention is and, on scenes, whether it finds the
    object it names.
    """
    rows = [
        _row(
            _row_head(title, about),
            _cell(_estimate(attention[key]), "number ours"),
            _cell(_bar(attention[key], most=1.0), "wide"),
        )
        for key, (title, about) in _ATTENTION.items()
        if attention.get(key)
    ]
    heads = [
        _head("Measure, times 100"),
        _head("Captions", "number"),
        _head("from 0 to 100", "wide"),
    ]
    table = _table(heads, rows, "health", "Health") if rows else None
    return join(table, _grounding(attention), _named(scenes)) or None


def _grounding(attention: Mapping[str, Any]) -> Markup | None:
    """Draws the scores of the pointing game and of the mass beside those of blind maps."""
    rows = []
    for key, (title, about) in _GROUNDING.items():
        if attention.get(key):
            blind = [(name, attention.get(f"{key}_{name}") or {}) for name in ("uniform", "centre")]
            cells = [
                _cell(number(other.get("value"), times=100), "number", label=name)
                for name, other in blind
            ]
            bar = _bar(attention[key], [other for _, other in blind], most=1.0)
            ours = _cell(_estimate(attention[key]), "number ours")
            rows.append(_row(_row_head(title, about), ours, _cell(bar, "wide"), *cells))
    heads = [_head("Measure, in %"), _head("Captions", "number"), _head("", "wide")]
    heads += [
        _head(name, "number", f"mark b{i}") for i, name in enumerate(("Even map", "Centre map"))
    ]
    return (
        _table(heads, rows, "scores", "Grounding: does a word look at what it names?")
        if rows
        else None
    )


def _named(scenes: Mapping[str, Any] | None) -> Markup | None:
    if not scenes or not scenes.get("total"):
        return None
    part = number(scenes["right"] / scenes["total"], ".1f", 100)
    count = f"{scenes['right']:,} of {scenes['total']:,} objects ({part} %)"
    return element("p", f"The captions name {count} with the right shape and colour.")


def _table(heads: Sequence[Markup], rows: Sequence[Markup], class_: str, caption: str) -> Markup:
    # The roles stand in words, because a narrow screen lays the cells out anew and browsers then
    # forget them.
    head = element("thead", element("tr", *heads, role="row"), role="rowgroup")
    body = element("tbody", *rows, role="rowgroup")
    return element("table", element("caption", caption), head, body, class_=class_, role="table")


def _row(*cells: Markup) -> Markup:
    return element("tr", *cells, role="row")


def _head(text: str, class_: str | None = None, mark: str | None = None) -> Markup:
    text = element("span", text, class_=mark) if mark else text
    return element("th", text, scope="col", role="columnheader", class_=class_)


def _row_head(title: str, about: str | None = None) -> Markup:
    about = element("span", about, class_="note") if about else None
    return element("th", title, about, scope="row", role="rowheader")


def _cell(content: Any, class_: str | None = None, label: str | None = None) -> Markup:
    return element("td", content, role="cell", class_=class_, data_label=label)
