"""Trains a captioner: `python -m jaxcap.train --config experiments/NAME.py [--workdir DIR]
[--config.KEY=VALUE ...]`.

Running the same command again resumes where it stopped.
"""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap import decoding, errors, flags, parallel, scores
from jaxcap.decoding import captioning
from jaxcap.decoding.captions import check_scenes, sheet, write_captions
from jaxcap.experiment import build as experiment
from jaxcap.experiment import config as configs
from jaxcap.experiment import workdir
from jaxcap.experiment.build import Experiment
from jaxcap.experiment.catalog import find_experiment, list_experiments
from jaxcap.figures import curves
from jaxcap.inputs.batches import Inputs, TrainingBatches, evaluation_batches
from jaxcap.io import files, locks
from jaxcap.scores import cider
from jaxcap.text import one_line
from jaxcap.training import optim, self_critical, writers
from jaxcap.training import train_step as steps
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.loop import Loop, Progress, check_finite

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
        experiment.check(config)
        resuming = workdir.check_config(folder, config)
        kept = workdir.load_encoder(folder) if resuming else {}
        run = experiment.prepare(config, folder, kept.get("dtype"))
        if resuming:
            workdir.check_contents(folder, run.contents)
        print("\n".join(experiment.describe(run)), flush=True)
        return train(run, folder, resuming)


def parse(argv: Sequence[str] | None) -> tuple[ConfigDict, Path]:
    """Reads the command line into the resolved config and the workdir."""
    parser = flags.Parser("train", DESCRIPTION, EXAMPLE)
    parser.add_argument(
        "--config",
        type=_experiment,
        required=True,
        metavar="NAME",
        help=f"an experiment of jaxcap's ({', '.join(list_experiments())}) or the path of a file",
    )
    parser.add_argument(
        "--workdir",
        type=flags.path,
        metavar="DIR",
        help="where the run is kept (checkpoints/NAME)",
    )
    parser.add_argument(
        "--config.KEY",
        dest="override",
        metavar="VALUE",
        help="overrides a key of the experiment, as --config.train.epochs 3; of one key, the last counts",
    )
    # Overrides are taken out first: their names are the config's business, not the parser's.
    overrides, others = configs.split(sys.argv[1:] if argv is None else argv)
    options = parser.parse_args(others)
    config = configs.load(options.config, overrides)
    return config, options.workdir or Path("checkpoints") / options.config.stem


def _experiment(text: str) -> Path:
    """The `type` of --config: a name or a path."""
    flags.path(text)
    return find_experiment(text)


def train(run: Experiment, folder: Path, resuming: bool) -> int:
    """Trains (on), shows the result and returns the exit code: 0, or 128 + the signal that stopped
    it.
    """
    config = run.config
    inputs, views = experiment.training_inputs(run)
    val_inputs = experiment.plain_inputs(run, run.splits["val"])
    batches = TrainingBatches(
        inputs,
        run.captions["train"],
        views,
        config.train.batch_size,
        config.train.captions == "all",
        config.seed,
    )
    optimizer = optim.optimizer(config.train, len(batches), run.frozen)
    files.remove_unfinished(folder)
    files.remove_unfinished(folder / "samples")
    if resuming:
        for change in workdir.update_config(folder, config):
            print(f"resuming with {change}", flush=True)
    else:
        workdir.create(folder, config, run.vocabulary, run.facts, run.contents)
    checkpoints = Checkpoints(folder / "checkpoints")
    state, progress = latest(run, checkpoints, optimizer)
    metrics = folder / workdir.METRICS
    dropped = writers.truncate_after(metrics, int(state.step))
    if dropped:
        print(
            f"{dropped:,} records of {metrics} are of later steps: training makes them again",
            flush=True,
        )
    caption = parallel.compile_per_image(
        captioning.greedy(run.model, decoding.Rules(config.text.max_length))
    )
    own_epochs = experiment.self_critical_epochs(config, run.splits["val"])
    total = len(batches) * (config.train.epochs + own_epochs)
    with (
        writers.TensorBoard(folder / "tensorboard", int(state.step)) as board,
        writers.Console(
            total, config.train.batch_size, len(run.vocabulary), int(state.step)
        ) as console,
    ):
        loop = Loop(
            step=compile_step(run, optimizer),
            validate=compile_validation(run, val_inputs, caption),
            batches=batches,
            rate=optim.schedule(config.train, len(batches)),
            checkpoints=checkpoints,
            frozen=run.frozen,
            write=writers.all_of(writers.JsonLines(metrics), board, console),
            after_epoch=EpochSamples(run, folder, caption, val_inputs, board, console),
            photos=run.splits["train"].ids,
            train=config.train.to_dict()
            | {"select": experiment.selection(config, run.splits["val"])},
            seed=config.seed,
            write_every=config.show.tensorboard_every,
        )
        state, signal = loop.run(state, progress) if progress.turned is None else (state, 0)
        if own_epochs and not signal:
            loop, state = self_critical.turn(loop, run, checkpoints, state, progress)
            state, signal = loop.run(state, progress)
    curves.curves(writers.read_lines(metrics), folder / "curves.png")
    if signal:
        print(
            f"stopped after step {int(state.step):,}: the same command goes on from there",
            flush=True,
        )
        return 128 + signal
    finish(run, folder, checkpoints, state, progress, caption)
    checkpoints.close()
    return 0


