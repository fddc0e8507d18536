"""Experiments by name: those that come with jaxcap, paths as they are, and hints for the rest."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from jaxcap import denoise, train
from jaxcap.errors import UserError
from jaxcap.experiment import catalog
from jaxcap.experiment.kinds import DENOISER

FOLDER = Path(__file__).parents[2] / "experiments"


def test_every_file_beside_the_bases_is_an_experiment_of_one_kind():
    bases = ("base.py", "denoiser_base.py")
    files = {path.stem: path for path in FOLDER.glob("*.py") if path.name not in bases}
    captioners = catalog.list_experiments()
    denoisers = catalog.list_experiments(DENOISER)
    ablations = catalog.list_ablations()
    assert captioners | denoisers | ablations == files
    assert denoisers == {"denoiser": FOLDER / "denoiser.py"}
    assert {name for name in files if name.startswith("ablation_")} == ablations.keys()
    assert len(captioners) + len(denoisers) + len(ablations) == len(files)


def test_a_name_of_the_other_kind_is_explained():
    with pytest.raises(UserError, match="denoiser is an experiment of jaxcap denoise, not of jaxc"):
        catalog.find_experiment("denoiser")
    with pytest.raises(UserError, match="flickr8k is an experiment of jaxcap train, not of jaxcap"):
        catalog.find_experiment("flickr8k", DENOISER)
    with pytest.raises(UserError, match="did you mean 'denoiser'"):
        catalog.find_experiment("denoise", DENOISER)


def test_the_denoiser_says_what_it_is_and_its_command():
    text = catalog.find_experiment("denoiser", DENOISER).read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring.splitlines()[0].endswith(".")
    (arguments,) = re.findall(r"(?m)^  jaxcap denoise (.*)$", docstring)
    _, workdir = denoise.parse(shlex.split(arguments))
    assert workdir == Path("checkpoints/denoiser")
    (arguments,) = re.findall(r"(?m)^  jaxcap train (.*)$", docstring)
    config, _ = train.parse(shlex.split(arguments))
    assert config.encoder.denoiser == str(workdir)


@pytest.mark.parametrize("name", sorted(catalog.list_experiments()))
def test_a_name_is_that_of_jaxcaps_own_experiment(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.py").write_text("another of this name", encoding="utf-8")
    assert catalog.find_experiment(name) == FOLDER / f"{name}.py"


@pytest.mark.parametrize("name", sorted(catalog.list_experiments()))
def test_an_experiment_says_what_it_is_and_its_command(name):
    text = catalog.find_experiment(name).read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring.splitlines()[0].endswith(".")
    (arguments,) = re.findall(r"(?m)^  jaxcap train (.*)$", docstring)
    _, workdir = train.parse(shlex.split(arguments))
    assert workdir == Path("checkpoints") / name


@pytest.mark.parametrize("path", ["quickstart.py", "./quickstart", "x/y", "x/y.py", "nowhere.py"])
def test_a_path_stays_what_it_is(path):
    assert catalog.find_experiment(path) == Path(path)


def test_a_folder_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    assert catalog.find_experiment("mine") == Path("mine")


def test_the_installed_package_comes_first(tmp_path, monkeypatch):
    """An installed jaxcap never takes a folder `experiments` beside it, as in site-packages."""
    installed = tmp_path / "jaxcap" / "experiments"
    beside = tmp_path / "experiments"
    for folder in (installed, beside):
        folder.mkdir(parents=True)
        for name in ("base.py", "one.py"):
            (folder / name).touch()
    monkeypatch.setattr(catalog, "_FOLDERS", (installed, beside))
    assert catalog.list_experiments() == {"one": installed / "one.py"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("quickstrat", "did you mean 'quickstart'?"),
        ("Quickstart", "did you mean 'quickstart'?"),
        ("flickr8", "did you mean 'flickr8k'?"),
        ("mine", "to run the file of that name here, say --config mine.py"),
        ("notes", "the file notes here is no Python file"),
        ("xyz", "a file of your own is named by its path"),
        ("base", "jaxcap comes with coco,"),
    ],
)
def test_an_unknown_name_is_explained_with_all_names(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    (tmp_path / "notes").touch()
    with pytest.raises(UserError) as mistake:
        catalog.find_experiment(name)
    assert said in str(mistake.value)
    assert str(mistake.value).startswith(f"no experiment is called {name!r}")
    assert ", ".join(catalog.list_experiments()) in str(mistake.value)
