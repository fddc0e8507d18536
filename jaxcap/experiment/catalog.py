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
    path = Path(text)
    # Path would forget a `./` or a `/` at the end, so the text tells.
    is_path = path.name != text or path.suffix == ".py"
    if is_path or path.is_dir():
        return path.expanduser()
    experiments = list_experiments(kind)
    if text in experiments:
        return experiments[text]
    for other in KINDS:
        if text in list_experiments(other):
            raise UserError(
                f"{text} is an experiment of jaxcap {other.command}, not of jaxcap {kind.command}"
            )
    raise UserError(_explain_unknown(text, list(experiments)))


def list_experiments(kind: Kind = CAPTIONER) -> dict[str, Path]:
    """Returns the files of the experiments of a kind that come with jaxcap, by name in order."""
    base = f"{CAPTIONER.base}.py"
    folder = next((folder for folder in _FOLDERS if (folder / base).is_file()), None)
    if folder is None:
        return {}
    found = {}
    for file in sorted(folder.glob("*.py")):
        # By their names, so that none has to be run.
        is_denoiser = file.stem.startswith(DENOISER.section)
        if file.stem not in _DEFAULTS and is_denoiser == (kind is DENOISER):
            found[file.stem] = file
    return found


def _explain_unknown(name: str, names: list[str]) -> str:
    """Returns what to do about a name that no experiment has."""
    reason = f"no experiment is called {name!r}"
    known = f"jaxcap comes with {', '.join(names)}"
    if Path(f"{name}.py").is_file():
        return f"{reason}: to run the file of that name here, say --config {name}.py ({known})"
    if Path(name).is_file():
        return f"{reason}, and the file {name} here is no Python file ({known})"
    nearest = difflib.get_close_matches(name.lower(), names, n=1)
    advice = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{reason}: {advice}{known}; a file of your own is named by its path"
