"""The result of an evaluation as lines of text; scores stand times 100, as papers print them."""

import math
from collections.abc import Sequence
from pathlib import Path

from jaxcap.evaluation.result import Health, Result
from jaxcap.scores.health import Phrase
from jaxcap.scores.intervals import Estimate

_HEALTH = {  # fields of `Summary` that are parts of the captions
    "unique": "different captions",
    "novel": "not among the training captions",
    "repeats_2": "a pair of words twice",
    "repeats_3": "three words twice",
    "repeats_4": "four words twice",
    "stutters": "a word twice in a row",
    "ends_in_function_word": "end in a function word",
    "empty": "empty",
}
_ATTENTION = {
    "entropy": "entropy (0: one region, 1: even)",
    "change": "part that moves from word to word",
    "centre_bias": "centre bias (0: none, 1: only the centre)",
}
_GROUNDING = {"pointing": "pointing game", "mass": "mass in the named object's box"}
_MAX_PHRASES = 5


def format_result(result: Result) -> list[str]:
    """Returns everything that the command prints: scores, health, and the signature line."""
    tables = [_format_scores(result), _format_health(result.health), _format_attention(result)]
    overused = result.health.overused[:_MAX_PHRASES]
    if overused:
        title = "phrases used far more often than in the references:"
        tables.append([title, *map(_format_phrase, overused)])
    tables.append([*_describe_baselines(result), *result.notes])
    lines = []
    for table in tables:
        lines += [*table, ""]
    return [*lines, result.signature]


def format_additions(result: Result, printed: Sequence[str]) -> list[str]:
    """Returns what `compare_with_training` adds to `format_result`.

    Args:
      result: with the additions: baselines, novelty, more notes.
      printed: the notes that were printed before.
    """
    lines = []
    if result.baselines:
        lines += _format_scores(result)[1:]
        lines += _describe_baselines(result)
    novel = result.health.captions.novel
    if novel is not None:
        lines.append(f"captions that are {_HEALTH['novel']}: {novel:.1%}")
    return lines + [note for note in result.notes if note not in printed]


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lays rows out as a table, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def format_percent(number: float) -> str:
    """Returns a score times 100 with one decimal, or a dash where there is none."""
    if math.isnan(number):
        return "-"
    return f"{round(100 * number, 1) + 0.0:.1f}"  # + 0.0, so that there is no -0.0


def format_interval(score: Estimate) -> str:
    """Returns a score's interval times 100, or a dash where there is none."""
    if math.isnan(score.low) or math.isnan(score.high):
        return "-"
    return f"{format_percent(score.low)} to {format_percent(score.high)}"


def _format_scores(result: Result) -> list[str]:
    """Returns a line that says what was scored, and the table of scores beside baselines."""
    data = result.data
    head = (
        f"{result.run.describe()} on {data.name} {data.split}: {data.images:,} images, "
        f"{data.references:,} references, {result.search.describe()}"
    )
    head += _describe_photos(result)
    columns = _list_members(result)
    columns += [(baseline.name, baseline.scores) for baseline in result.baselines]
    names = [name for name, _ in columns]
    own = "ensemble" if result.run.members else "score"
    rows = [["x 100", own, f"{result.level:.0%} interval", *names]]
    for name, score in result.scores.items():
        row = [name, format_percent(score.value), format_interval(score)]
        for _, scores in columns:
            other = scores.get(name)
            row.append(format_percent(other.value) if other else "-")
        rows.append(row)
    return [head, *align_columns(rows)]


def _list_members(result: Result) -> list[tuple[str, dict[str, Estimate]]]:
    """Returns the members of an ensemble, by the names of their folders, with their own scores."""
    members = result.run.members or ()
    names = [Path(member.folder).name for member in members]
    if len(set(names)) < len(names):
        names = [member.workdir for member in members]
    return [(name, member.scores or {}) for name, member in zip(names, members, strict=True)]


def _describe_photos(result: Result) -> str:
    """Returns what was done to the photos that is not usual for the run; empty for nothing."""
    done = ""
    if result.data.noise:
        levels = [f"{kind} {level:g}" for kind, level in result.data.noise.items() if level]
        done = f", with noise ({', '.join(levels)})"
    if result.run.other_denoiser:
        denoiser = result.run.denoiser
        done += f", denoised by {denoiser.source}" if denoiser else ", without its denoiser"
    return done


def _describe_baselines(result: Result) -> list[str]:
    return [f"{baseline.name}: {baseline.about}" for baseline in result.baselines]


def _format_health(health: Health) -> list[str]:
    """Returns the table of how varied captions are, beside their references."""
    ours = health.captions
    theirs = health.references
    rows = [
        ["captions", "the run's", "references"],
        ["distinct words", f"{ours.distinct_words:,}", f"{theirs.distinct_words:,}"],
        ["words in the mean", f"{ours.mean_length:.1f}", f"{theirs.mean_length:.1f}"],
    ]
    for name, title in _HEALTH.items():
        parts = [getattr(summary, name) for summary in (ours, theirs)]
        if parts[0] is not None:  # novelty, before the training captions are known
            rows.append([title, *("-" if part is None else f"{part:.1%}" for part in parts)])
    return align_columns(rows)


def _format_attention(result: Result) -> list[str]:
    """Returns the table of the attention; on scenes also how well it finds the objects."""
    table = result.attention
    rows = [["attention (x 100)", "mean", f"{result.level:.0%} interval"]]
    for name, title in _ATTENTION.items():
        rows.append([title, format_percent(table[name].value), format_interval(table[name])])
    if not result.scenes:
        return align_columns(rows)
    # Two more columns: what maps win that ignore the photo.
    rows = [[*rows[0], "even", "centre"], *([*row, "", ""] for row in rows[1:])]
    for name, title in _GROUNDING.items():
        score = table[name]
        others = [table[f"{name}_{baseline}"] for baseline in ("uniform", "centre")]
        row = [title, format_percent(score.value), format_interval(score)]
        rows.append(row + [format_percent(other.value) for other in others])
    scenes = result.scenes
    named = f"objects named with the right shape and colour: {scenes.right:,} of {scenes.total:,}"
    return [*align_columns(rows), named]


def _format_phrase(phrase: Phrase) -> str:
    return (
        f"  {phrase.words}: {phrase.rate:.1%} of the captions, "
        f"{phrase.reference_rate:.1%} of the references"
    )
