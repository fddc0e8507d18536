"""What a run has recorded of its training: metrics.jsonl, and what model selection makes of it.

Light on purpose, so that a command can read a run's history without loading JAX or checkpoints.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxcap.errors import UserError

METRICS = "metrics.jsonl"  # the file's name in a workdir


def read_lines(path: os.PathLike | str) -> list[dict[str, Any]]:
    """Reads the records of a metrics.jsonl; a file that does not exist has none.

    A last line that a kill has cut off is left out.

    Args:
      path: the file.

    Returns:
      The records, as {"step": 3, "split": "train", "loss": 2.81}.

    Raises:
      UserError: a line before the last is not a record; the error gives its number.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    while lines and not lines[-1]:
        lines.pop()
    records = []
    for number, line in enumerate(lines, 1):
        record = _parse_record(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise UserError(
                f"{path}, line {number} is not a record of metrics: delete the line, or start a "
                "new workdir"
            )
    return records


def selection_value(validation: Mapping[str, float], select: str) -> float:
    """Returns the value minimised by model selection: validation loss, or the negated score.

    Args:
      validation: the numbers of one validation, by name.
      select: the config's `train.select`: "loss" or the name of a score.
    """
    if select == "loss":
        return validation["loss"]
    return -validation[select]


def validation_loss(path: os.PathLike | str, select: str) -> float | None:
    """Finds the validation loss of the epoch that model selection takes for the best.

    Args:
      path: the run's metrics.jsonl.
      select: see `selection_value`. Where no such score was recorded, the loss has selected.

    Returns:
      The loss in nats per word, also where another average of it is minimized; None where no
      validation was recorded.
    """
    validations = [record for record in read_lines(path) if record.get("split") == "val"]
    if not any(select in record for record in validations):
        select = "loss"
    complete = [
        record for record in validations if None not in (record.get("loss"), record.get(select))
    ]
    if not complete:
        return None
    # Of equal epochs the last is the best, as for the checkpoints: min takes the first it meets.
    best = min(reversed(complete), key=lambda record: selection_value(record, select))
    return best.get("word_loss", best["loss"])


def _parse_record(line: str) -> dict[str, Any] | None:
    """Returns the record of a line, or None when the line holds none."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    if isinstance(record, dict) and isinstance(record.get("step"), int):
        return record
    return None
