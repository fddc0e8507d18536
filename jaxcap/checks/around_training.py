"""The checks before and after a training, as the key `doctor` of its config wants them."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

from jaxcap.checks import outcome
from jaxcap.checks.arithmetic import check_arithmetic_once
from jaxcap.checks.captioned import check_captions
from jaxcap.checks.finding import Finding
from jaxcap.checks.setup import check_setup
from jaxcap.errors import UserError
from jaxcap.experiment.build import Experiment
from jaxcap.inputs.batches import Inputs
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.history import METRICS, read_lines


def check_before_training(experiment: Experiment) -> None:
    """Checks the set-up and the arithmetic, and says what is wrong.

    Raises:
      UserError: doctor=error, and something is; all of it is named in one line.
    """
    if experiment.config.doctor == "off":
        return
    of_machine = check_arithmetic_once()
    of_setup = check_setup(experiment)
    findings = [*of_machine, *of_setup]
    if findings and experiment.config.doctor == "error":
        raise UserError(
            f"{'; '.join(map(str, findings))} (--config.doctor=warn trains all the same)"
        )
    _warn_once(of_machine)
    _warn(of_setup)


def check_after_training(
    experiment: Experiment,
    checkpoints: Checkpoints,
    params: Any,
    frozen: Any,
    search: Callable,
    inputs: Inputs,
) -> int:
    """Checks what came of a training that is over, and says what is wrong.

    Args:
      experiment: the run.
      checkpoints: of the run.
      params: all parameters of the best epoch.
      frozen: those that were not trained.
      search: compiled greedy search.
      inputs: of the validation split.

    Returns:
      The exit code: 2 where something is wrong and doctor=error, else 0.
    """
    config = experiment.config
    if config.doctor == "off":
        return 0
    assert experiment.folder is not None
    splits = experiment.splits
    found = [
        outcome.check_history(read_lines(experiment.folder / METRICS), config.train.select),
        outcome.check_frozen(checkpoints.restore_frozen(frozen), frozen),
        *check_captions(experiment, search, params, inputs, splits["val"], splits["train"]),
    ]
    findings = [finding for finding in found if finding is not None]
    _warn(findings)
    return 2 if findings and config.doctor == "error" else 0


@functools.cache
def _warn_once(findings: tuple[Finding, ...]) -> None:
    """Says what concerns all trainings of a process, as those of an ablation, at the first."""
    _warn(findings)


def _warn(findings: Sequence[Finding]) -> None:
    for finding in findings:
        print(finding, file=sys.stderr, flush=True)
