"""The result of an evaluation as lines of text; scores stand times 100, as papers print them."""

from collections.abc import Mapping, Sequence
from typing import Any

_HEALTH = {
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


def lines(result: Mapping[str, Any]) -> list[str]:
    """Returns everything that the command prints: scores, health, and the signature line."""
    tables = [_scores(result), _health(result["health"]), _attention(result)]
    worn = result["health"]["overused"]
    if worn:
        tables.append(
            ["phrases used far more often than in the references:", *map(_phrase, worn[:5])]
        )
    tables.append([*_abouts(result), *result["notes"]])
    return [*(line for table in tables for line in [*table, ""]), result["signature"]]


def beside(result: Mapping[str, Any], said: Sequence[str]) -> list[str]:
    """Returns what `evaluation.beside_training` adds to `lines`: baselines, novelty, more notes.

    Args:
      result: with what was added.
      said: the notes that were printed before.
    """
    novel = result["health"]["captions"].get("novel")
    return [
        *(_scores(result)[1:] if result["baselines"] else []),
        *_abouts(result),
        *([f"captions that are {_HEALTH['novel']}: {novel:.1%}"] if novel is not None else []),
        *(note for note in result["notes"] if note not in said),
    ]


def _abouts(result: Mapping[str, Any]) -> list[str]:
    return [f"{baseline['name']}: {baseline['about']}" for baseline in result["baselines"]]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lays rows out as a table, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    ]


def percent(number: float | None) -> str:
    """Returns a score times 100 with one decimal, or a dash where there is none."""
    return "-" if number is None else f"{round(100 * number, 1) + 0.0:.1f}"  # never -0.0


def interval(score: Mapping[str, float | None]) -> str:
    """Returns a score's interval times 100, or a dash where there is none."""
    if score["low"] is None or score["high"] is None:
        return "-"
    return f"{percent(score['low'])} to {percent(score['high'])}"


def _scores(result: Mapping[str, Any]) -> list[str]:
    data, run, blind = result["data"], result["run"], result["baselines"]
    head = f"{run['workdir']} on {data['name']} {data['split']}: {data['images']:,} images, "
    head += f"{data['references']:,} references, beam {result['search']['beam']}"
    rows = [
        [
            "x 100",
            "score",
            f"{result['level']:.0%} interval",
            *(baseline["name"] for baseline in blind),
        ]
    ]
    for name, score in result["scores"].items():
        others = [baseline["scores"].get(name, {}).get("value") for baseline in blind]
        rows.append([name, percent(score["value"]), interval(score), *map(percent, others)])
    return [head, *aligned(rows)]


def _health(health: Mapping[str, Any]) -> list[str]:
    ours, theirs = health["captions"], health["references"]
    rows = [["captions", "the run's", "references"]]
    rows.append(["distinct words", f"{ours['distinct_words']:,}", f"{theirs['distinct_words']:,}"])
    rows.append(["words in the mean", f"{ours['mean_length']:.1f}", f"{theirs['mean_length']:.1f}"])
    for key, said in _HEALTH.items():
        if key in ours:
            rows.append(
                [said, *(f"{part[key]:.1%}" if key in part else "-" for part in (ours, theirs))]
            )
    return aligned(rows)


def _attention(result: Mapping[str, Any]) -> list[str]:
    table, scenes = result["attention"], result["scenes"]
    rows = [["attention (x 100)", "mean", f"{result['level']:.0%} interval", "even", "centre"]]
    for name, said in _ATTENTION.items():
        rows.append([said, percent(table[name]["value"]), interval(table[name]), "", ""])
    for name, said in _GROUNDING.items() if scenes else ():
        blind = (percent(table[f"{name}_{how}"]["value"]) for how in ("uniform", "centre"))
        rows.append([said, percent(table[name]["value"]), interval(table[name]), *blind])
    if not scenes:
        return aligned([row[:3] for row in rows])
    right, total = scenes["right"], scenes["total"]
    return [
        *aligned(rows),
        f"objects named with the right shape and colour: {right:,} of {total:,}",
    ]


def _phrase(phrase: Mapping[str, Any]) -> str:
    rates = (
        f"{phrase['rate']:.1%} of the captions, {phrase['reference_rate']:.1%} of the references"
    )
    return f"  {phrase['words']}: {rates}"
