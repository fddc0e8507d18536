"""Compiled programs: the next process finds them, in a folder that is private."""

import os
import subprocess
import sys

import jax
import pytest

from jaxcap.io import compiled

PROGRAM = """
import jax
from jaxcap.io import compiled

compiled.keep_compiled()
print(jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((8, 8))))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache of its own, and JAX as it is before anybody has chosen a place."""
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    options = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in options}
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path / "cache" / "compiled"
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_next_process_compiles_nothing(place):
    found = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", PROGRAM], check=True)
        (folder,) = place.iterdir()
        found.append({file.name: file.stat().st_mtime_ns for file in folder.iterdir()})
    assert found[0] == found[1] != {}


def test_the_folder_is_private(place):
    compiled.keep_compiled()
    (folder,) = place.iterdir()
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert [path.stat().st_mode & 0o777 for path in (place, folder)] == [0o700, 0o700]


def test_a_folder_that_others_can_write_into_is_not_used(place, capsys):
    place.mkdir(parents=True)
    place.chmod(0o777)
    compiled.keep_compiled()
    assert jax.config.jax_compilation_cache_dir is None
    said = f"{place} is not used for what is compiled, for others can write into it\n"
    assert capsys.readouterr().err == said


def test_a_place_that_somebody_chose_stays(place, tmp_path, monkeypatch):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    compiled.keep_compiled()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path)
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")  # an empty one chooses none
    compiled.keep_compiled()
    assert jax.config.jax_compilation_cache_dir is None
    assert not place.exists()


def test_a_cache_that_cannot_be_written_is_done_without(place):
    place.parent.write_text("no folder")
    compiled.keep_compiled()
    assert jax.config.jax_compilation_cache_dir is None


def test_processors_share_no_programs(place, tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(compiled, "PROCESSOR_INFO", info)
    for flags in ("fpu avx2", "fpu avx2 amx_bf16"):
        info.write_text(f"model name : A\nflags : {flags}\nMHz : 1\n\nmodel name : B\n")
        compiled.keep_compiled()
        jax.config.update("jax_compilation_cache_dir", None)
    info.write_text("model name : A\nflags : fpu avx2\nMHz : 2\n\n")
    compiled.keep_compiled()
    assert len(list(place.iterdir())) == 2


def test_the_oldest_programs_go_first(place, monkeypatch):
    compiled.keep_compiled()
    (folder,) = place.iterdir()
    for age, name in enumerate(["new", "older", "oldest"]):
        (folder / name).write_bytes(bytes(400))
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compiled, "KEPT_BYTES", 1000)
    jax.config.update("jax_compilation_cache_dir", None)
    compiled.keep_compiled()
    assert {path.name for path in folder.iterdir()} == {"new", "older"}


def test_a_command_keeps_what_it_compiles(place):
    """The doctor compiles its arithmetic."""
    subprocess.run([sys.executable, "-m", "jaxcap.doctor"], capture_output=True, check=False)
    assert any(place.glob("*/*"))
