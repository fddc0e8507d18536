"""The installed package, away from the checkout: its commands find experiments, defaults, page."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import jaxcap
from tests.small_run import SMALL

ROOT = Path(__file__).parents[1]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "jaxcap", "experiments")
FLOOR = 77  # the setuptools that pyproject.toml asks for


def setuptools_version() -> int:
    try:
        return int(importlib.metadata.version("setuptools").partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


needs_setuptools = pytest.mark.skipif(
    setuptools_version() < FLOOR,
    reason=f"builds without a network, with an installed setuptools of {FLOOR} or newer",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout, built in a copy so that nothing is left behind."""
    source = tmp_path_factory.mktemp("source")
    out = tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, source / name)
    pip("wheel", "--no-build-isolation", "--wheel-dir", out, source)
    (built,) = out.glob("jaxcap-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of an installation, for PYTHONPATH; its scripts lie in bin/."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-index", "--target", folder, wheel)
    return folder


def test_every_package_is_listed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for path in (ROOT / "jaxcap").rglob("__init__.py")]
    found = [".".join(folder.parts) for folder in folders]
    assert sorted(listed) == sorted([*found, "jaxcap.experiments"])


def pip(command, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@needs_setuptools
def test_the_wheel_holds_the_package_and_all_that_it_reads(wheel):
    files = set(zipfile.ZipFile(wheel).namelist())
    files = {name for name in files if ".dist-info/" not in name}
    package = [path for path in (ROOT / "jaxcap").rglob("*") if path.is_file()]
    expected = {
        path.relative_to(ROOT).as_posix() for path in package if "__pycache__" not in path.parts
    }
    for path in (ROOT / "experiments").iterdir():
        if path.is_file():
            expected.add(f"jaxcap/experiments/{path.name}")
    assert files == expected


@pytest.mark.slow
@needs_setuptools
def test_the_quickstart_runs_where_there_is_no_checkout(installed, tmp_path):
    environment = os.environ | {
        "PYTHONPATH": str(installed),
        "JAXCAP_CACHE": str(tmp_path / "cache"),
    }
    here = tmp_path / "empty"
    here.mkdir()

    def run(*command):
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    where = run(sys.executable, "-c", "import jaxcap; print(jaxcap.__file__)")
    assert Path(where.strip()).is_relative_to(installed)

    small = [f"--config.{key}={value}" for key, value in SMALL.items()]
    train = [sys.executable, "-m", "jaxcap.train", "--config", "quickstart", *small]
    run(*train, "--config.train.epochs=1")
    workdir = here / "checkpoints" / "quickstart"
    assert (workdir / "config.json").is_file()

    script = [sys.executable, str(installed / "bin" / "jaxcap")]
    assert run(*script, "--version") == f"jaxcap {jaxcap.__version__}\n"
    out = here / "scores"
    scoring = ["--split", "val", "--baselines", "none", "--out", str(out)]
    run(*script, "evaluate", "--workdir", str(workdir), *scoring)
    assert "<style>" in (out / "report.html").read_text(encoding="utf-8")


def test_the_floor_of_setuptools_is_that_of_the_build():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["build-system"]["requires"] == [f"setuptools>={FLOOR}"]
    assert f"setuptools>={FLOOR}" in " ".join(project["project"]["optional-dependencies"]["test"])
