"""The cells of a grid are trained and scored, one after the other."""

import contextlib
import dataclasses
import gc
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxcap import evaluate, train
from jaxcap.ablation.machine import describe_machine
from jaxcap.ablation.plan import Cell, estimate_seconds, is_finished, is_trained
from jaxcap.ablation.record import Scored, State, Training, read_state, write_state
from jaxcap.decoding.rules import make_rules
from jaxcap.decoding.strategy import make_strategy
from jaxcap.errors import UserError
from jaxcap.evaluation import evaluate as evaluation
from jaxcap.evaluation.tables import format_percent
from jaxcap.experiment import restore, workdir
from jaxcap.experiment.build import Experiment, build_replica
from jaxcap.experiment.check import check_replicas
from jaxcap.experiment.inputs import open_plain_inputs, open_training_inputs
from jaxcap.experiment.replicas import check_memory
from jaxcap.experiment.sharing import Shared
from jaxcap.io import locks
from jaxcap.io.progress import format_time
from jaxcap.text import one_line

_BATCH = 32  # photos that are captioned at a time
_LONGEST = 300  # letters of a failure's line


def run_cells(
    folder: Path, cells: Sequence[Cell], split: str, metric: str, *, together: bool
) -> int:
    """Runs the cells that are not finished; one that fails is named, and the rest goes on.

    Args:
      folder: of the grid, which the caller holds.
      cells: in their order.
      split: that is scored.
      metric: that is printed of each cell.
      together: an arm's seeds train side by side as one program, where they can.

    Returns:
      0, 2 where a cell failed, or 128 + the signal that stopped the grid.
    """
    runner = _Runner(folder, cells if together else (), split, metric)
    for number, cell in enumerate(cells, 1):
        title = f"cell {number} of {len(cells)}, {cell.arm} seed {cell.seed}"
        if is_finished(folder, runner.state, cell):
            print(f"{title}: finished before", flush=True)
            continue
        print(f"{title}: {_format_left(folder, runner.state, cells)}", flush=True)
        try:
            code = runner.run(cell, title)
        except Exception as error:
            runner.record_failure(cell, error)
            code = 0
        finally:
            # The next cell has other shapes, and what was compiled would fill the memory.
            jax.clear_caches()
            gc.collect()
        if code:
            return code
    return 2 if any(cell.name in runner.state.failed for cell in cells) else 0


