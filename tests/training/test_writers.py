"""The writers: JSON lines that survive a kill, TensorBoard's events, the console."""

import io
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxcap.io import files
from jaxcap.training.history import read_lines
from jaxcap.training.writers import (
    Console,
    JsonLines,
    TensorBoard,
    all_of,
    truncate_after,
)


def train(path, first, last):
    """Writes the records of the steps after `first` up to `last`: training every 2 steps,
    validation every 10.
    """
    write = JsonLines(path)
    for step in range(first + 1, last + 1):
        if step % 2 == 0:
            write(
                step,
                {
                    "epoch": step / 10,
                    "split": "train",
                    "loss": 1 / 3 + 1 / step,
                    "learning_rate": 4e-4 / step,
                },
            )
        if step % 10 == 0:
            write(step, {"epoch": step / 10, "split": "val", "loss": math.pi / step})


def test_records_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    JsonLines(path)(
        10, {"epoch": 0.5, "split": "train", "loss": np.float32(2.5), "words": np.int64(700)}
    )
    JsonLines(path)(np.int32(20), {"split": "val", "loss": 0.1})
    assert read_lines(path) == [
        {"step": 10, "epoch": 0.5, "split": "train", "loss": 2.5, "words": 700},
        {"step": 20, "split": "val", "loss": 0.1},
    ]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_line_is_on_disk_when_the_call_returns(tmp_path):
    write = JsonLines(tmp_path / "metrics.jsonl")
    for step in range(3):
        write(step, {"loss": 1.0})
        assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == step + 1


def test_what_json_cannot_say_becomes_null(tmp_path):
    path = tmp_path / "metrics.jsonl"
    JsonLines(path)(1, {"loss": float("nan"), "norm": np.float32("inf")})
    assert path.read_text() == '{"step": 1, "loss": null, "norm": null}\n'


@pytest.mark.parametrize(
    "torn", ["", '{"step": 31, "epo', "{", "\x00\x00\x00", '{"step": 32, "loss": 1.0}']
)
def test_a_killed_and_resumed_file_equals_an_uncut_one(tmp_path, torn):
    uncut = tmp_path / "uncut.jsonl"
    resumed = tmp_path / "resumed.jsonl"
    train(uncut, 0, 50)
    train(resumed, 0, 27)
    with resumed.open("a") as file:
        file.write(torn)  # the kill, in the middle of a line
    truncate_after(resumed, 20)
    train(resumed, 20, 50)
    assert resumed.read_bytes() == uncut.read_bytes()


def test_records_of_the_step_itself_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    train(path, 0, 30)
    truncate_after(path, 20)
    assert [(record["step"], record["split"]) for record in read_lines(path)[-2:]] == [
        (20, "train"),
        (20, "val"),
    ]


def test_a_run_that_has_written_nothing_can_be_cut(tmp_path):
    truncate_after(tmp_path / "metrics.jsonl", 5)
    assert read_lines(tmp_path / "metrics.jsonl") == [] and not list(tmp_path.iterdir())


def test_all_of_hands_each_record_to_each_writer_in_order():
    seen = []
    write = all_of(
        lambda *record: seen.append(("a", *record)), lambda *record: seen.append(("b", *record))
    )
    write(3, {"loss": 1.0})
    assert seen == [("a", 3, {"loss": 1.0}), ("b", 3, {"loss": 1.0})]


def events(folder):
    """Yields the events of a folder's files, in the order in which they were written."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            # A record: its length (8 bytes), a checksum (4), the event, a checksum (4).
            length = int.from_bytes(data[:8], "little")
            event = Event()
            event.ParseFromString(data[12 : 12 + length])
            yield event
            data = data[16 + length :]


def test_tensorboard_gets_scalars_by_split_texts_and_pictures(tmp_path):
    with TensorBoard(tmp_path) as board:
        board(10, {"epoch": 0.5, "split": "train", "loss": 2.5})
        board(20, {"split": "val", "loss": np.float32(2.0)})
        board.text(20, "captions", "a dog")
        png = files.encode_picture(Image.new("RGB", (12, 8), (200, 0, 0)))
        board.image(20, "samples", png)
    values = {
        value.tag: (event.step, value)
        for event in events(tmp_path)
        for value in event.summary.value
    }
    assert values["loss/train"][0] == 10 and values["loss/train"][1].simple_value == 2.5
    assert values["loss/val"][0] == 20 and values["loss/val"][1].simple_value == 2.0
    assert values["epoch/train"][1].simple_value == 0.5
    picture = values["samples"][1].image
    assert (picture.height, picture.width, picture.encoded_image_string) == (8, 12, png)
    assert any(
        "captions" in tag and b"a dog" in v.tensor.string_val[0]
        for tag, (_, v) in values.items()
        if v.tensor.string_val
    )


def test_a_resumed_run_hides_what_tensorboard_has_of_later_steps(tmp_path):
    with TensorBoard(tmp_path / "a") as board:
        board(10, {"loss": 1.0})
    with TensorBoard(tmp_path / "b", first_step=10) as board:
        board(20, {"loss": 1.0})
    start = 1  # SessionLog.START, which TensorBoard reads as "forget this step and later ones"
    assert [e.step for e in events(tmp_path / "b") if e.session_log.status == start] == [11]


def test_the_console_says_loss_speed_and_vocabulary_and_validation_on_a_line_of_its_own(
    monkeypatch,
):
    now = [0.0]
    monkeypatch.setattr("jaxcap.io.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with Console(100, 64, 2538, first_step=40, stream=stream) as console:
        for step in (50, 60):
            now[0] += 6
            console(
                step, {"epoch": step / 20, "split": "train", "loss": 2.8123, "learning_rate": 4e-4}
            )
        console(60, {"epoch": 3, "split": "val", "loss": 2.75})
        console.say("a line of its own")
    loss = "loss 2.812 nats/word, V=2,538"
    assert stream.getvalue().splitlines() == [
        f"train: 3,200/6,400 images, 107 images/s, 30 s left, {loss}, epoch 2.500, learning_rate "
        "4.00e-04",
        f"train: 3,840/6,400 images, 107 images/s, 24 s left, {loss}, epoch 3.000, learning_rate "
        "4.00e-04",
        "val: loss 2.750 nats/word, V=2,538, epoch 3",
        "a line of its own",
        f"train: 3,840/6,400 images, 107 images/s, in 12 s, {loss}, epoch 3.000, learning_rate "
        "4.00e-04",
    ]


def test_importing_the_writers_and_figures_loads_nothing_heavy():
    code = (
        "import sys, jaxcap.training.writers, jaxcap.figures.curves;"
        "print([m for m in ('tensorboardX', 'tensorflow', 'matplotlib', 'jax') if m in "
        "sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
        == "[]"
    )
