"""The cells of a grid, arms by seeds: which trains for which, which are finished, what is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from jaxcap.ablation.record import Grid, State
from jaxcap.experiment import workdir
from jaxcap.io.digests import digest_json


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


def _is_ignored(key: str) -> bool:
    """Tells whether training does not read a key."""
    return key.startswith(("search.", "show."))
