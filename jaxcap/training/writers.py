"""Writers of a run's numbers: the console, JSON lines, TensorBoard.

A writer is called with a step and a record of its numbers, such as
{"epoch": 1.25, "split": "train", "loss": 2.81}: numbers, and a string for the split.
"""

import contextlib
import json
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, TextIO

from jaxcap.io import plain
from jaxcap.io.files import report_full_disk, write_atomically
from jaxcap.io.progress import Progress, format_values
from jaxcap.training.history import read_lines

FLUSH = 10.0  # seconds until TensorBoard sees what was written

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
        record = {"step": int(step)} | plain.values(numbers)
        with report_full_disk(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")


def truncate_after(path: os.PathLike | str, step: int) -> int:
    """Drops the records of later steps than `step`.

    A resumed run's file then equals that of a run never cut off.

    Returns:
      How many records were dropped.
    """
    records = read_lines(path)
    kept = [record for record in records if record["step"] <= step]
    if Path(path).exists():
        write_atomically(
            path, "".join(json.dumps(record, allow_nan=False) + "\n" for record in kept)
        )
    return len(records) - len(kept)


class TensorBoard:
    """Writes TensorBoard's event files through tensorboardX.

    "loss" of split "val" becomes the scalar loss/val.
    """

    def __init__(self, folder: os.PathLike | str, first_step: int = 0):
        """Opens the folder.

        Args:
          folder: where the event files go.
          first_step: after which step this process starts: what an earlier one wrote for later
            steps is hidden.
        """
        # Here, because importing it takes a moment that most commands can save. Its SummaryWriter
        # writes in a thread, which ends at a full disk, and then the run waits for it for ever.
        with _hidden("torch"):
            from tensorboardX import event_file_writer, summary
            from tensorboardX.proto import event_pb2

        self._folder = Path(folder)
        self._summary = summary
        self._event = event_pb2.Event
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        with report_full_disk(folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = event_file_writer.EventsWriter(str(self._folder / "events"))
        self._flushed = time.monotonic()
        self._write(first_step + 1, session_log=start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __call__(self, step: int, numbers: Numbers) -> None:
        split = f"/{numbers['split']}" if "split" in numbers else ""
        for name, value in numbers.items():
            if not isinstance(value, str):
                self._write(step, summary=self._summary.scalar(f"{name}{split}", float(value)))

    def text(self, step: int, name: str, text: str) -> None:
        """Writes a text (Markdown)."""
        self._write(step, summary=self._summary.text(name, text))

    def image(self, step: int, name: str, png: bytes) -> None:
        """Writes a picture in RGB, as `files.encode_picture` makes it."""
        width, height = struct.unpack(">II", png[16:24])  # of the header, which comes first
        image = self._summary.Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=png
        )
        value = self._summary.Summary.Value(tag=name, image=image)
        self._write(step, summary=self._summary.Summary(value=[value]))

    def close(self) -> None:
        """Puts everything on disk and closes the file."""
        with report_full_disk(self._folder):
            self._file.close()

    def _write(self, step: int, **content: Any) -> None:
        with report_full_disk(self._folder):
            self._file.write_event(self._event(step=int(step), wall_time=time.time(), **content))
            if time.monotonic() - self._flushed > FLUSH:
                self._file.flush()
                self._flushed = time.monotonic()


@contextlib.contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Hides a module that is not imported yet from imports.

    tensorboardX imports PyTorch where it finds it, for nothing that is used here: two seconds and
    some hundred megabytes.
    """
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


class Console:
    """Shows a training run: a bar or lines for its steps, a line of its own for other splits."""

    def __init__(
        self,
        steps: int,
        images_per_step: int,
        vocabulary: int | None,
        first_step: int = 0,
        stream: TextIO | None = None,
        average: str = "words",
    ):
        """Prepares; use it in a `with` block.

        Args:
          steps: at which step the run ends.
          images_per_step: how many images a step sees.
          vocabulary: words that the loss is over; losses over other vocabularies cannot be
            compared. None for a loss that is not over words.
          first_step: after which step this process starts.
          stream: where to print; standard error by default.
          average: of the loss, "words" or "positions".
        """
        self._unit = "nats/word" if average == "words" else "nats/position"
        self._images = images_per_step
        self._step = first_step
        self._vocabulary = vocabulary
        done = first_step * images_per_step
        total = steps * images_per_step
        self._progress = Progress(total, "train", unit="images", stream=stream, done=done)

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.__exit__(*error)

    def name(self, name: str) -> Writer:
        """Returns the writer of one of several replicas, whose name its lines begin with.

        The bar shows the numbers of the first one at each step.
        """
        if not name:
            return self

        def write(step: int, numbers: Numbers) -> None:
            if numbers.get("split") != "train":
                self._write(step, numbers, f"{name}, ")
            elif step > self._step:
                self._write(step, {"of": name, **numbers})

        return write

    def __call__(self, step: int, numbers: Numbers) -> None:
        self._write(step, numbers)

    def _write(self, step: int, numbers: Numbers, before: str = "") -> None:
        shown = {name: value for name, value in numbers.items() if name not in ("split", "loss")}
        if "loss" in numbers:  # first, so that a narrow bar does not cut it off
            shown = {"loss": self._format_loss(numbers["loss"])} | shown
        split = numbers.get("split", "train")
        if split == "train":
            self._progress.update((step - self._step) * self._images, **shown)
            self._step = step
        else:
            self.say(f"{before}{split}: {', '.join(format_values(shown))}")

    def say(self, line: str) -> None:
        """Prints a line of its own without tearing the bar."""
        self._progress.say(line)

    def _format_loss(self, loss: float) -> str:
        if self._vocabulary is None:
            return f"{loss:.5f}"
        return f"{loss:.3f} {self._unit}, V={self._vocabulary:,}"
