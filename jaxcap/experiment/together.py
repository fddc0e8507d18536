"""What several processes must have in common to train one run."""

from pathlib import Path

import jax

import jaxcap
from jaxcap import devices, processes
from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import contents
from jaxcap.experiment.build import Experiment
from jaxcap.io.digests import digest_bytes, digest_set
from jaxcap.io.locks import FOLDER_LOCK


def check_together(experiment: Experiment, folder: Path) -> None:
    """Makes sure that all processes train the same run, and see one workdir.

    Args:
      experiment: the run, as this process has built it.
      folder: the workdir, which the first process holds.

    Raises:
      UserError: in all processes; one that differs is named.
    """
    if processes.count() == 1:
        return
    facts = {
        "version of jaxcap": jaxcap.__version__,
        "digest of jaxcap's code": _digest_code(),
        "version of jax": jax.__version__,
        "number of devices": str(devices.local_device_count()),
    }
    for key, value in configs.flatten(experiment.config).items():
        facts[f"--config.{key}"] = str(value)
    for name, value in experiment.encoder_info.items():
        facts[f"{name} of the encoder"] = str(value)
    facts["digest of data and weights"] = digest_bytes(
        contents.to_json(experiment.contents).encode()
    )
    processes.check_same(facts)
    _check_folder(folder)


def _digest_code() -> str:
    package = Path(jaxcap.__file__).parent
    return digest_set(digest_bytes(file.read_bytes()) for file in package.rglob("*.py"))


def _check_folder(folder: Path) -> None:
    """Makes sure that all processes see the lock that the first one has put into the workdir."""
    lock = folder / FOLDER_LOCK
    held = processes.tell(lambda: lock.read_text(encoding="utf-8"))
    with processes.fail_together():
        if not lock.exists() or lock.read_text(encoding="utf-8") != held:
            raise UserError(
                f"{folder} is not the folder that the first process works in: all processes need "
                "one --workdir, on a disk that they share"
            )
