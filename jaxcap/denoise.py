"""Trains a denoiser: `python -m jaxcap.denoise --config experiments/denoiser.py`.

Running the same command again resumes where it stopped.
"""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ml_collections import ConfigDict

from jaxcap import devices, errors, flags, parallel
from jaxcap.allocation import keep_freed_memory
from jaxcap.denoising import build
from jaxcap.denoising.batches import NoisyPhotos, PhotoBatches
from jaxcap.denoising.build import DenoisingExperiment
from jaxcap.denoising.validation import (
    SCORES,
    Quality,
    Validation,
    compile_denoising,
    compile_measure_step,
    denoise_photos,
    score,
)
from jaxcap.evaluation.tables import align_columns
from jaxcap.experiment import workdir
from jaxcap.experiment.kinds import DENOISER
from jaxcap.figures.curves import write_curves
from jaxcap.figures.denoising import draw_denoised
from jaxcap.inputs.batches import read_photos
from jaxcap.inputs.noise import Noise
from jaxcap.io import files, locks, plain, records
from jaxcap.io.compiled import keep_compiled
from jaxcap.training import partition, starting, writers
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.history import METRICS, read_lines
from jaxcap.training.loop import Loop
from jaxcap.training.replicas import Replica
from jaxcap.training.train_step import TrainState

