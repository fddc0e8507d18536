"""Trains a captioner: `python -m jaxcap.train --config experiments/NAME.py`.

Running the same command again resumes where it stopped.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap import errors, flags
from jaxcap.decoding.captions import Caption, write_captions
from jaxcap.decoding.rules import make_plain_rules
from jaxcap.decoding.strategy import GREEDY
from jaxcap.evaluation.scenes import check_scenes
from jaxcap.experiment import build, workdir
from jaxcap.experiment.build import Experiment
from jaxcap.experiment.check import check
from jaxcap.experiment.inputs import open_plain_inputs, open_training_inputs
from jaxcap.experiment.kinds import CAPTIONER
from jaxcap.experiment.phases import build_phases, count_averaged_positions, count_epochs
from jaxcap.experiment.restore import compile_search
from jaxcap.figures.curves import write_curves
from jaxcap.figures.samples import draw_samples
from jaxcap.inputs.batches import Inputs, TrainingBatches
from jaxcap.io import files, locks
from jaxcap.text import one_line
from jaxcap.training import starting, writers
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.history import METRICS, read_lines
from jaxcap.training.loop import Loop, TrainingProgress
from jaxcap.training.partition import combine
from jaxcap.training.train_step import TrainState
from jaxcap.training.validation import Validation, compile_eval_step

DESCRIPTION = "Train an image captioner. The same command again resumes where it stopped."
EXAMPLE = """examples:
  %(prog)s --config quickstart
  %(prog)s --config quickstart --workdir checkpoints/short --config.train.epochs=3

jaxcap/experiment/defaults.py explains every key, jaxcap/experiment/ranges.py says what each may
be. The first example needs no data; flickr8k and the others take theirs from --config.data.dir."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    config, folder = parse(argv)
    with locks.hold_folder(folder):
        check(config)
        resuming = workdir.check_config(folder, config)
        dtype = workdir.load_encoder(folder)["dtype"] if resuming else None
        experiment = build.build_experiment(config, folder, dtype)
        if resuming:
            workdir.check_contents(folder, experiment.contents)
        print("\n".join(build.describe(experiment)), flush=True)
        return train(experiment, folder, resuming)


def parse(argv: Sequence[str] | None) -> tuple[ConfigDict, Path]:
    """Reads the command line into the resolved config and the workdir."""
    return flags.read_experiment(CAPTIONER, DESCRIPTION, EXAMPLE, argv)


def train(experiment: Experiment, folder: Path, resuming: bool) -> int:
    """Trains, or trains on, and shows what came of it.

    Args:
      experiment: the run.
      folder: its workdir.
      resuming: the workdir holds the run already.

    Returns:
      The exit code: 0, or 128 + the signal that stopped it.
    """
    config = experiment.config
    inputs, views = open_training_inputs(experiment)
    val_inputs = open_plain_inputs(experiment, experiment.splits["val"])
    batches = TrainingBatches(
        inputs=inputs,
        captions=experiment.captions["train"],
        views=views,
        batch_size=config.train.batch_size,
        choice=config.train.captions,
        seed=config.seed,
    )
    phases = build_phases(experiment, len(batches))
    _write_workdir(experiment, folder, resuming)
    checkpoints = Checkpoints(folder / "checkpoints")
    state, frozen, progress = starting.begin(
        experiment.params, experiment.rates, phases[0], checkpoints
    )
    metrics = folder / METRICS
    starting.drop_later_records(metrics, int(state.step))
    search = compile_search(experiment, make_plain_rules(config.text), GREEDY)
    first_step = int(state.step)
    total = len(batches) * count_epochs(phases)
    with (
        writers.TensorBoard(folder / "tensorboard", first_step) as board,
        writers.Console(
            total,
            config.train.batch_size,
            len(experiment.vocabulary),
            first_step,
            average=config.loss.average,
        ) as console,
    ):
        loop = Loop(
            phases=phases,
            frozen=frozen,
            batches=batches,
            photos=experiment.splits["train"].ids,
            validate=Validation(
                measure=compile_eval_step(experiment.model, count_averaged_positions(config)),
                search=search,
                frozen=frozen,
                inputs=val_inputs,
                split=experiment.splits["val"],
                captions=experiment.captions["val"],
                choice=config.train.val_captions,
                seed=config.seed,
                batch_size=config.train.batch_size,
                vocabulary=experiment.vocabulary,
                select=phases[0].select,
            ),
            checkpoints=checkpoints,
            write=writers.all_of(writers.JsonLines(metrics), board, console),
            after_epoch=EpochSamples(
                experiment, folder, search, frozen, val_inputs, board, console
            ),
            checkpoint_every=config.train.checkpoint_every,
            write_every=config.show.tensorboard_every,
            advice=starting.advise(config.train),
        )
        state, signal = loop.run(state, progress)
    write_curves(read_lines(metrics), folder / "curves.png")
    if signal:
        return starting.report_stop(state, signal)
    _print_best(experiment, folder, phases[0].select, progress)
    _check_scenes(experiment, folder, checkpoints, state, frozen, search)
    checkpoints.close()
    return 0