class _Runner:
    """Trains and scores cells, and keeps the grid's state on disk up to date."""

    def __init__(self, folder: Path, together: Sequence[Cell], split: str, metric: str):
        self.folder = folder
        self._together = together  # those whose arms' seeds train side by side
        self.state = read_state(folder)
        self._split = split
        self._metric = metric
        self._shared = Shared()
        self._machine = describe_machine()
        self._broken: dict[str, str] = {}  # trainings that failed in this call

    def run(self, cell: Cell, title: str) -> int:
        """Trains and scores a cell; returns 128 + the signal that stopped it, or 0."""
        took = []
        if not is_trained(self.folder, self.state, cell.training):
            if cell.training in self._broken:
                raise UserError(f"its training failed: {self._broken[cell.training]}")
            code = self._train_group(self._find_group(cell))
            if code:
                return code
            seconds = self.state.trainings[cell.training].seconds
            took.append(f"trained in {format_time(seconds)}")
        start = time.monotonic()
        place, value = self._score(cell)
        scored = Scored(cell.training, place, time.monotonic() - start)
        self.state.scored[cell.name] = scored
        self.state.failed.pop(cell.name, None)
        write_state(self.folder, self.state)
        took.append(f"scored in {format_time(scored.seconds)}")
        print(f"{title}: {self._metric} {format_percent(value)}, {', '.join(took)}", flush=True)
        return 0

    def record_failure(self, cell: Cell, error: Exception) -> None:
        """Keeps and prints why a cell failed."""
        reason = _explain(error)
        if not is_trained(self.folder, self.state, cell.training):
            self._broken.setdefault(cell.training, reason)
        self.state.failed[cell.name] = reason
        write_state(self.folder, self.state)
        print(f"error: {cell.arm} seed {cell.seed}: {reason}", file=sys.stderr, flush=True)

    def _find_group(self, cell: Cell) -> list[Cell]:
        """Returns the cells to train with one: of its arm's other seeds, those not yet trained."""
        group = [cell]
        arm = Path(cell.training).parent
        for other in self._together:
            names = {one.training for one in group}
            if other.training in names or Path(other.training).parent != arm:
                continue
            broken = other.training in self._broken
            if not broken and not is_trained(self.folder, self.state, other.training):
                group.append(other)
        return group

    def _train_group(self, group: Sequence[Cell]) -> int:
        """Trains runs side by side, or the first one alone where they cannot."""
        if len(group) == 1:
            return self._train(group)
        arm = group[0].arm
        try:
            check_replicas(group[0].config, len(group))
            seeds = ", ".join(str(cell.seed) for cell in group)
            print(f"{arm}: seeds {seeds} train together", flush=True)
            return self._train(group)
        # Whatever it was, as too little memory for all: one alone may be trained yet.
        except Exception as error:
            reason = _explain(error)
        print(f"{arm}: its seeds train one by one, for {reason}", file=sys.stderr, flush=True)
        return self._train(group[:1])

    def _train(self, group: Sequence[Cell]) -> int:
        """Trains the runs of cells, or goes on with them; returns the exit code of training."""
        start = time.monotonic()
        with contextlib.ExitStack() as held:
            for cell in group:
                held.enter_context(locks.hold_folder(self.folder / cell.training))
            first = group[0]
            experiment, resuming = train.prepare(
                first.config, self.folder / first.training, self._shared
            )
            if len(group) > 1:
                experiment = dataclasses.replace(experiment, is_replica=True)
            check_memory(experiment, len(group))
            runs = [(experiment, resuming)]
            runs += [self._prepare_beside(experiment, cell) for cell in group[1:]]
            # Features are computed once for all cells, so their time is no cell's.
            open_training_inputs(experiment)
            open_plain_inputs(experiment, experiment.splits["val"])
            begun = time.monotonic()
            finished = False
            try:
                code = train.train_models(experiment, [one for one, _ in runs], runs)
                finished = code == 0
            finally:
                # Side by side, each costs its share.
                seconds = (time.monotonic() - begun) / len(group)
                preparing = (begun - start) / len(group)
                for cell in group:
                    self._record_training(cell, finished, seconds, preparing)
                write_state(self.folder, self.state)
        return code

    def _prepare_beside(self, experiment: Experiment, cell: Cell) -> tuple[Experiment, bool]:
        """Builds a run that differs from another in its seed, and tells whether it is there."""
        folder = self.folder / cell.training
        resuming = workdir.check_config(folder, cell.config)
        beside = build_replica(experiment, cell.config, folder)
        if resuming:
            workdir.check_contents(folder, beside.contents)
            begun = workdir.load_encoder(folder)
            for name in ("dtype", "encoder_dtype"):
                if begun[name] != experiment.encoder_info[name]:
                    raise UserError(
                        f"{folder} was begun with products in {begun[name]}, and another was not"
                    )
        return beside, resuming

    def _record_training(
        self, cell: Cell, finished: bool, seconds: float, preparing: float
    ) -> None:
        before = self.state.trainings.get(cell.training)
        seconds += before.seconds if before else 0.0
        self.state.trainings[cell.training] = Training(finished, seconds, preparing, self._machine)

    def _score(self, cell: Cell) -> tuple[str, float]:
        """Scores a cell; returns the folder of the evaluation, from the grid's, and the score."""
        run = restore.restore_best(self.folder / cell.training)
        # The arm that trained it may search in another way.
        run = dataclasses.replace(run, config=cell.config)
        scores = evaluation.evaluate(
            run,
            self._split,
            rules=make_rules(cell.config),
            strategy=make_strategy(cell.config.search),
            batch_size=_BATCH,
            shared=self._shared,
        )
        place = Path(cell.name) / "evaluation" / evaluate.name_folder(scores.result)
        evaluate.write_captions(self.folder / place, scores)
        photos = evaluate.choose_photos(scores)
        evaluate.write_scores(self.folder / place, scores.result, photos)
        return place.as_posix(), scores.result.scores[self._metric].value


def _explain(error: Exception) -> str:
    """Returns why something failed, in one line that is not long."""
    reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    reason = one_line(reason)
    return reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 3]}..."


def _format_left(folder: Path, state: State, cells: Sequence[Cell]) -> str:
    """Returns how many cells are left and about how long they take."""
    left = sum(not is_finished(folder, state, cell) for cell in cells)
    seconds = estimate_seconds(folder, state, cells)
    about = "" if seconds is None else f", about {format_time(seconds)}"
    return f"{left} left{about}"
