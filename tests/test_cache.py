"""The command cache: what it lists, what it takes for unused, and what it removes."""

import json
import shutil

import pytest

from jaxcap import cache as command
from jaxcap import evaluate
from jaxcap.errors import UserError
from jaxcap.io import locks
from jaxcap.io.uses import read_uses
from tests import small_run
from tests.data.raw_files import load


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def listed(capsys):
    capsys.readouterr()
    assert command.main(["--json"]) == 0
    return {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}


def test_what_a_run_uses_is_kept_while_the_run_exists(tmp_path, place, capsys):
    run = small_run.make(tmp_path / "run", encoder__rates="*:0")
    assert evaluate.main(["--workdir", str(run), "--split", "val", "--beam", "1"]) == 0
    load("scenes", scenes=10, scene_size=32)  # by no run
    entries = listed(capsys)
    kinds = sorted(name.split("/")[0] for name in entries)
    # Two sets of scenes of three splits each; the features of val, and of train for the nearest
    # photo.
    assert kinds == ["features"] * 2 + ["prepared"] * 6
    used = {name for name, entry in entries.items() if entry["runs"] == [str(run)]}
    assert {name.split("/")[0] for name in used} == {"features", "prepared"}
    assert command.main(["--remove", "unused"]) == 0
    assert listed(capsys).keys() == used
    shutil.rmtree(run)
    assert command.main(["--remove", "unused"]) == 0
    assert listed(capsys) == {}
    assert command.main([]) == 0
    assert capsys.readouterr().out == (
        f"nothing in {place / 'prepared'}, {place / 'features'} or {place / 'compiled'}\n"
    )
    # What was removed is made again when it is asked for.
    assert len(load("scenes", scenes=10, scene_size=32)["train"]) == 8


def test_compiled_programs_are_listed_and_removed(place, capsys):
    folder = place / "compiled" / "1f0c"
    folder.mkdir(parents=True)
    (folder / "jit_step-cache").write_bytes(bytes(1000))
    entry = listed(capsys)["compiled/1f0c"]
    assert (entry["size"], entry["runs"]) == (1000, [])
    assert command.main(["--remove", "compiled/"]) == 0
    assert not folder.exists()
    assert listed(capsys) == {}


def test_entries_are_removed_by_the_beginning_of_their_names(place, capsys):
    for seed in (0, 1):
        load("scenes", scenes=10, scene_size=32, seed=seed)
    names = list(listed(capsys))
    with pytest.raises(UserError, match=r"no entry of the cache is called prepared/coco\*"):
        command.main(["--remove", names[0], "prepared/coco"])
    assert list(listed(capsys)) == names
    assert command.main(["--remove", names[0]]) == 0
    assert capsys.readouterr().out.startswith(f"removed {names[0]} (")
    assert list(listed(capsys)) == names[1:]
    assert command.main(["--remove", "all"]) == 0
    assert listed(capsys) == {}


def test_what_is_being_made_is_not_removed(place, capsys):
    load("scenes", scenes=10, scene_size=32)
    names = list(listed(capsys))
    with (
        locks.hold_path(place / "prepared" / "scenes", "waiting"),
        pytest.raises(UserError, match="another process is making it"),
    ):
        command.main(["--remove", "all"])
    assert list(listed(capsys)) == names


def test_unfinished_features_are_said_and_damaged_notes_are_none(place, capsys):
    partial = place / "features" / "abc.partial"
    partial.mkdir(parents=True)
    (partial / "meta.json").write_text("{}", encoding="utf-8")
    (partial / "uses.json").write_text("[]", encoding="utf-8")
    assert read_uses(partial) == {}
    assert command.main([]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[1].startswith("features/abc.partial (unfinished)") and rows[1].endswith("unused")
    assert rows[-1] == "0.0 MB in all, 0.0 MB of it unused"


def test_folders_elsewhere_are_named_by_flags(tmp_path, place, capsys):
    load("scenes", scenes=10, scene_size=32, prepared_dir=str(tmp_path / "sets"))
    assert listed(capsys) == {}
    assert command.main(["--prepared-dir", str(tmp_path / "sets"), "--remove", "all"]) == 0
    assert not list((tmp_path / "sets").glob("*/*/captions"))
