"""How far a long piece of work is: a tqdm bar on a terminal, elsewhere a line every few seconds."""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Self, TextIO

from tqdm import tqdm

_BAR_INTERVAL = 0.1  # seconds between two drawings of the bar
_LINE_INTERVAL = 5.0  # seconds between two plain lines
_BAR = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left{postfix}"
)
# Weight of the newest interval in the rate, so that a slow first step (compilation) soon counts for
# little.
_NEWEST_WEIGHT = 0.3


class Progress:
    """Counts what is done and prints it at intervals.

    Between them, `update` costs an addition and a look at the clock.

    with Progress(len(photos), "features", unit="images") as progress:
        for batch in batches:
            progress.update(len(batch), loss=2.81)

    Shown values are formatted only when they are printed, so a value still on its way from the
    device is not waited for.
    """

    def __init__(
        self,
        total: int | None,
        label: str,
        unit: str = "images",
        stream: TextIO | None = None,
        *,
        done: int = 0,
    ):
        """Prepares; nothing is printed yet.

        Args:
          total: how many there are in all, or None when that is unknown (no ETA then).
          label: what is being done, in a word or two.
          unit: what is counted, in the plural.
          stream: where to print; standard error by default.
          done: how many an earlier run has already done; they do not count for the rate.
        """
        self.total = total
        self.label = label
        self.unit = unit
        self.done = done
        self._stream = sys.stderr if stream is None else stream
        self._shown: dict[str, Any] = {}
        self._rate = 0.0
        self._bar: tqdm | None = None
        self._start(done)

    def _start(self, done: int) -> None:
        self._start_time = time.monotonic()
        self._start_done = done
        self._drawn_time = self._start_time
        self._drawn_done = done

    def __enter__(self) -> Self:
        self._start(self.done)
        if self._stream.isatty():
            # mininterval 0: the intervals are kept here, for the bar and the lines alike.
            self._bar = tqdm(
                total=self.total,
                desc=self.label,
                unit=f" {self.unit}",
                initial=self.done,
                file=self._stream,
                mininterval=0,
                bar_format=_BAR if self.total else None,
                **_width(self._stream),
            )
        return self

    def update(self, n: int = 1, **shown: Any) -> None:
        """Counts `n` more as done.

        Args:
          n: how many.
          **shown: numbers or strings that stand beside the count until the next ones.
        """
        self.done += n
        self._shown = shown or self._shown
        now = time.monotonic()
        interval = _LINE_INTERVAL if self._bar is None else _BAR_INTERVAL
        if now - self._drawn_time >= interval:
            self._draw(now)

    def say(self, line: str) -> None:
        """Prints a line of its own without tearing the bar."""
        if self._bar is None:
            print(line, file=self._stream, flush=True)
        else:
            self._bar.write(line, file=self._stream)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._draw(now)
            self._bar.close()
        elif self.done > self._start_done:
            seconds = max(now - self._start_time, 1e-9)
            rate = (self.done - self._start_done) / seconds
            self._print_line(f"in {format_time(seconds)}", rate)

    def _draw(self, now: float) -> None:
        done = self.done - self._drawn_done
        seconds = max(now - self._drawn_time, 1e-9)
        self._drawn_time = now
        self._drawn_done = self.done
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(format_values(self._shown)), refresh=False)
            self._bar.update(done)
            return
        newest = done / seconds
        if self._rate:
            self._rate = (1 - _NEWEST_WEIGHT) * self._rate + _NEWEST_WEIGHT * newest
        else:
            self._rate = newest
        time_left = ""
        if self.total is not None and self._rate:
            seconds_left = max(self.total - self.done, 0) / self._rate
            time_left = f"{format_time(seconds_left)} left"
        self._print_line(time_left, self._rate)

    def _print_line(self, time_text: str, rate: float) -> None:
        of_total = "" if self.total is None else f"/{self.total:,}"
        parts = [f"{self.done:,}{of_total} {self.unit}", f"{_format_rate(rate)} {self.unit}/s"]
        if time_text:
            parts.append(time_text)
        parts += format_values(self._shown)
        self.say(f"{self.label}: {', '.join(parts)}")


def _width(stream: TextIO) -> dict[str, Any]:
    """Returns tqdm's options: follow the terminal's size, or 100 columns where it has none."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns  # 0 on a bare pty
    except (OSError, ValueError, AttributeError):
        columns = 0
    return {"dynamic_ncols": True} if columns else {"ncols": 100, "nrows": 20}


def format_values(values: Mapping[str, Any]) -> list[str]:
    """Returns each value with its name before it: ["epoch 3", "loss 2.812"]."""
    return [f"{name} {_format_number(value)}" for name, value in values.items()]


def _format_rate(rate: float) -> str:
    if rate >= 100:
        return f"{rate:,.0f}"
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def _format_number(value: Any) -> str:
    """Returns a string or an integer as it is, anything else as a number of about four digits."""
    if isinstance(value, str | int):
        return str(value)
    number = float(value)
    return f"{number:.3f}" if number == 0 or abs(number) >= 0.01 else f"{number:.2e}"


def format_time(seconds: float) -> str:
    """Returns a time as people say it: 0.8 s, 42 s, 3:05 or 1:02:03."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