DESCRIPTION = """Train a denoiser of photos: a convolutional autoencoder that takes out Gaussian and
salt-and-pepper noise. The same command again resumes where it stopped. At the end PSNR and SSIM of
held-out photos are printed, with noise and without it again, and written to DIR/scores.json. A
captioner sees photos through it with --config.encoder.denoiser=DIR."""
EXAMPLE = """examples:
  %(prog)s --config denoiser --config.data.name=scenes --config.train.epochs=3
  %(prog)s --config denoiser --config.images.size=299 --workdir checkpoints/denoiser299

jaxcap/denoising/defaults.py explains every key, jaxcap/denoising/ranges.py says what each may be.
The first example needs no data; other data sets take theirs from --config.data.dir."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    config, folder = parse(argv)
    keep_freed_memory()
    keep_compiled()
    with locks.hold_folder(folder):
        build.check(config)
        resuming = workdir.check_config(folder, config, DENOISER)
        experiment = build.build_experiment(config, folder)
        if resuming:
            workdir.check_contents(folder, experiment.contents, DENOISER)
        print("\n".join(describe(experiment)), flush=True)
        with ThreadPoolExecutor(config.images.workers) as pool:
            return train(experiment, folder, resuming, pool)


def parse(argv: Sequence[str] | None) -> tuple[ConfigDict, Path]:
    """Reads the command line into the resolved config and the workdir."""
    return flags.read_experiment(DENOISER, DESCRIPTION, EXAMPLE, argv)


def describe(experiment: DenoisingExperiment) -> list[str]:
    """Returns the lines that a run begins with: photos, noise, model and devices."""
    lines = [f"{name}: {len(split):,} photos" for name, split in experiment.splits.items()]
    counts = partition.count_parameters(experiment.params, experiment.rates)
    size = experiment.config.images.size
    lines.append(f"noise: {Noise(**experiment.config.noise)}, on {size} x {size} pixels")
    lines.append(f"parameters: {counts['trained']:,} trained; devices: {devices.describe()}")
    return lines


def train(
    experiment: DenoisingExperiment, folder: Path, resuming: bool, pool: ThreadPoolExecutor
) -> int:
    """Trains, or trains on, and scores what came of it.

    Args:
      experiment: the run.
      folder: its workdir.
      resuming: the workdir holds the run already.
      pool: threads that decode photos.

    Returns:
      The exit code: 0, or 128 + the signal that stopped it.
    """
    config = experiment.config
    size = config.images.size
    batch_size = config.train.batch_size
    split = experiment.splits["train"]
    batches = PhotoBatches(
        inputs=read_photos(split, size=size, augment=None, pool=pool),
        photos=len(split),
        crop=config.images.crop,
        batch_size=batch_size,
        seed=config.seed,
    )
    noise = Noise(**config.noise)
    val = NoisyPhotos(experiment.splits["val"], size, noise, pool)
    phase = build.build_phase(experiment, len(batches))
    _write_workdir(experiment, folder, resuming)
    checkpoints = Checkpoints(folder / "checkpoints")
    beginning = starting.begin(experiment.params, experiment.rates, phase, checkpoints)
    metrics = folder / METRICS
    first_step = int(beginning.state.step)
    starting.drop_later_records(metrics, first_step)
    denoise = compile_denoising(experiment.model)
    total = len(batches) * phase.epochs
    with (
        writers.TensorBoard(folder / "tensorboard", first_step) as board,
        writers.Console(total, batch_size, None, first_step) as console,
    ):
        denoiser = Replica(
            name="",
            seed=config.seed,
            state=beginning.state,
            step=first_step,
            frozen=parallel.replicate(beginning.frozen),
            batches=batches,
            validate=Validation(compile_measure_step(experiment.model), val, batch_size),
            checkpoints=checkpoints,
            write=writers.all_of(writers.JsonLines(metrics), board, console),
            after_epoch=EpochSamples(folder, denoise, val, batch_size, config.show.photos, board),
            progress=beginning.progress,
        )
        loop = Loop(
            phases=[phase],
            replicas=[denoiser],
            photos=split.ids,
            checkpoint_every=config.train.checkpoint_every,
            write_every=config.show.tensorboard_every,
            advice=starting.advise(config.train),
        )
        signal = loop.run()
    unit = "mean squared error, white is 1"
    write_curves(read_lines(metrics), folder / "curves.png", unit=unit, decimals=5)
    if signal:
        return starting.report_stop(denoiser.step, signal)
    best, _ = checkpoints.restore_best(denoiser.state)
    checkpoints.close()
    test = experiment.splits.get("test")
    held_out = val if test is None else NoisyPhotos(test, size, noise, pool)
    quality = score(denoise, best.eval_params, held_out, batch_size)
    # Written last: with it, the denoiser is finished.
    files.write_atomically(
        folder / SCORES, plain.to_json(records.to_values(quality), indent=2) + "\n"
    )
    print("\n".join(format_quality(quality)))
    best_value = denoiser.progress.best_value
    print(
        f"best validation loss: {best_value:.5f} after epoch {denoiser.progress.best_epoch}; "
        f"everything is in {folder}",
        flush=True,
    )
    return 0


@dataclasses.dataclass(frozen=True)
class EpochSamples:
    """After each epoch: a picture of a few validation photos, noisy, denoised and clean."""

    folder: Path
    denoise: Callable
    photos: NoisyPhotos
    batch_size: int
    count: int
    board: writers.TensorBoard

    def __call__(self, epoch: int, state: TrainState) -> None:
        """Writes samples/epoch_NNN.png, and the same picture to TensorBoard."""
        count = min(self.count, len(self.photos.split))
        if not count:
            return
        denoised = denoise_photos(
            self.denoise, state.eval_params, self.photos, self.batch_size, count
        )
        png = files.encode_picture(draw_denoised(*zip(*denoised, strict=True)))
        files.write_atomically(self.folder / "samples" / f"epoch_{epoch:03}.png", png)
        self.board.image(int(state.step), "samples", png)


def format_quality(quality: Quality) -> list[str]:
    """Returns the table of what the photos are worth before and after, with its head."""
    head = f"{quality.images:,} held-out photos ({quality.split}), {Noise(**quality.noise)}"
    rows = [["", "noisy", "denoised", "gained"]]
    for name, title, digits in (("PSNR", "PSNR (dB)", 2), ("SSIM", "SSIM", 4)):
        row = [title]
        for which in rows[0][1:]:
            found = quality.scores[f"{which} {name}"]
            interval = f"{found.low:.{digits}f} to {found.high:.{digits}f}"
            row.append(f"{found.value:.{digits}f} ({interval})")
        rows.append(row)
    return [head, *align_columns(rows)]


def _write_workdir(experiment: DenoisingExperiment, folder: Path, resuming: bool) -> None:
    """Makes the workdir, or brings that of a resumed run up to date."""
    files.remove_unfinished(folder)
    files.remove_unfinished(folder / "samples")
    if not resuming:
        workdir.write_contents(folder, experiment.config, experiment.contents, DENOISER)
        return
    for change in workdir.update_config(folder, experiment.config, DENOISER):
        print(f"resuming with {change}", flush=True)


if __name__ == "__main__":
    errors.exit_with(main)
