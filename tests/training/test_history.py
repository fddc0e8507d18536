"""The history of a run: its records read back, and which epoch model selection takes."""

import json

import pytest

from jaxcap.errors import UserError
from jaxcap.training.history import read_lines, selection_value, validation_loss


@pytest.mark.parametrize("bad", ["{torn", "[1, 2]", '{"loss": 1.0}', ""])
def test_a_bad_line_before_the_last_is_named_by_its_number(tmp_path, bad):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{bad}\n{{"step": 3}}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl, line 2 "):
        read_lines(path)


def test_the_best_epoch_is_chosen_by_loss_or_by_score(tmp_path):
    records = [
        {"split": "val", "loss": 2.0, "CIDEr-D": 0.3},
        {"split": "train", "loss": 1.0},
        {"split": "val", "loss": 2.5, "CIDEr-D": 0.4},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": 1} | record) + "\n" for record in records))
    assert [selection_value(records[0], select) for select in ("loss", "CIDEr-D")] == [2.0, -0.3]
    assert validation_loss(path, "loss") == 2.0
    assert validation_loss(path, "CIDEr-D") == 2.5
    assert validation_loss(tmp_path / "empty" / "metrics.jsonl", "loss") is None


def test_of_equal_epochs_the_last_is_the_best(tmp_path):
    records = [{"split": "val", "loss": loss, "CIDEr-D": 0.5} for loss in (3.0, 2.0)]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": 1} | record) + "\n" for record in records))
    assert validation_loss(path, "CIDEr-D") == 2.0


def test_the_loss_of_the_best_epoch_is_per_word_whatever_was_minimized(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with path.open("w") as file:
        for step, loss, word_loss in ((1, 0.4, 2.0), (2, 0.3, 2.5)):
            record = {"step": step, "split": "val", "loss": loss, "word_loss": word_loss}
            file.write(json.dumps(record) + "\n")
    assert validation_loss(path, "loss") == 2.5
