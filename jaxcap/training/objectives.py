"""Objectives: what a training step minimises, as weighted terms of sums and counts.

An objective is called with what the model returns, here the logits [B, C, T, V] and the attention
[B, C, T, L], and the batch of one device. Where the batch names positions, the logits are of these
alone, [N, V]. It returns its terms and what it measures. The step adds sums and counts up over the
devices and divides them once, so that any number of devices minimises the same.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcap.models.positions import take_positions
from jaxcap.training.losses import (
    SumCount,
    count_positions,
    cross_entropy,
    doubly_stochastic,
    target_mask,
)

NEG_INF = -1e9  # a logit without probability; finite, because padding multiplies it by 0

Batch = Mapping[str, Any]  # of arrays
Metrics = dict[str, SumCount]


@dataclasses.dataclass(frozen=True)
class Term:
    """One addend of a loss: weight * total / count.

    Attributes:
      weight: a constant.
      total: a sum over the device's batch.
      count: what it is divided by, independent of the parameters.
    """

    weight: float
    total: jax.Array
    count: jax.Array


@dataclasses.dataclass(frozen=True)
class TeacherForcing:
    """Cross-entropy of the captions that people wrote.

    Attributes:
      positions: of a padded caption, over which the loss is averaged, see
        `losses.count_positions`; 0: over the words, <end> among them.
      label_smoothing: see `losses.cross_entropy`.
      doubly_stochastic: weight of `losses.doubly_stochastic`.
    """

    positions: int = 0
    label_smoothing: float = 0.0
    doubly_stochastic: float = 0.0

    def __call__(
        self, logits: jax.Array, attention: jax.Array, batch: Batch
    ) -> tuple[list[Term], Metrics]:
        """Measures what `measure_loss` does."""
        targets = batch["tokens"][..., 1:]
        predicted = _take_predicted(targets, batch)
        mask = target_mask(predicted)
        smoothed, words = cross_entropy(logits, predicted, mask, self.label_smoothing)
        count = count_positions(targets, self.positions) if self.positions else words
        terms = [Term(1.0, smoothed, count)]
        if self.doubly_stochastic:
            penalty = doubly_stochastic(attention, target_mask(targets))
            terms.append(Term(self.doubly_stochastic, *penalty))
        return terms, measure_loss(logits, batch, self.positions)


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyGradient:
    """Cross-entropy of sampled captions, each weighted by its advantage (Williams 1992).

    Attributes:
      token_mask: bool [V], the words that were sampled from. Without it, the update scores another
        distribution, and the surest way to make a bad caption less likely is to make <unk>
        likelier, which is never sampled and so never punished.
    """

    token_mask: np.ndarray

    def __call__(
        self, logits: jax.Array, attention: jax.Array, batch: Batch
    ) -> tuple[list[Term], Metrics]:
        """Reads "advantages" [B, C] beside the tokens.

        Measures "sample_loss", the samples' own cross-entropy in nats per word: an estimate of the
        entropy of what is sampled from.
        """
        del attention
        targets = batch["tokens"][..., 1:]
        weights = target_mask(targets) * batch["advantages"][..., None]
        predicted = _take_predicted(targets, batch)
        logits = jnp.where(self.token_mask, logits, NEG_INF)
        nats, words = cross_entropy(logits, predicted, target_mask(predicted))
        weighted, _ = cross_entropy(logits, predicted, _take_predicted(weights, batch))
        return [Term(1.0, weighted, words)], {"sample_loss": (nats, words)}


def measure_loss(logits: jax.Array, batch: Batch, positions: int = 0) -> Metrics:
    """Measures the cross-entropy of teacher forcing, without smoothing.

    Args:
      logits: [B, C, T, V], or [N, V] at the batch's "positions" [N].
      batch: with "tokens" [B, C, T + 1].
      positions: see `TeacherForcing`.

    Returns:
      "loss" in nats per word or per position; for positions also "word_loss", in nats per word,
      which can be compared with other runs'.
    """
    targets = batch["tokens"][..., 1:]
    predicted = _take_predicted(targets, batch)
    nats, words = cross_entropy(logits, predicted, target_mask(predicted))
    if not positions:
        return {"loss": (nats, words)}
    return {"loss": (nats, count_positions(targets, positions)), "word_loss": (nats, words)}


def _take_predicted(x: jax.Array, batch: Batch) -> jax.Array:
    """Takes from [B, C, T] what belongs to the logits' positions: [N], or all."""
    return take_positions(x, batch.get("positions"))
