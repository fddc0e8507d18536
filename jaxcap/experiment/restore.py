"""Restores a trained run from its workdir, without training data or imported weights."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flax.errors import FlaxError

from jaxcap import devices, parallel
from jaxcap.decoding import captioning
from jaxcap.decoding.rules import Rules
from jaxcap.decoding.strategy import GREEDY, Sampling, Strategy
from jaxcap.denoising.restore import TrainedDenoiser, restore_denoiser
from jaxcap.errors import UserError
from jaxcap.experiment import build, ranges, stages, workdir
from jaxcap.experiment.denoisers import describe_denoised
from jaxcap.experiment.run import Run
from jaxcap.memoize import memoize
from jaxcap.training.restoring import restore_params


@dataclass(frozen=True)
class TrainedRun(Run):
    """A run at its best checkpoint; `params` are the moving average where the run kept one.

    Attributes:
      folder: the workdir.
      step: of the best checkpoint.
      epoch: after which it was saved.
      members: the runs of an ensemble, whose folder, step and epoch above are the first one's;
        empty for a single run.
    """

    folder: Path
    step: int
    epoch: int
    members: tuple["TrainedRun", ...] = ()

    @property
    def singles(self) -> tuple["TrainedRun", ...]:
        """The runs that it is made of: its members or, for a single run, itself."""
        return self.members or (self,)


def restore_best(folder: Path) -> TrainedRun:
    """Restores the checkpoint of the best validation.

    Raises:
      UserError: there is no run in `folder`, it has validated nothing yet, or it is damaged.
    """
    config = workdir.load_config(folder)
    vocabulary = workdir.load_vocabulary(folder)
    encoder_info = workdir.load_encoder(folder)
    model = build.build_model(config, vocabulary, encoder_info)
    best = restore_params(folder)
    if best.params.keys() != {"encoder", "decoder"}:
        raise UserError(_describe_mismatch(folder))
    return TrainedRun(
        folder=folder,
        config=config,
        vocabulary=vocabulary,
        encoder_info=encoder_info,
        model=model,
        params=best.params,
        rates=stages.assign_rates(config, best.params),
        step=best.step,
        epoch=best.progress["best_epoch"],
    )


@contextlib.contextmanager
def explain_mismatch(run: TrainedRun) -> Iterator[None]:
    """Names the run whose parameters do not fit its model, as after its config was changed."""
    try:
        yield
    except FlaxError as error:
        raise UserError(_describe_mismatch(run.folder)) from error


def _describe_mismatch(folder: Path) -> str:
    return f"the checkpoint in {folder} is damaged, or of another model than its config.json tells"


def choose_denoiser(run: TrainedRun, wanted: Path | str | None) -> TrainedRun:
    """Returns the run with the denoiser that --denoiser asks for.

    Args:
      run: as it was trained.
      wanted: the denoiser's workdir; `ranges.NO_DENOISER` for none, and None for the run's own.

    Raises:
      UserError: the denoiser is missing, unfinished, damaged, or of photos of another size.
    """
    if wanted is None:
        return run
    if isinstance(wanted, str):
        assert wanted == ranges.NO_DENOISER
        return replace_denoiser(run, None)
    return replace_denoiser(run, restore_denoiser(wanted, run.config.images.size))


def replace_denoiser(run: TrainedRun, denoiser: TrainedDenoiser | None) -> TrainedRun:
    """Returns the run with another denoiser before its encoder, or with none."""
    encoder_info = describe_denoised(run.encoder_info, denoiser)
    encoder = {"backbone": run.params["encoder"]["backbone"]}
    if denoiser is not None:
        encoder["denoiser"] = denoiser.params
    params = {**run.params, "encoder": encoder}
    return dataclasses.replace(
        run,
        encoder_info=encoder_info,
        model=build.build_model(run.config, run.vocabulary, encoder_info),
        params=params,
        rates=stages.assign_rates(run.config, params),
    )


def compile_search(
    run: Run, rules: Rules, strategy: Strategy, slots: int | None = None
) -> Callable:
    """Compiles, for all devices, (params, batch) -> `Hypotheses`.

    Args:
      run: whose captioner writes.
      rules: of the captions.
      strategy: how they are written; samples want batches as `captioning.build_sampling` does.
      slots: images over all devices that beam search has in hand at a time (see
        `decoding.beam_search`); None: all of a batch.
    """
    of_device = slots and -(-slots // devices.device_count())
    return _compile_search(run.model, rules, strategy, of_device)


@memoize
def _compile_search(
    model: captioning.Model, rules: Rules, strategy: Strategy, slots: int | None
) -> Callable:
    """Compiles, as `compile_search`, with `slots` of one device."""
    if isinstance(strategy, Sampling):
        search = captioning.build_sampling(model, rules, strategy)
    elif strategy == GREEDY:
        search = captioning.build_greedy(model, rules)
    else:
        search = captioning.build_beam(model, rules, strategy.beam, slots)
    return parallel.compile_per_image(search)
