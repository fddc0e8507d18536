"""The section on how a run was made: its facts, and its config folded."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxcap.evaluation.result import Member, Result, RunInfo
from jaxcap.report.markup import Markup, element, join, number


def draw_run(result: Result) -> Markup:
    """Draws the facts of the run, and its config folded."""
    run = result.run
    parameters = dataclasses.asdict(run.parameters)
    search = dataclasses.asdict(result.search)
    search |= search.pop("sampling") or {}
    # Not recorded where a run has not validated, or its file of metrics has gone.
    loss = None if run.val_loss is None else f"{number(run.val_loss, '.3f')} nats per word"
    facts = {
        "Workdir": None if run.members else run.workdir,
        "Ensemble of": ", ".join(
            f"{one.workdir} ({_describe_checkpoint(one)})" for one in run.members or ()
        ),
        "Checkpoint": None if run.members else _describe_checkpoint(run),
        "Validation loss": loss,
        "Vocabulary": f"{run.vocabulary_size:,} words",
        "Encoder": run.encoder,
        "Parameters": ", ".join(f"{count:,} {name}" for name, count in parameters.items()),
        "Search": ", ".join(
            f"{name.replace('_', ' ')} {_format(v)}" for name, v in search.items() if v is not None
        ),
        "jaxcap": result.jaxcap,
    }
    rows = []
    for name, value in facts.items():
        if value:
            rows.append(element("div", element("dt", name), element("dd", value)))
    return join(element("dl", *rows, class_="facts"), _draw_config(run.config))


def _describe_checkpoint(run: RunInfo | Member) -> str:
    return f"step {run.step:,}, epoch {number(run.epoch, '.3g')}"


def _draw_config(config: Mapping[str, Any]) -> Markup | None:
    """Draws the whole config, one table for each of its sections."""
    if not config:
        return None
    keys = {}
    drawn = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            drawn.append(_draw_table(key, value))
        else:
            keys[key] = value
    if keys:  # of no section
        drawn.insert(0, _draw_table("run", keys))
    summary = element("summary", "The whole config")
    return element("details", summary, element("div", *drawn, class_="config"), class_="folded")


def _draw_table(name: str, values: Mapping[str, Any]) -> Markup:
    rows = []
    for key, value in values.items():
        head = element("th", key, scope="row")
        rows.append(element("tr", head, element("td", _format(value))))
    return element("table", element("caption", name), element("tbody", *rows))


def _format(value: Any) -> str:
    """Returns a value of a config as readers write it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in ("", None) else str(value)
