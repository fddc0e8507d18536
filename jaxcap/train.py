"""Trains a captioner: `python -m jaxcap.train --config experiments/NAME.py`.

Running the same command again resumes where it stopped.
"""

import contextlib
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from jaxcap import errors, flags, process_flags, processes
from jaxcap.allocation import keep_freed_memory
from jaxcap.checks.around_training import check_after_training, check_before_training
from jaxcap.decoding.rules import make_plain_rules
from jaxcap.decoding.strategy import GREEDY
from jaxcap.evaluation.samples import EpochSamples, report_scenes
from jaxcap.experiment import build, workdir
from jaxcap.experiment.build import Experiment
from jaxcap.experiment.check import check
from jaxcap.experiment.inputs import open_plain_inputs, open_training_inputs
from jaxcap.experiment.kinds import CAPTIONER
from jaxcap.experiment.phases import build_phases, count_averaged_positions, count_epochs
from jaxcap.experiment.replicas import build_replicas, check_memory, choose_order_seed
from jaxcap.experiment.resident import keep_inputs, keep_training
from jaxcap.experiment.restore import compile_search
from jaxcap.experiment.sharing import Shared
from jaxcap.experiment.together import check_together
from jaxcap.figures.curves import write_curves
from jaxcap.inputs.batches import Inputs, TrainingBatches
from jaxcap.io import files, locks
from jaxcap.io.compiled import keep_compiled
from jaxcap.training import starting, writers
from jaxcap.training.history import METRICS, read_lines
from jaxcap.training.loop import Loop
from jaxcap.training.partition import combine
from jaxcap.training.phases import Phase
from jaxcap.training.replicas import Replica
from jaxcap.training.shared_checkpoints import open_checkpoints
from jaxcap.training.stacking import share_frozen
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
    keep_freed_memory()
    keep_compiled()
    with (
        processes.join(process_flags.read_processes(argv)),
        processes.hold_once(lambda: locks.hold_folder(folder)),
    ):
        with processes.fail_together():
            experiment, resuming = prepare(config, folder)
        check_together(experiment, folder)
        return train(experiment, folder, resuming)


def parse(argv: Sequence[str] | None) -> tuple[ConfigDict, Path]:
    """Reads the command line into the resolved config and the workdir."""
    return flags.read_experiment(CAPTIONER, DESCRIPTION, EXAMPLE, argv, process_flags.add_processes)


class _Common(NamedTuple):
    """What the replicas of a run have in common."""

    make_batches: Callable[..., TrainingBatches]
    val_inputs: Inputs
    select: str  # by what the best epoch is chosen
    search: Callable
    measure: Callable
    console: writers.Console


def prepare(
    config: ConfigDict, folder: Path, shared: Shared | None = None
) -> tuple[Experiment, bool]:
    """Builds the run that a workdir begins with or goes on with, and prints what it is.

    Args:
      config: resolved.
      folder: the workdir, which the caller holds.
      shared: with other runs of this process; None: with none.

    Returns:
      The run, and whether the workdir holds it already.

    Raises:
      UserError: the run cannot be, or the workdir holds another.
    """
    check(config)
    resuming = workdir.check_config(folder, config)
    begun = workdir.load_encoder(folder) if resuming else None
    experiment = build.build_experiment(config, folder, begun, shared)
    if resuming:
        workdir.check_contents(folder, experiment.contents)
    print("\n".join(build.describe(experiment)), flush=True)
    check_before_training(experiment)
    return experiment, resuming


def train(experiment: Experiment, folder: Path, resuming: bool) -> int:
    """Trains, or trains on, and shows what came of it.

    Args:
      experiment: the run, of one model or of several replicas.
      folder: its workdir.
      resuming: the workdir holds the run already.

    Returns:
      As `train_models`.
    """
    check_memory(experiment, experiment.config.train.replicas)
    experiments = build_replicas(experiment, folder)
    replicas = [one for one in experiments if one is not experiment]
    # The run's own workdir comes last: where it exists, all of them do.
    runs = [(one, resuming) for one in (*replicas, experiment)]
    return train_models(experiment, experiments, runs)


