"""Validation: the loss over a split's captions, and the CIDEr-D of captions written for it."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxcap import parallel
from jaxcap.data.split import Split
from jaxcap.decoding.captions import write_captions
from jaxcap.inputs.batches import Batch, Captions, Inputs, draw_captions, iterate_split
from jaxcap.memoize import memoize
from jaxcap.models.captioner import Captioner
from jaxcap.scores import cider, tokenizer
from jaxcap.text import Vocabulary
from jaxcap.training.capacity import choose_words
from jaxcap.training.metrics import add_metrics, compute_means, read_metrics
from jaxcap.training.partition import combine
from jaxcap.training.progress import check_finite
from jaxcap.training.train_step import TrainState, eval_step


@dataclass(frozen=True)
class Validation:
    """Measures a state on the validation split.

    Attributes:
      measure: compiled `eval_step`: (params, batch) -> metrics.
      search: compiled (params, batch) -> hypotheses.
      frozen: parameters that are not trained.
      inputs: of the split, in the plain view.
      split: the photos and their references.
      captions: those of the split, encoded.
      choice: "all" of them, or one of each photo at "random", another at every validation.
      seed: of the choice.
      batch_size: photos a call.
      vocabulary: turns tokens into words.
      select: by what the best epoch is chosen; captions are scored only if it is "CIDEr-D".
    """

    measure: Callable
    search: Callable
    frozen: Any
    inputs: Inputs
    split: Split
    captions: Captions
    choice: str
    seed: int
    batch_size: int
    vocabulary: Vocabulary
    select: str

    def __call__(self, state: TrainState) -> dict[str, float]:
        """Returns the step's losses over the captions, and "CIDEr-D" where it selects.

        Raises:
          FloatingPointError: the loss of a batch is not finite; its photos are named.
        """
        params = combine(state.eval_params, self.frozen)
        when = f"at the validation after step {int(state.step)}"
        tokens = self.captions.tokens
        if self.choice == "random":
            tokens = draw_captions(self.captions, (self.seed, int(state.step)))
        numbers = self._measure_loss(params, tokens, when)
        if self.select == "CIDEr-D":
            numbers["CIDEr-D"] = self._score_captions(params)
        return numbers

    def _measure_loss(self, params: Any, tokens: np.ndarray, when: str) -> dict[str, float]:
        batches = iterate_split(self.inputs, len(self.split), self.batch_size, tokens)
        measure = functools.partial(self.measure, params)
        return measure_batches(measure, batches, self.batch_size, self.split.ids, when)

    def _score_captions(self, params: Any) -> float:
        captions = write_captions(
            self.search, params, self.inputs, len(self.split), self.batch_size, self.vocabulary
        )
        texts = [" ".join(caption.words) for caption in captions]
        ours, theirs = tokenizer.tokenize_pairs(
            dict(zip(self.split.ids, texts, strict=True)),
            dict(zip(self.split.ids, self.split.captions, strict=True)),
        )
        return float(cider.from_statistics(cider.statistics(ours, theirs).sum(0))[0])


def measure_batches(
    measure: Callable, batches: Iterable[Batch], batch_size: int, photos: Sequence[str], when: str
) -> dict[str, float]:
    """Measures the batches of a split.

    Args:
      measure: compiled batch -> metrics, of all devices.
      batches: of one size, the photos in order.
      batch_size: photos in each, over all processes.
      photos: their ids.
      when: for the message.

    Returns:
      The means over the split.

    Raises:
      FloatingPointError: a number of a batch is not finite; its photos are named.
    """
    # All batches are on their way before the first number is read.
    pending = [measure(batch) for batch in batches]
    sums = [read_metrics(metrics) for metrics in pending]
    for number, of_batch in enumerate(sums):
        first = number * batch_size
        check_finite(compute_means(of_batch), when, photos[first : first + batch_size])
    return compute_means(add_metrics(sums))


@memoize
def compile_eval_step(model: Captioner, positions: int = 0) -> Callable:
    """Compiles `eval_step` for all devices."""
    return parallel.compile_eval_step(
        functools.partial(eval_step, model=model, positions=positions), choose_words
    )
