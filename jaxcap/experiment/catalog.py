"""The experiments that come with jaxcap, found by name: `--config quickstart`."""

import difflib
from pathlib import Path

import jaxcap
from jaxcap.errors import UserError

_PACKAGE = Path(jaxcap.__file__).parent
# In an installed package, and in a checkout (see pyproject.toml).
_FOLDERS = (_PACKAGE / "experiments", _PACKAGE.parent / "experiments")
_DEFAULTS = "base"  # what all experiments import; not an experiment that one would choose


def find_experiment(text: str) -> Path:
    """Finds the file of the experiment that a command line names.

    Args:
      text: the name of an experiment that comes with jaxcap, as `quickstart`; or a path, which
        holds a separator or ends in `.py`.

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
    experiments = list_experiments()
    if text in experiments:
        return experiments[text]
    raise UserError(_explain_unknown(text, list(experiments)))


def list_experiments() -> dict[str, Path]:
    """Returns the files of the experiments that come with jaxcap, by name in alphabetical order."""
    folder = next((folder for folder in _FOLDERS if (folder / f"{_DEFAULTS}.py").is_file()), None)
    if folder is None:
        return {}
    files = sorted(folder.glob("*.py"))
    return {file.stem: file for file in files if file.stem != _DEFAULTS}


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
