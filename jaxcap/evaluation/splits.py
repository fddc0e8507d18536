"""The splits that an evaluation reads: the one that is scored, and the training split where it is there."""

from pathlib import Path

from ml_collections import ConfigDict

from jaxcap import data, experiment
from jaxcap.data.split import Split
from jaxcap.errors import UserError


def scored(config: ConfigDict, name: str, dir: str = "") -> tuple[str, Split]:
    """Loads the split to be scored.

    Args:
      config: of the run.
      name: val or test.
      dir: a folder of any known layout; empty for the data set of the run.

    Returns:
      The data set's name, and the split; the photos of other splits need not be there.

    Raises:
      UserError: there is no such split (those that are there are named), or its photos are missing.
    """
    section = config.data
    if not dir:
        options = experiment.data_options(config) | {"download": section.download}
        splits = data.load(
            section.name,
            **options,
            prepared_dir=section.prepared_dir,
            allow_missing=section.allow_missing,
            only=(name,),
        )
        return section.name, splits[name]
    if not Path(dir).expanduser().is_dir():
        raise UserError(f"--data-dir {dir} is no folder: name the one that holds the photos and their captions")
    layout = data.detect(dir)
    splits = data.load(**layout, dir=dir, seed=config.seed, prepared_dir=section.prepared_dir, only=(name,))
    return layout["name"], splits[name]


def training(config: ConfigDict) -> Split:
    """Loads the split that the run was trained on; nothing is downloaded for it.

    Raises:
      UserError: it is not on this machine any more.
    """
    section = config.data
    return data.load(
        section.name,
        **experiment.data_options(config),
        prepared_dir=section.prepared_dir,
        allow_missing=section.allow_missing,
        only=("train",),
    )["train"]
