"""A user's Python file is read as it is now, with its neighbours, and leaves nothing beside it."""

import sys

import pytest

from jaxcap.experiment.python_file import use_file


@pytest.mark.parametrize("changed", ["mine.py", "base.py"])
def test_a_file_that_has_just_changed_is_read_anew(tmp_path, monkeypatch, changed):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "base.py").write_text("value = 1\n")
    (tmp_path / "mine.py").write_text("import base\nvalue = 1\n")
    mine = tmp_path / "mine.py"

    def read(module):
        return module.value, module.base.value

    assert use_file(mine, read, "an example") == (1, 1)
    file = tmp_path / changed
    file.write_text(file.read_text().replace("1", "2"))
    assert use_file(mine, read, "an example") == ((2, 1) if changed == "mine.py" else (1, 2))
    assert {path.name for path in tmp_path.iterdir()} == {"base.py", "mine.py"}
    assert not sys.dont_write_bytecode
