"""The cells of a grid, arms by seeds: each is trained and scored, one after the other."""

import dataclasses
import gc
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
from ml_collections import ConfigDict

from jaxcap import evaluate, train
from jaxcap.ablation.machine import describe_machine
from jaxcap.ablation.record import Grid, Scored, State, Training, read_state, write_state
from jaxcap.decoding.rules import make_rules
from jaxcap.decoding.strategy import make_strategy
from jaxcap.errors import UserError
from jaxcap.evaluation import evaluate as evaluation
from jaxcap.evaluation.tables import format_percent
from jaxcap.experiment import restore, workdir
from jaxcap.experiment.inputs import open_plain_inputs, open_training_inputs
from jaxcap.experiment.sharing import Shared
from jaxcap.io import locks
from jaxcap.io.digests import digest_json
from jaxcap.io.progress import format_time
from jaxcap.text import one_line

_BATCH = 32  # photos that are captioned at a time
_LONGEST = 300  # letters of a failure's line


@dataclass(frozen=True)
class Cell:
    """One arm with one seed.

    Attributes:
      arm: its name.
      seed: of the run.
      config: of the run, with the seed.
      training: the name of the cell in whose folder the run is trained: its own, or that of an
        earlier arm that trains in the same way and captions in another.
    """

    arm: str
    seed: int
    config: ConfigDict
    training: str

    @property
    def name(self) -> str:
        """ARM/seed_K, which is also its folder."""
        return name_cell(self.arm, self.seed)


def name_cell(arm: str, seed: int) -> str:
    """Returns ARM/seed_K."""
    return f"{arm}/seed_{seed}"


def list_cells(grid: Grid, arms: Mapping[str, ConfigDict], seeds: Sequence[int]) -> list[Cell]:
    """Returns the cells in the order in which they run: all arms of a seed, then the next seed.

    Args:
      grid: with all arms that were ever run, whose order decides which of two arms trains for both.
      arms: to be run, with their configs.
      seeds: to be run.
    """
    trainers: dict[str, str] = {}  # what training reads -> the first arm of it
    trained_by = {}
    for name, values in grid.arms.items():
        read = {key: value for key, value in values.items() if not _is_ignored(key)}
        trained_by[name] = trainers.setdefault(digest_json(read), name)
    cells = []
    for seed in seeds:
        for arm, config in arms.items():
            of_seed = ConfigDict(config).unlock()
            of_seed.seed = seed
            training = name_cell(trained_by[arm], seed)
            cells.append(Cell(arm, seed, of_seed.lock(), training))
    return cells


def run_cells(folder: Path, cells: Sequence[Cell], split: str, metric: str) -> int:
    """Runs the cells that are not finished; one that fails is named, and the rest goes on.

    Args:
      folder: of the grid, which the caller holds.
      cells: in their order.
      split: that is scored.
      metric: that is printed of each cell.

    Returns:
      0, 2 where a cell failed, or 128 + the signal that stopped the grid.
    """
    runner = _Runner(folder, split, metric)
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


def is_finished(folder: Path, state: State, cell: Cell) -> bool:
    """Tells whether the scores of a cell are there."""
    scored = state.scored.get(cell.name)
    return scored is not None and (folder / scored.evaluation / "scores.json").is_file()


def is_trained(folder: Path, state: State, training: str) -> bool:
    """Tells whether a training is finished and there."""
    known = state.trainings.get(training)
    return known is not None and known.finished and workdir.holds_run(folder / training)


def estimate_seconds(folder: Path, state: State, cells: Sequence[Cell]) -> float | None:
    """Estimates from finished cells how long the others take; None where that is not known.

    Features that no cell has computed yet are not counted.

    Args:
      folder: of the grid.
      state: what is finished.
      cells: the grid's; those that are finished count nothing.
    """
    left = [cell for cell in cells if not is_finished(folder, state, cell)]
    trainings = {cell.training for cell in left}
    trainings = {name for name in trainings if not is_trained(folder, state, name)}
    known = [training for training in state.trainings.values() if training.finished]
    scored = [cell.seconds for cell in state.scored.values()]
    if (trainings and not known) or (left and not scored):
        return None
    seconds = 0.0
    if trainings:
        steps = sum(training.seconds for training in known) / len(known)
        preparing = min(training.preparing for training in known)
        seconds += len(trainings) * (steps + preparing)
    if left:
        seconds += len(left) * sum(scored) / len(scored)
    return seconds


class _Runner:
    """Trains and scores cells, and keeps the grid's state on disk up to date."""

    def __init__(self, folder: Path, split: str, metric: str):
        self.folder = folder
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
            code = self._train(cell)
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
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        reason = one_line(reason)
        if len(reason) > _LONGEST:
            reason = f"{reason[: _LONGEST - 3]}..."
        if not is_trained(self.folder, self.state, cell.training):
            self._broken.setdefault(cell.training, reason)
        self.state.failed[cell.name] = reason
        write_state(self.folder, self.state)
        print(f"error: {cell.arm} seed {cell.seed}: {reason}", file=sys.stderr, flush=True)

    def _train(self, cell: Cell) -> int:
        """Trains a cell's run, or goes on with it; returns the exit code of training."""
        folder = self.folder / cell.training
        before = self.state.trainings.get(cell.training)
        seconds = before.seconds if before else 0.0
        start = time.monotonic()
        with locks.hold_folder(folder):
            experiment, resuming = train.prepare(cell.config, folder, self._shared)
            # Features are computed once for all cells, so their time is no cell's.
            open_training_inputs(experiment)
            open_plain_inputs(experiment, experiment.splits["val"])
            begun = time.monotonic()
            finished = False
            try:
                code = train.train(experiment, folder, resuming)
                finished = code == 0
            finally:
                seconds += time.monotonic() - begun
                self.state.trainings[cell.training] = Training(
                    finished, seconds, begun - start, self._machine
                )
                write_state(self.folder, self.state)
        return code

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


def _is_ignored(key: str) -> bool:
    """Tells whether training does not read a key."""
    return key.startswith(("search.", "show."))


def _format_left(folder: Path, state: State, cells: Sequence[Cell]) -> str:
    """Returns how many cells are left and about how long they take."""
    left = sum(not is_finished(folder, state, cell) for cell in cells)
    seconds = estimate_seconds(folder, state, cells)
    about = "" if seconds is None else f", about {format_time(seconds)}"
    return f"{left} left{about}"
