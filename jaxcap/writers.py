"""Where a run's numbers go: the console, JSON lines, TensorBoard. A writer is called with a step and its numbers.

The numbers are a record such as {"epoch": 1.25, "split": "train", "loss": 2.81}: numbers, and a string for the split.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from jaxcap.errors import UserError
from jaxcap.files import space_checked, write_atomically
from jaxcap.progress import Progress, named

Numbers = Mapping[str, Any]
Writer = Callable[[int, Numbers], None]


def all_of(*writers: Writer) -> Writer:
    """Returns the writer that hands every record to each of `writers`, in this order."""

    def write(step: int, numbers: Numbers) -> None:
        for writer in writers:
            writer(step, numbers)

    return write


class JsonLines:
    """Appends each record to a file as one line of JSON, on disk before the call returns."""

    def __init__(self, path: os.PathLike | str):
        self.path = Path(path)

    def __call__(self, step: int, numbers: Numbers) -> None:
        record = {"step": int(step)} | {name: _plain(value) for name, value in numbers.items()}
        with space_checked(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")


def read_lines(path: os.PathLike | str) -> list[dict[str, Any]]:
    """Reads the records back; a file that is not there has none, and a last line cut off by a kill is left out.

    Raises:
      UserError: a line before the last is not a record; its number is said.
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    while lines and not lines[-1]:
        lines.pop()
    records = []
    for number, line in enumerate(lines, 1):
        record = _record(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):
            raise UserError(
                f"{path}, line {number} is not a record of metrics: delete the line, or start a new workdir"
            )
    return records


def truncate_after(path: os.PathLike | str, step: int) -> None:
    """Drops the records of later steps than `step`, so that a resumed run's file equals that of a run never cut off."""
    kept = [record for record in read_lines(path) if record["step"] <= step]
    if Path(path).exists():
        write_atomically(path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in kept))


class TensorBoard:
    """Writes TensorBoard's event files through tensorboardX; "loss" of split "val" becomes the scalar loss/val."""

    def __init__(self, folder: os.PathLike | str, first_step: int = 0):
        """Opens the folder.

        Args:
          folder: where the event files go.
          first_step: after which step this process starts: what an earlier one wrote for later steps is hidden.
        """
        from tensorboardX import SummaryWriter  # here, because importing it takes a moment that most commands can save

        self._events = SummaryWriter(str(folder), purge_step=first_step + 1, flush_secs=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __call__(self, step: int, numbers: Numbers) -> None:
        split = f"/{numbers['split']}" if "split" in numbers else ""
        for name, value in numbers.items():
            if not isinstance(value, str):
                self._events.add_scalar(f"{name}{split}", float(value), step)

    def text(self, step: int, name: str, text: str) -> None:
        """Writes a text (Markdown)."""
        self._events.add_text(name, text, step)

    def image(self, step: int, name: str, picture: Any) -> None:
        """Writes a picture: a PIL image in RGB or an array of uint8. [height, width, 3]"""
        import numpy as np

        self._events.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Puts everything on disk and closes the file."""
        self._events.close()


class Console:
    """Shows a training run: a bar or a line every few seconds for its steps, a line of its own for other splits."""

    def __init__(
        self, steps: int, images_per_step: int, vocabulary: int, first_step: int = 0, stream: TextIO | None = None
    ):
        """Prepares; use it in a `with` block.

        Args:
          steps: at which step the run ends.
          images_per_step: how many images a step sees.
          vocabulary: words that the loss is over; losses over other vocabularies cannot be compared.
          first_step: after which step this process starts.
          stream: where to print; standard error by default.
        """
        self._images, self._step, self._vocabulary = images_per_step, first_step, vocabulary
        done, total = first_step * images_per_step, steps * images_per_step
        self._progress = Progress(total, "train", unit="images", stream=stream, done=done)

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)

    def __call__(self, step: int, numbers: Numbers) -> None:
        shown = {name: value for name, value in numbers.items() if name not in ("split", "loss")}
        if "loss" in numbers:  # first, so that a narrow bar does not cut it off
            shown = {"loss": f"{numbers['loss']:.3f} nats/word, V={self._vocabulary:,}"} | shown
        split = numbers.get("split", "train")
        if split == "train":
            self._progress.update((step - self._step) * self._images, **shown)
            self._step = step
        else:
            self.say(f"{split}: {', '.join(named(shown))}")

    def say(self, line: str) -> None:
        """Prints a line of its own without tearing the bar."""
        self._progress.say(line)


def _plain(value: Any) -> Any:
    """Returns a value that JSON has: arrays' scalars as Python's, infinity and not-a-number as null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _record(line: str) -> dict[str, Any] | None:
    """Returns the record of a line, or None when it holds none."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None
