"""The splits that an evaluation reads: the scored one, and the training split where it exists."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.data import datasets
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.experiment import build as experiment


def load_scored(config: ConfigDict, name: str, data_dir: str = "") -> tuple[str, Split]:
    """Loads the split to be scored.

    Args:
      config: of the run.
      name: val or test.
      data_dir: a folder of any known layout; empty for the data set of the run. Where it holds the
        run's own data set, it is read and split as the run's data were.

    Returns:
      The data set's name, and the split; the photos of other splits need not be there.

    Raises:
      UserError: there is no such split (those that are there are named), or its photos are missing.
    """
    options = _own_options(config) | {"download": config.data.download}
    if data_dir:
        if not Path(data_dir).expanduser().is_dir():
            raise UserError(
                f"--data-dir {data_dir} is no folder: name the one that holds the photos and their "
                "captions"
            )
        options = _detect_options(config, data_dir)
    return options["name"], _load(config, options, name)


def load_training(config: ConfigDict) -> Split:
    """Loads the split that the run was trained on; nothing is downloaded for it.

    Raises:
      UserError: it is not on this machine any more.
    """
    return _load(config, _own_options(config), "train")


def _load(config: ConfigDict, options: dict[str, Any], name: str) -> Split:
    """Loads one split of the data set that the options name."""
    section = config.data
    splits = datasets.load(
        **options,
        prepared_dir=section.prepared_dir,
        allow_missing=section.allow_missing,
        only=(name,),
    )
    return splits[name]


def _own_options(config: ConfigDict) -> dict[str, Any]:
    """Returns the options by which the run's own data set is read."""
    return {"name": config.data.name} | experiment.data_options(config)


def _detect_options(config: ConfigDict, data_dir: str) -> dict[str, Any]:
    """Returns the options by which the data set in a folder is read.

    They are the run's own where it is the run's data set, so that it is split as it was.
    """
    own = _own_options(config) | {"dir": data_dir}
    if config.data.name != "scenes" and datasets.is_layout(**own):
        return own
    layout = datasets.detect(data_dir)
    if layout["name"] == config.data.name:
        return own | layout
    return layout | {"dir": data_dir, "seed": config.seed}
