"""The splits that an evaluation reads: the one that is scored, and the training split where it is
there.
"""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.data import datasets
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.experiment import build as experiment


def load_scored(config: ConfigDict, name: str, dir: str = "") -> tuple[str, Split]:
    """Loads the split to be scored.

    Args:
      config: of the run.
      name: val or test.
      dir: a folder of any known layout; empty for the data set of the run. Where it holds the run's
        own data set, it is read and split as the run's data were.

    Returns:
      The data set's name, and the split; the photos of other splits need not be there.

    Raises:
      UserError: there is no such split (those that are there are named), or its photos are missing.
    """
    section = config.data
    options = _own_options(config) | {"download": section.download}
    if dir:
        if not Path(dir).expanduser().is_dir():
            raise UserError(
                f"--data-dir {dir} is no folder: name the one that holds the photos and their "
                "captions"
            )
        options = _options_of(config, dir)
    splits = datasets.load(
        **options,
        prepared_dir=section.prepared_dir,
        allow_missing=section.allow_missing,
        only=(name,),
    )
    return options["name"], splits[name]


def load_training(config: ConfigDict) -> Split:
    """Loads the split that the run was trained on; nothing is downloaded for it.

    Raises:
      UserError: it is not on this machine any more.
    """
    section = config.data
    return datasets.load(
        **_own_options(config),
        prepared_dir=section.prepared_dir,
        allow_missing=section.allow_missing,
        only=("train",),
    )["train"]


def _own_options(config: ConfigDict) -> dict[str, Any]:
    return {"name": config.data.name} | experiment.data_options(config)


def _options_of(config: ConfigDict, dir: str) -> dict[str, Any]:
    """Returns the options by which the data set in `dir` is read: the run's own where it is the
    run's data set.
    """
    own = _own_options(config) | {"dir": dir}
    if config.data.name != "scenes" and datasets.is_layout(**own):
        return own
    layout = datasets.detect(dir)
    if layout["name"] == config.data.name:
        return own | layout
    return layout | {"dir": dir, "seed": config.seed}