@dataclasses.dataclass(frozen=True)
class EpochSamples:
    """After each epoch: captions of a few validation photos, printed and drawn."""

    experiment: Experiment
    folder: Path
    search: Callable
    frozen: Any
    inputs: Inputs
    board: writers.TensorBoard
    console: writers.Console

    def __call__(self, epoch: int, state: TrainState) -> None:
        """Writes samples/epoch_NNN.png, the same picture to TensorBoard, and a line a photo."""
        config = self.experiment.config
        split = self.experiment.splits["val"]
        images = min(config.show.captions, len(split))
        if not images:
            return
        params = combine(state.eval_params, self.frozen)
        captions = _caption(self.experiment, self.search, params, self.inputs, images)
        picture = draw_samples(split, captions, config.images.size, self.experiment.grid)
        files.write_picture(self.folder / "samples" / f"epoch_{epoch:03}.png", picture)
        self.board.image(int(state.step), "samples", picture)
        for row, caption in enumerate(captions):
            reference = next(iter(split.captions[row]), "")
            line = f"{split.ids[row]}: {' '.join(caption.words)} [{reference}]"
            self.console.say(f"  {one_line(line)}")


def _write_workdir(experiment: Experiment, folder: Path, resuming: bool) -> None:
    """Makes the workdir, or brings that of a resumed run up to date."""
    files.remove_unfinished(folder)
    files.remove_unfinished(folder / "samples")
    if not resuming:
        workdir.create(
            folder,
            experiment.config,
            experiment.vocabulary,
            experiment.encoder_info,
            experiment.contents,
        )
        return
    for change in workdir.update_config(folder, experiment.config):
        print(f"resuming with {change}", flush=True)


def _caption(
    experiment: Experiment, search: Callable, params: Any, inputs: Inputs, images: int
) -> list[Caption]:
    batch_size = experiment.config.train.batch_size
    written = write_captions(search, params, inputs, images, batch_size, experiment.vocabulary)
    return list(written)


def _print_best(
    experiment: Experiment, folder: Path, select: str, progress: TrainingProgress
) -> None:
    assert progress.best_value is not None
    if select == "loss":
        unit = "word" if experiment.config.loss.average == "words" else "position"
        best = f"loss: {progress.best_value:.4f} nats/{unit}"
    else:
        best = f"{select}: {-100 * progress.best_value:.1f}"
    print(
        f"best validation {best} after epoch {progress.best_epoch} "
        f"(vocabulary {len(experiment.vocabulary):,}); everything is in {folder}",
        flush=True,
    )


def _check_scenes(
    experiment: Experiment,
    folder: Path,
    checkpoints: Checkpoints,
    state: TrainState,
    frozen: Any,
    search: Callable,
) -> None:
    """On scenes, whose objects are known: prints how right the best captions of the test are."""
    split = experiment.splits.get("test")
    if split is None or not len(split) or not split.objects(0):
        return
    best, _ = checkpoints.restore_best(state)
    params = combine(best.eval_params, frozen)
    inputs = open_plain_inputs(experiment, split)
    captions = _caption(experiment, search, params, inputs, len(split))
    shown = captions[:8]
    for row, caption in enumerate(shown):
        print(f"  {split.ids[row]}: {' '.join(caption.words)}")
    picture = draw_samples(split, shown, experiment.config.images.size, experiment.grid)
    files.write_picture(folder / "scenes.png", picture)
    result = check_scenes(split, captions, experiment.grid)
    attended = ""
    if not math.isnan(result.gain):
        attended = f", attention on the named object {result.gain:.1f} times chance"
    print(
        f"{len(split)} held-out scenes: {result.right} of {result.total} objects named with the "
        f"right shape and colour ({result.right / result.total:.1%}){attended} (drawn in "
        f"{folder / 'scenes.png'})",
        flush=True,
    )


if __name__ == "__main__":
    errors.exit_with(main)
