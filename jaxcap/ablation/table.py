"""The table of a grid: each arm's mean over seeds beside the first arm, as Markdown and JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxcap.ablation.record import Scored, State
from jaxcap.evaluation import result as results
from jaxcap.evaluation import scoring
from jaxcap.evaluation.groups import METHOD, GroupScore, estimate_groups, format_p
from jaxcap.evaluation.result import Result
from jaxcap.evaluation.tables import format_interval, format_percent
from jaxcap.experiment import workdir
from jaxcap.io import plain, records
from jaxcap.io.files import write_atomically
from jaxcap.word2vec.coverage import Coverage

MARKDOWN = "table.md"
JSON = "table.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """An arm.

    Attributes:
      arm: its name.
      seeds: those that are finished.
      evaluations: their folders, from the grid's.
      score: of the metric of interest.
      parameters: that were trained.
      seconds: of training, the mean of the seeds; features are not counted.
      coverage: of imported word vectors, of the first seed; None without any.
    """

    arm: str
    seeds: tuple[int, ...]
    evaluations: tuple[str, ...]
    score: GroupScore
    parameters: int
    seconds: float
    coverage: Coverage | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a grid has found.

    Attributes:
      metric: the score of interest; it stands as it is computed, the Markdown has it times 100.
      level: of the intervals.
      data: what was scored.
      signature: of the first arm's scores.
      rows: the arms that have finished cells.
      failed: ARM/seed_K -> why.
      method: of intervals and p.
      machines: on which the runs were trained.
      versions: of the programs that wrote the table.
      command: that wrote it.
    """

    metric: str
    level: float
    data: str
    signature: str
    rows: tuple[Row, ...]
    failed: dict[str, str]
    method: str
    machines: tuple[str, ...]
    versions: str
    command: str


def make_table(
    folder: Path,
    state: State,
    arms: Sequence[str],
    metric: str,
    *,
    versions: str,
    command: str,
) -> Table | None:
    """Makes the table of all finished cells; None where there are none.

    Args:
      folder: of the grid.
      state: what is finished.
      arms: those of the table, the first of which the others are compared with.
      metric: the score of interest.
      versions: of the programs.
      command: that asks for it.
    """
    finished = {arm: _list_finished(folder, state, arm) for arm in arms}
    finished = {arm: cells for arm, cells in finished.items() if cells}
    if not finished:
        return None
    groups = []
    for cells in finished.values():
        groups.append([folder / cell.evaluation for cell in cells.values()])
    scores = estimate_groups(groups, metric)
    rows = []
    machines = []
    for (arm, cells), score in zip(finished.items(), scores, strict=True):
        # Compared with the first arm, or with none: the first that is finished may be another.
        if next(iter(finished)) != arms[0]:
            score = GroupScore(each=score.each, mean=score.mean)
        trainings = [state.trainings[cell.training] for cell in cells.values()]
        machines += [training.machine for training in trainings]
        first = next(iter(cells.values()))
        rows.append(
            Row(
                arm=arm,
                seeds=tuple(cells),
                evaluations=tuple(cell.evaluation for cell in cells.values()),
                score=score,
                parameters=_read_result(folder, first).run.parameters.trained,
                seconds=sum(training.seconds for training in trainings) / len(trainings),
                coverage=workdir.load_coverage(folder / first.training),
            )
        )
    result = _read_result(folder, next(iter(next(iter(finished.values())).values())))
    data = result.data
    return Table(
        metric=metric,
        level=scoring.LEVEL,
        data=f"{data.name} {data.split}, {data.images:,} photos, {data.references:,} references",
        signature=result.signature,
        rows=tuple(rows),
        failed={cell: reason for cell, reason in state.failed.items() if _arm_of(cell) in arms},
        method=METHOD,
        machines=tuple(dict.fromkeys(machines)),
        versions=versions,
        command=command,
    )


def write_table(folder: Path, table: Table) -> None:
    """Writes table.md and table.json."""
    write_atomically(folder / MARKDOWN, format_markdown(table))
    write_atomically(folder / JSON, plain.to_json(records.to_values(table), indent=2) + "\n")


def format_markdown(table: Table) -> str:
    """Returns the table with what it rests on, as Markdown."""
    first = table.rows[0].arm
    interval = f"{table.level:.0%} interval"
    head = ["arm", table.metric, interval, "seeds", f"to {first}", interval, "p (Holm)"]
    head += ["parameters trained", "seconds of training"]
    has_coverage = any(row.coverage for row in table.rows)
    if has_coverage:
        head += ["words with a vector", "of their occurrences"]
    lines = [_join(head), _join(["---"] * len(head))]
    for row in table.rows:
        cells = _format_row(row)
        if has_coverage and row.coverage:
            found = row.coverage
            cells += [
                f"{found.found:,} of {found.words:,} ({found.by_word:.1%})",
                f"{found.by_occurrence:.1%}",
            ]
        elif has_coverage:
            cells += ["-", "-"]
        lines.append(_join(cells))
    lines += ["", f"{table.metric} x 100. Seeds in brackets, each with its score.", ""]
    cost = "those of training alone, the mean of the seeds: features are computed once for all"
    lines += [
        f"- Data: {table.data}",
        f"- Method: {table.method}",
        f"- Seconds: {cost}",
        f"- Machine: {'; '.join(table.machines)}",
        f"- Versions: {table.versions}",
        f"- Signature of {first}: `{table.signature}`",
    ]
    lines += [f"- Failed: {cell}: {reason}" for cell, reason in table.failed.items()]
    lines += [f"- Command: `{table.command}`"]
    return "\n".join(lines) + "\n"


def _format_row(row: Row) -> list[str]:
    score = row.score
    each = []
    for seed, value in zip(row.seeds, score.each, strict=True):
        each.append(f"{format_percent(value)} ({seed})")
    gain = "-"
    interval = "-"
    if score.difference is not None:
        gain = f"{round(100 * score.difference.value, 1) + 0.0:+.1f}"
        interval = format_interval(score.difference)
    return [
        row.arm,
        format_percent(score.mean.value),
        format_interval(score.mean),
        ", ".join(each),
        gain,
        interval,
        format_p(score.corrected_p),
        f"{row.parameters:,}",
        f"{row.seconds:,.0f}",
    ]


def _list_finished(folder: Path, state: State, arm: str) -> dict[int, Scored]:
    """Returns the finished cells of an arm by their seeds, in order."""
    found = {}
    for name, scored in state.scored.items():
        there = (folder / scored.evaluation / "scores.json").is_file()
        if _arm_of(name) == arm and there:
            found[int(name.rpartition("_")[2])] = scored
    return dict(sorted(found.items()))


def _arm_of(cell: str) -> str:
    return cell.partition("/")[0]


def _read_result(folder: Path, cell: Scored) -> Result:
    text = (folder / cell.evaluation / "scores.json").read_text(encoding="utf-8")
    return results.from_json(text)


def _join(cells: Sequence[str]) -> str:
    # A "|" inside a cell would end it.
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
