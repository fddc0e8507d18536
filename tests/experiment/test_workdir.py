"""A run's folder: what another version of jaxcap has written ends in one line."""

import json

import pytest

from jaxcap import caption, evaluate, train
from jaxcap.errors import UserError
from jaxcap.experiment import workdir
from tests import small_run


@pytest.mark.parametrize("layout", [None, 1, workdir.LAYOUT + 1])
def test_a_run_of_another_layout_is_refused_by_every_command(made_run, tmp_path, layout):
    """The first version wrote no number."""
    folder = tmp_path / "run"
    folder.mkdir()
    config = json.loads((made_run / workdir.CONFIG).read_text(encoding="utf-8"))
    assert config.pop("layout") == workdir.LAYOUT
    if layout is not None:
        config["layout"] = layout
    (folder / workdir.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    commands = [
        (train, ["--config", str(small_run.QUICKSTART), "--workdir", str(folder)]),
        (evaluate, ["--workdir", str(folder), "--split", "val"]),
        (caption, ["--workdir", str(folder), "photo.jpg"]),
    ]
    for command, arguments in commands:
        with pytest.raises(UserError, match="another version of jaxcap") as mistake:
            command.main(arguments)
        assert "\n" not in str(mistake.value)
    assert [path.name for path in folder.iterdir()] == [workdir.CONFIG]


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"pool": "padded"}'])
def test_a_damaged_file_of_the_encoder_ends_in_one_line(made_run, tmp_path, text):
    for name in (workdir.CONFIG, workdir.VOCABULARY):
        (tmp_path / name).write_bytes((made_run / name).read_bytes())
    (tmp_path / workdir.ENCODER).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="encoder.json cannot be read .*: the run is damaged"):
        workdir.load_encoder(tmp_path)


def test_a_key_that_came_after_the_run_has_its_default(made_run, tmp_path):
    values = json.loads((made_run / "config.json").read_text())
    del values["text"]["end_mark"]
    del values["protocol"]
    folder = tmp_path / "older"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(values))
    assert workdir.load_config(folder) == workdir.load_config(made_run)


def test_an_encoder_that_is_older_than_its_dtype_computes_in_float32(made_run, tmp_path):
    values = json.loads((made_run / workdir.ENCODER).read_text())
    assert values.pop("encoder_dtype") == "float32"
    (tmp_path / workdir.ENCODER).write_text(json.dumps(values))
    assert workdir.load_encoder(tmp_path) == workdir.load_encoder(made_run)
