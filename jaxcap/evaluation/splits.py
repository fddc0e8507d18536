"""The splits that an evaluation reads: the scored one, and the training split where it exists."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.data import datasets
from jaxcap.data.split import Split
from jaxcap.errors import UserError


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
    section = dict(config.data)
    if data_dir:
        if not Path(data_dir).expanduser().is_dir():
            raise UserError(
                f"--data-dir {data_dir} is no folder: name the one that holds the photos and their "
                "captions"
            )
        section = _make_section(section, data_dir)
    return section["name"], datasets.load(section, only=(name,))[name]


def load_training(config: ConfigDict) -> Split:
    """Loads the split that the run was trained on; nothing is downloaded for it.

    Raises:
      UserError: it is not on this machine any more.
    """
    # Scoring needs none of it, so that nobody waits for a download of gigabytes.
    section = {**config.data, "download": False}
    return datasets.load(section, only=("train",))["train"]


def _make_section(section: Mapping[str, Any], data_dir: str) -> dict[str, Any]:
    """Returns the section `data` by which a folder is read, as the run's own where it is that."""
    own = {**section, "dir": data_dir, "download": False}
    # Scenes are rendered, and would be found in any folder.
    if section["name"] != "scenes" and datasets.is_layout(own):
        return own
    layout = datasets.detect(data_dir)
    if layout["name"] == section["name"]:
        return own | layout
    # Another data set: the run's choice of captions and splits says nothing of it.
    return own | {"captions": "", "splits": "published", "photos": 0} | layout
