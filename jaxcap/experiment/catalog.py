"""The experiments that come with jaxcap, found by name: `--config quickstart`."""

import difflib
from pathlib import Path

import jaxcap
from jaxcap.errors import UserError
from jaxcap.experiment.kinds import CAPTIONER, DENOISER, KINDS, Kind

_PACKAGE = Path(jaxcap.__file__).parent
# In an installed package, and in a checkout (see pyproject.toml).
_FOLDERS = (_PACKAGE / "experiments", _PACKAGE.parent / "experiments")
# What all experiments of a kind import; not experiments that one would choose.
_DEFAULTS = tuple(kind.base for kind in KINDS)
_ABLATION = "ablation_"  # begins the names of ablations, which are grids of experiments


def find_experiment(text: str, kind: Kind = CAPTIONER) -> Path:
    """Finds the file of the experiment that a command line names.

    Args:
      text: the name of an experiment that comes with jaxcap, as `quickstart`; or a path, which
        holds a separator or ends in `.py`.
      kind: what the experiment must be.

    Returns:
      The file. Of a path it is not asked whether it exists.

    Raises:
      UserError: `text` is a name, and no such experiment comes with jaxcap.
    """
    if _is_path(text):
        return Path(text).expanduser()
    experiments = list_experiments(kind)
    if text in experiments:
        return experiments[text]
    if text in list_ablations():
        raise UserError(f"{text} is an ablation: jaxcap ablate runs it, not jaxcap {kind.command}")
    for other in KINDS:
        if text in list_experiments(other):
            raise UserError(
                f"{text} is an experiment of jaxcap {other.command}, not of jaxcap {kind.command}"
            )
    raise UserError(_explain_unknown(text, list(experiments), "experiment"))


def find_ablation(text: str) -> Path:
    """Finds the file of the ablation that a command line names; see `find_experiment`."""
    if _is_path(text):
        return Path(text).expanduser()
    ablations = list_ablations()
    if text in ablations:
        return ablations[text]
    for kind in KINDS:
        if text in list_experiments(kind):
            raise UserError(
                f"{text} is an experiment of jaxcap {kind.command}; an ablation names it as its "
                f"base: {', '.join(ablations)}"
            )
    raise UserError(_explain_unknown(text, list(ablations), "ablation"))


def list_experiments(kind: Kind = CAPTIONER) -> dict[str, Path]:
    """Returns the files of the experiments of a kind that come with jaxcap, by name in order."""
    found = {}
    for file in _list_files():
        # By their names, so that none has to be run.
        is_denoiser = file.stem.startswith(DENOISER.section)
        if not file.stem.startswith(_ABLATION) and is_denoiser == (kind is DENOISER):
            found[file.stem] = file
    return found


def list_ablations() -> dict[str, Path]:
    """Returns the files of the ablations that come with jaxcap, by name in order."""
    return {file.stem: file for file in _list_files() if file.stem.startswith(_ABLATION)}


def _list_files() -> list[Path]:
    """Returns all files that come with jaxcap, but for those that all others import."""
    base = f"{CAPTIONER.base}.py"
    folder = next((folder for folder in _FOLDERS if (folder / base).is_file()), None)
    if folder is None:
        return []
    return [file for file in sorted(folder.glob("*.py")) if file.stem not in _DEFAULTS]


def _is_path(text: str) -> bool:
    """Tells whether a text that names an experiment is a path."""
    path = Path(text)
    # Path would forget a `./` or a `/` at the end, so the text tells.
    return path.name != text or path.suffix == ".py" or path.is_dir()


def _explain_unknown(name: str, names: list[str], noun: str) -> str:
    """Returns what to do about a name that no experiment, or no ablation, has."""
    reason = f"no {noun} is called {name!r}"
    known = f"jaxcap comes with {', '.join(names)}"
    if Path(f"{name}.py").is_file():
        return f"{reason}: to run the file of that name here, say --config {name}.py ({known})"
    if Path(name).is_file():
        return f"{reason}, and the file {name} here is no Python file ({known})"
    nearest = difflib.get_close_matches(name.lower(), names, n=1)
    advice = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{reason}: {advice}{known}; a file of your own is named by its path"
