"""The tables of a report: scores beside their baselines, the health of captions and attention."""

import math
from collections.abc import Mapping, Sequence

from jaxcap.evaluation.result import Baseline, Health, Result, SceneObjects
from jaxcap.report.cells import (
    draw_bar,
    draw_cell,
    draw_estimate,
    draw_head,
    draw_row,
    draw_row_head,
    draw_table,
)
from jaxcap.report.markup import Markup, element, join, number
from jaxcap.scores.health import Phrase
from jaxcap.scores.intervals import Estimate

_PARTS = {  # fields of `Summary` that are parts of the captions: title, how to read it
    "unique": ("Unique", "different captions over all captions"),
    "novel": ("Novel", "not a caption of the training set"),
    "repeats_2": ("Repeat a pair of words", "inside one caption"),
    "repeats_3": ("Repeat three words", "inside one caption"),
    "repeats_4": ("Repeat four words", "inside one caption"),
    "stutters": ("Stutter", "the same word twice in a row"),
    "ends_in_function_word": ("End in a function word", "such as “a” or “with”: cut off"),
    "empty": ("Empty", "no word at all"),
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


def draw_scores(result: Result) -> Markup:
    """Draws the scores with their intervals beside the baselines', times 100 as papers print."""
    heads = [
        draw_head("Score"),
        draw_head("Captions", "number"),
        draw_head(f"{result.level:.0%} interval", "wide"),
    ]
    for i, baseline in enumerate(result.baselines):
        heads.append(draw_head(baseline.name, "number", f"mark b{i}"))
    rows = []
    for name, score in result.scores.items():
        others = []
        cells = []
        for baseline in result.baselines:
            value = baseline.scores[name].value if name in baseline.scores else math.nan
            others.append(value)
            cells.append(draw_cell(number(value, times=100), "number", label=baseline.name))
        ours = draw_cell(draw_estimate(score), "number ours")
        bar = draw_cell(draw_bar(score, others), "wide")
        rows.append(draw_row(draw_row_head(name), ours, bar, *cells))
    table = draw_table(heads, rows, "scores", "Scores")
    return join(table, _describe_baselines(result.baselines))


def draw_health(health: Health) -> Markup:
    """Draws how varied the captions are beside the references, and the phrases they overuse."""
    ours = health.captions
    theirs = health.references
    about = "in all captions; references are more, so they have more"
    rows = [
        _health_row(
            "Distinct words", about, f"{ours.distinct_words:,d}", f"{theirs.distinct_words:,d}"
        ),
        _health_row("Mean length", "words", number(ours.mean_length), number(theirs.mean_length)),
    ]
    for name, (title, about) in _PARTS.items():
        part = getattr(ours, name)
        other = getattr(theirs, name)
        if part is not None:
            rows.append(_health_row(title, about, _format_part(part), _format_part(other)))
    heads = [
        draw_head("Measure"),
        draw_head("Captions", "number"),
        draw_head("References", "number"),
    ]
    return join(draw_table(heads, rows, "health", "Health"), _draw_phrases(health.overused))


def draw_attention(attention: Mapping[str, Estimate], scenes: SceneObjects | None = None) -> Markup:
    """Draws the measures of the attention; on scenes also whether it finds the objects.

    Args:
      attention: the measures by name.
      scenes: the objects named rightly; None for photos.
    """
    rows = []
    for name, (title, about) in _ATTENTION.items():
        score = attention[name]
        ours = draw_cell(draw_estimate(score), "number ours")
        bar = draw_cell(draw_bar(score, most=1.0), "wide")
        rows.append(draw_row(draw_row_head(title, about), ours, bar))
    heads = [
        draw_head("Measure, times 100"),
        draw_head("Captions", "number"),
        draw_head("from 0 to 100", "wide"),
    ]
    table = draw_table(heads, rows, "health", "Health")
    if scenes is None:
        return table
    return join(table, _draw_grounding(attention), _describe_scenes(scenes))


def _describe_baselines(baselines: Sequence[Baseline]) -> Markup | None:
    """Draws what each baseline is."""
    items = []
    for i, baseline in enumerate(baselines):
        name = element("strong", baseline.name, class_=f"mark b{i}")
        items.append(element("li", name, " ", baseline.about))
    return element("ul", *items, class_="abouts") if items else None


def _health_row(title: str, about: str, ours: str, theirs: str) -> Markup:
    return draw_row(
        draw_row_head(title, about),
        draw_cell(ours, "number ours"),
        draw_cell(theirs, "number", label="references"),
    )


def _format_part(part: float | None) -> str:
    """Returns a part of the captions in per cent, or a dash where it is not known."""
    return "–" if part is None else f"{number(part, times=100)} %"


def _draw_phrases(overused: Sequence[Phrase]) -> Markup | None:
    """Draws the phrases that captions use far more often than people do."""
    if not overused:
        return None
    most = 1.02 * max(phrase.rate for phrase in overused)
    rows = []
    for phrase in overused:
        often = "never written"
        if phrase.reference_rate:
            often = f"{phrase.rate / phrase.reference_rate:.1f}×"
        rate = Estimate(phrase.rate, math.nan, math.nan)
        bar = draw_bar(rate, [phrase.reference_rate], most=most)
        references = _format_part(phrase.reference_rate)
        rows.append(
            draw_row(
                draw_row_head(f"“{phrase.words}”"),
                draw_cell(_format_part(phrase.rate), "number ours"),
                draw_cell(bar, "wide"),
                draw_cell(references, "number", label="references"),
                draw_cell(often, "number", label="as often"),
            )
        )
    heads = [
        draw_head("Phrase"),
        draw_head("Captions", "number"),
        draw_head("", "wide"),
        draw_head("References", "number", "mark b0"),
        draw_head("As often", "number"),
    ]
    title = "Overused phrases: used far more often than people use them"
    return draw_table(heads, rows, "phrases", title)


def _draw_grounding(attention: Mapping[str, Estimate]) -> Markup:
    """Draws the pointing game and the mass beside those of maps that ignore the photo."""
    rows = []
    for name, (title, about) in _GROUNDING.items():
        score = attention[name]
        others = []
        cells = []
        for label in ("uniform", "centre"):
            value = attention[f"{name}_{label}"].value
            others.append(value)
            cells.append(draw_cell(number(value, times=100), "number", label=label))
        ours = draw_cell(draw_estimate(score), "number ours")
        bar = draw_cell(draw_bar(score, others, most=1.0), "wide")
        rows.append(draw_row(draw_row_head(title, about), ours, bar, *cells))
    heads = [
        draw_head("Measure, in %"),
        draw_head("Captions", "number"),
        draw_head("", "wide"),
        draw_head("Even map", "number", "mark b0"),
        draw_head("Centre map", "number", "mark b1"),
    ]
    title = "Grounding: does a word look at what it names?"
    return draw_table(heads, rows, "scores", title)


def _describe_scenes(scenes: SceneObjects) -> Markup | None:
    if not scenes.total:
        return None
    part = number(scenes.right / scenes.total, times=100)
    count = f"{scenes.right:,} of {scenes.total:,} objects ({part} %)"
    return element("p", f"The captions name {count} with the right shape and colour.")