def train_models(
    experiment: Experiment,
    experiments: Sequence[Experiment],
    runs: Sequence[tuple[Experiment, bool]],
) -> int:
    """Trains models that differ in their seeds alone side by side, and shows what came of them.

    Args:
      experiment: what they have in common.
      experiments: the models, each with its workdir.
      runs: whose workdirs are made, in this order, and whether each is there already.

    Returns:
      The exit code: 0, 2 where doctor=error finds a fault in the result, or 128 + the signal that
      stopped it.
    """
    config = experiment.config
    inputs, views = open_training_inputs(experiment)
    val_inputs = open_plain_inputs(experiment, experiment.splits["val"])
    make_batches = functools.partial(
        TrainingBatches,
        inputs=inputs,
        captions=experiment.captions["train"],
        views=views,
        batch_size=config.train.batch_size,
        choice=config.train.captions,
    )
    steps_per_epoch = len(make_batches(seed=config.seed))
    resident = keep_training(config, inputs, experiment.captions["train"])
    if resident is not None:
        val_inputs = keep_inputs(val_inputs)
        print(f"features and captions are on the devices: {resident.span} steps a call", flush=True)
    phases = build_phases(experiment, steps_per_epoch, resident)
    for one, resuming in runs:
        changes = processes.tell(functools.partial(_write_workdir, one, resuming))
        if one is experiment:
            for change in changes:
                print(f"resuming with {change}", flush=True)
    beginnings = _begin(experiments, phases[0])
    first_step = min(int(beginning.state.step) for beginning in beginnings)
    search = compile_search(experiment, make_plain_rules(config.text), GREEDY)
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(
            writers.Console(
                steps_per_epoch * count_epochs(phases),
                config.train.batch_size,
                len(experiment.vocabulary),
                first_step,
                average=config.loss.average,
            )
        )
        common = _Common(
            make_batches,
            val_inputs,
            phases[0].select,
            search,
            compile_eval_step(experiment.model, count_averaged_positions(config)),
            console,
        )
        replicas = _make_replicas(experiments, beginnings, common, stack)
        loop = Loop(
            phases=phases,
            replicas=replicas,
            photos=experiment.splits["train"].ids,
            checkpoint_every=config.train.checkpoint_every,
            write_every=config.show.tensorboard_every,
            advice=starting.advise(config.train),
        )
        signal = loop.run()
    for one in experiments:
        assert one.folder is not None
        if processes.is_first():
            write_curves(read_lines(one.folder / METRICS), one.folder / "curves.png")
    if signal:
        return starting.report_stop(min(replica.step for replica in replicas), signal)
    code = 0
    for one, replica in zip(experiments, replicas, strict=True):
        _print_best(one, phases[0].select, replica)
        best, _ = replica.checkpoints.restore_best(replica.state)
        params = combine(best.eval_params, replica.frozen)
        report_scenes(one, search, params)
        found = check_after_training(
            one, replica.checkpoints, params, replica.frozen, search, val_inputs
        )
        code = max(code, found)
        replica.checkpoints.close()
    return code


def _begin(experiments: Sequence[Experiment], phase: Phase) -> list[starting.Beginning]:
    """Returns what each replica goes on from, with what all share of the frozen parameters once."""
    beginnings = []
    for one in experiments:
        assert one.folder is not None
        # Drawn on different machines, they may differ in their last bits.
        params = processes.broadcast(one.params)
        checkpoints = open_checkpoints(one.folder / "checkpoints")
        beginning = starting.begin(params, one.rates, phase, checkpoints, _name(one))
        if processes.is_first():
            starting.drop_later_records(one.folder / METRICS, int(beginning.state.step))
        beginnings.append(beginning)
    frozen = share_frozen([beginning.frozen for beginning in beginnings])
    return [
        beginning._replace(frozen=of_one)
        for beginning, of_one in zip(beginnings, frozen, strict=True)
    ]


def _make_replicas(
    experiments: Sequence[Experiment],
    beginnings: Sequence[starting.Beginning],
    common: _Common,
    stack: contextlib.ExitStack,
) -> list[Replica]:
    """Returns what the loop trains; `stack` closes their files."""
    orders: dict[int, TrainingBatches] = {}
    replicas = []
    for one, beginning in zip(experiments, beginnings, strict=True):
        config = one.config
        order = choose_order_seed(config)
        if order not in orders:
            orders[order] = common.make_batches(seed=order)
        assert one.folder is not None
        step = int(beginning.state.step)
        name = _name(one)
        board = None
        write = writers.all_of()
        if processes.is_first():
            board = stack.enter_context(writers.TensorBoard(one.folder / "tensorboard", step))
            lines = writers.JsonLines(one.folder / METRICS)
            write = writers.all_of(lines, board, common.console.name(name))
        validate = Validation(
            measure=common.measure,
            search=common.search,
            frozen=beginning.frozen,
            inputs=common.val_inputs,
            split=one.splits["val"],
            captions=one.captions["val"],
            choice=config.train.val_captions,
            seed=config.seed,
            batch_size=config.train.batch_size,
            vocabulary=one.vocabulary,
            select=common.select,
        )
        replicas.append(
            Replica(
                name=name,
                seed=config.seed,
                state=beginning.state,
                step=step,
                frozen=beginning.frozen,
                batches=orders[order],
                validate=validate,
                checkpoints=beginning.checkpoints,
                write=write,
                after_epoch=EpochSamples(
                    one,
                    common.search,
                    beginning.frozen,
                    common.val_inputs,
                    board,
                    common.console,
                    name,
                ),
                progress=beginning.progress,
            )
        )
    return replicas


def _name(experiment: Experiment) -> str:
    """Names a replica by its seed; nothing for a run of one model."""
    return f"seed {experiment.config.seed}" if experiment.is_replica else ""


def _write_workdir(experiment: Experiment, resuming: bool) -> list[str]:
    """Makes a run's workdir, or brings that of a resumed run up to date.

    Returns:
      A line for each key that has changed since.
    """
    folder = experiment.folder
    assert folder is not None
    files.remove_unfinished(folder)
    files.remove_unfinished(folder / "samples")
    if resuming:
        return workdir.update_config(folder, experiment.config)
    workdir.create(
        folder,
        experiment.config,
        experiment.vocabulary,
        experiment.encoder_info,
        experiment.contents,
        experiment.coverage,
    )
    return []


def _print_best(experiment: Experiment, select: str, replica: Replica) -> None:
    progress = replica.progress
    assert progress.best_value is not None
    if select == "loss":
        unit = "word" if experiment.config.loss.average == "words" else "position"
        best = f"loss: {progress.best_value:.4f} nats/{unit}"
    else:
        best = f"{select}: {-100 * progress.best_value:.1f}"
    before = f"{replica.name}: " if replica.name else ""
    print(
        f"{before}best validation {best} after epoch {progress.best_epoch} "
        f"(vocabulary {len(experiment.vocabulary):,}); everything is in {experiment.folder}",
        flush=True,
    )


if __name__ == "__main__":
    errors.exit_with(main)
