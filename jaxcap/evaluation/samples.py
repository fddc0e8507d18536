"""What a captioner writes while it trains: samples after each epoch, held-out scenes at the end."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from jaxcap import processes
from jaxcap.decoding.captions import Caption, write_captions
from jaxcap.evaluation.scenes import check_scenes
from jaxcap.experiment.build import Experiment
from jaxcap.experiment.inputs import open_plain_inputs
from jaxcap.figures.samples import draw_samples
from jaxcap.inputs.batches import Inputs
from jaxcap.io import files
from jaxcap.text import one_line
from jaxcap.training import writers
from jaxcap.training.partition import combine
from jaxcap.training.train_step import TrainState


@dataclasses.dataclass(frozen=True)
class EpochSamples:
    """After each epoch: captions of a few validation photos, printed and drawn.

    Attributes:
      experiment: the run.
      search: compiled (params, batch) -> hypotheses.
      frozen: parameters that are not trained.
      inputs: of the validation split, in the plain view.
      board: takes the picture; None in a process that writes nothing.
      console: takes the lines.
      name: of a replica, which its lines begin with.
    """

    experiment: Experiment
    search: Callable
    frozen: Any
    inputs: Inputs
    board: writers.TensorBoard | None
    console: writers.Console
    name: str = ""

    def __call__(self, epoch: int, state: TrainState) -> None:
        """Writes samples/epoch_NNN.png, the same picture to TensorBoard, and a line a photo."""
        experiment = self.experiment
        config = experiment.config
        split = experiment.splits["val"]
        images = min(config.show.captions, len(split))
        if not images:
            return
        params = combine(state.eval_params, self.frozen)
        captions = _caption(experiment, self.search, params, self.inputs, images)
        if self.board is None:
            return
        picture = draw_samples(split, captions, config.images.size, experiment.grid)
        png = files.encode_picture(picture)
        assert experiment.folder is not None
        folder = experiment.folder / "samples"
        files.write_atomically(folder / f"epoch_{epoch:03}.png", png)
        self.board.image(int(state.step), "samples", png)
        before = f"  {self.name}, " if self.name else "  "
        for row, caption in enumerate(captions):
            reference = next(iter(split.captions[row]), "")
            line = f"{split.ids[row]}: {' '.join(caption.words)} [{reference}]"
            self.console.say(f"{before}{one_line(line)}")


def report_scenes(experiment: Experiment, search: Callable, params: Any) -> None:
    """On scenes, whose objects are known: prints how right captions of the test split are.

    Args:
      experiment: the run; one on other data has nothing to report.
      search: compiled (params, batch) -> hypotheses.
      params: all parameters of the best epoch.
    """
    split = experiment.splits.get("test")
    if split is None or not len(split) or not split.objects(0):
        return
    inputs = open_plain_inputs(experiment, split)
    captions = _caption(experiment, search, params, inputs, len(split))
    if not processes.is_first():
        return
    shown = captions[:8]
    for row, caption in enumerate(shown):
        print(f"  {split.ids[row]}: {' '.join(caption.words)}")
    picture = draw_samples(split, shown, experiment.config.images.size, experiment.grid)
    assert experiment.folder is not None
    file = experiment.folder / "scenes.png"
    files.write_atomically(file, files.encode_picture(picture))
    result = check_scenes(split, captions, experiment.grid)
    attended = ""
    if not math.isnan(result.gain):
        attended = f", attention on the named object {result.gain:.1f} times chance"
    print(
        f"{len(split)} held-out scenes: {result.right} of {result.total} objects named with the "
        f"right shape and colour ({result.right / result.total:.1%}){attended} (drawn in {file})",
        flush=True,
    )


def _caption(
    experiment: Experiment, search: Callable, params: Any, inputs: Inputs, images: int
) -> list[Caption]:
    batch_size = experiment.config.train.batch_size
    return list(write_captions(search, params, inputs, images, batch_size, experiment.vocabulary))
