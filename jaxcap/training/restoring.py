"""The parameters of a trained run, from its checkpoints alone."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from flax.traverse_util import unflatten_dict

from jaxcap import parallel
from jaxcap.training.checkpoint import Checkpoints


class Best(NamedTuple):
    """The best checkpoint of a run.

    Attributes:
      params: all parameters, the moving average where the run kept one.
      step: of the checkpoint.
      progress: what was saved beside it, the fields of `TrainingProgress`.
    """

    params: Any
    step: int
    progress: Mapping[str, Any]


def restore_params(folder: Path) -> Best:
    """Restores the checkpoint of the best validation.

    The names of what was saved say where it belongs: neither the model nor its optimizer has to be
    traced for it.

    Args:
      folder: the workdir.

    Raises:
      UserError: the run has validated nothing yet, or it is damaged.
    """
    checkpoints = Checkpoints(folder / "checkpoints")
    step = checkpoints.find_best()
    with ThreadPoolExecutor(1) as pool:
        frozen = pool.submit(checkpoints.read_frozen)
        saved = checkpoints.read(step)
    trained = _take(saved.arrays, "ema.") or _take(saved.arrays, "params.")
    params = unflatten_dict({**trained, **frozen.result()}, sep=".")
    return Best(parallel.put(params), step, saved.progress)


def _take(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Returns the arrays whose names begin with a prefix, named without it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
