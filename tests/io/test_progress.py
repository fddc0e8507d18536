"""Progress: a bar on a terminal, plain lines elsewhere."""

import io

import pytest

from jaxcap.io import progress
from jaxcap.io.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that tests move by hand."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_come_every_few_seconds_with_count_rate_time_left_and_values(clock):
    stream = io.StringIO()
    with Progress(1000, "features", stream=stream) as bar:
        for _ in range(12):
            clock.now += 1
            bar.update(20, loss=2.81234)
    assert stream.getvalue().splitlines() == [
        "features: 100/1,000 images, 20.0 images/s, 45 s left, loss 2.812",
        "features: 200/1,000 images, 20.0 images/s, 40 s left, loss 2.812",
        "features: 240/1,000 images, 20.0 images/s, in 12 s, loss 2.812",
    ]


def test_a_slow_start_is_soon_forgotten(clock):
    stream = io.StringIO()
    with Progress(10_000, "train", stream=stream) as bar:
        clock.now += 60
        bar.update(60)
        for _ in range(10):
            clock.now += 5
            bar.update(500)
    rate = float(stream.getvalue().splitlines()[-2].split(", ")[1].split()[0])
    assert 90 < rate < 100


def test_what_an_earlier_run_did_counts_as_done_but_not_as_speed(clock):
    stream = io.StringIO()
    with Progress(1000, "features", stream=stream, done=900) as bar:
        clock.now += 5
        bar.update(50)
    assert (
        stream.getvalue().splitlines()[0] == "features: 950/1,000 images, 10.0 images/s, 5.0 s left"
    )


def test_without_a_total_no_time_left_is_claimed(clock):
    stream = io.StringIO()
    with Progress(None, "words", unit="words", stream=stream) as bar:
        clock.now += 5
        bar.update(5_000_000)
    assert stream.getvalue().splitlines()[0] == "words: 5,000,000 words, 1,000,000 words/s"


def test_a_value_is_not_read_before_it_is_printed(clock):
    class OnItsWay:
        def __float__(self):
            raise AssertionError("read")

    with Progress(10, "train", stream=io.StringIO()) as bar:
        bar.update(1, loss=OnItsWay())
        bar.update(1, loss=1.0)


def test_an_error_inside_still_says_how_far_it_came_and_goes_on_up(clock):
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Progress(10, "features", stream=stream) as bar:
        clock.now += 1
        bar.update(3)
        raise RuntimeError
    assert stream.getvalue().startswith("features: 3/10 images")


def test_nothing_done_prints_nothing():
    stream = io.StringIO()
    with Progress(0, "features", stream=stream):
        pass
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_that_ends_full_and_lines_that_do_not_tear_it(clock):
    stream = Terminal()
    with Progress(20, "features", stream=stream) as bar:
        for _ in range(20):
            clock.now += 0.05
            bar.update(1, loss=1.5)
        bar.say("a line of its own")
    drawn = stream.getvalue().split("\r")
    assert "100%" in drawn[-1] and "20/20" in drawn[-1] and "loss 1.500" in drawn[-1]
    assert any(
        line.strip() == "a line of its own"
        for line in stream.getvalue().replace("\r", "\n").split("\n")
    )
    assert len(drawn) < 20  # drawn by the clock, not at each update


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.84, "0.8 s"), (42, "42 s"), (59.7, "1:00"), (185, "3:05"), (3723, "1:02:03")],
)
def test_times_are_said_as_people_say_them(seconds, said):
    assert progress.format_time(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "lr 3"),
        ("abc", "lr abc"),
        (2.81234, "lr 2.812"),
        (4e-4, "lr 4.00e-04"),
        (0.0, "lr 0.000"),
    ],
)
def test_values_are_said_in_about_four_digits(value, said):
    assert progress.format_values({"lr": value}) == [said]