def latest(
    run: Experiment, checkpoints: Checkpoints, optimizer: Any
) -> tuple[steps.TrainState, Progress]:
    """Returns the state and the progress of the newest checkpoint, or those of the start."""
    state = steps.create(run.params, optimizer, run.frozen, average=run.config.train.average > 0)
    restored = checkpoints.resume(state, run.frozen)
    if restored is None:
        return state, Progress()
    print(f"resuming after step {int(restored[0].step):,}", flush=True)
    return restored[0], Progress(**restored[1])


def compile_step(run: Experiment, optimizer: Any) -> Callable:
    """Compiles the training step for all devices."""
    step = functools.partial(
        steps.train_step,
        model=run.model,
        optimizer=optimizer,
        frozen=run.frozen,
        loss=run.config.loss,
        average=run.config.train.average,
    )
    return parallel.compile_train_step(step)


def compile_validation(
    run: Experiment, inputs: Inputs, caption: Callable
) -> Callable[[steps.TrainState], dict[str, float]]:
    """Returns the function from a state to the validation's numbers.

    They are the loss over all captions, in nats per word, and, where it selects the best epoch, the
    CIDEr-D of the captions that `caption` writes.
    """
    step = parallel.compile_eval_step(functools.partial(steps.eval_step, model=run.model))
    split, tokens = run.splits["val"], run.captions["val"].tokens
    batch_size = run.config.train.batch_size

    def validate(state: steps.TrainState) -> dict[str, float]:
        params = state.best_params
        sums = [
            step(params, batch)
            for batch in evaluation_batches(inputs, len(split), batch_size, tokens)
        ]
        for first, one in zip(range(0, len(split), batch_size), sums, strict=True):
            photos = split.ids[first : first + batch_size]
            check_finite(
                {"loss": float(one["nats"])},
                f"at the validation after step {int(state.step)}",
                photos,
            )
        loss = sum(float(s["nats"]) for s in sums) / max(sum(float(s["words"]) for s in sums), 1.0)
        if experiment.selection(run.config, split) == "loss":
            return {"loss": loss}
        written = write_captions(caption, params, inputs, len(split), batch_size, run.vocabulary)
        ours, theirs = scores.words_of(
            {id: " ".join(one.words) for id, one in zip(split.ids, written, strict=True)},
            dict(zip(split.ids, split.captions, strict=True)),
        )
        return {
            "loss": loss,
            "CIDEr-D": float(cider.from_statistics(cider.statistics(ours, theirs).sum(0))[0]),
        }

    return validate


@dataclasses.dataclass(frozen=True)
class EpochSamples:
    """After each epoch: a few validation photos captioned, printed beside a reference, and
    drawn.
    """

    run: Experiment
    folder: Path
    caption: Callable
    inputs: Inputs
    board: writers.TensorBoard
    console: writers.Console

    def __call__(self, epoch: int, state: steps.TrainState) -> None:
        """Writes samples/epoch_NNN.png, the same picture to TensorBoard, and a line a photo."""
        run, split = self.run, self.run.splits["val"]
        rows = min(run.config.show.captions, len(split))
        if not rows:
            return
        captions = write_captions(
            self.caption,
            state.best_params,
            self.inputs,
            rows,
            run.config.train.batch_size,
            run.vocabulary,
        )
        picture = sheet(split, captions, run.config.images.size)
        files.write_picture(self.folder / "samples" / f"epoch_{epoch:03}.png", picture)
        self.board.image(int(state.step), "samples", picture)
        for row, caption in enumerate(captions):
            reference = next(iter(split.captions[row]), "")
            line = f"{split.ids[row]}: {' '.join(caption.words)} [{reference}]"
            self.console.say(f"  {one_line(line)}")


def finish(
    run: Experiment,
    folder: Path,
    checkpoints: Checkpoints,
    state: steps.TrainState,
    progress: Progress,
    caption: Any,
) -> None:
    """Prints what came of the run; on scenes, whose objects are known, also how right the best
    captions are.
    """
    select = experiment.selection(run.config, run.splits["val"])
    if select == "loss":
        best = f"loss: {progress.best_cost:.4f} nats/word"
    else:
        best = f"{select}: {-100 * progress.best_cost:.1f}"
    print(
        f"best validation {best} after epoch {progress.best_epoch} (vocabulary "
        f"{len(run.vocabulary):,}); "
        f"everything is in {folder}",
        flush=True,
    )
    split = run.splits.get("test")
    if split is None or not len(split) or not split.objects(0):
        return
    best, _ = checkpoints.restore(checkpoints.best_step(), state, run.frozen)
    # The parameters that the run began with were given away with the first step.
    inputs = experiment.plain_inputs(dataclasses.replace(run, params=best.params), split)
    captions = write_captions(
        caption, best.best_params, inputs, len(split), run.config.train.batch_size, run.vocabulary
    )
    shown = captions[:8]
    for row, written in enumerate(shown):
        print(f"  {split.ids[row]}: {' '.join(written.words)}")
    files.write_picture(folder / "scenes.png", sheet(split, shown, run.config.images.size))
    check = check_scenes(split, captions)
    looked = (
        f", attention on the named object {check.gain:.1f} times chance"
        if not math.isnan(check.gain)
        else ""
    )
    print(
        f"{len(split)} held-out scenes: {check.right} of {check.total} objects named with the "
        "right shape and colour "
        f"({check.right / check.total:.1%}){looked} (drawn in {folder / 'scenes.png'})",
        flush=True,
    )


if __name__ == "__main__":
    errors.exit_with(main)
