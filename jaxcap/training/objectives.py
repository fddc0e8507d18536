"""Objectives: what a training step minimises, as weighted terms of sums and counts.

An objective is called with what the model returns, here the logits [B, C, T, V] and the attention
[B, C, T, L], and the batch of one device. It returns its terms and what it measures. The step adds
sums and counts up over the devices and divides them once, so that any number of devices minimises
the same.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
        mask = target_mask(targets)
        smoothed, words = cross_entropy(logits, targets, mask, self.label_smoothing)
        count = count_positions(targets, self.positions) if self.positions else words
        terms = [Term(1.0, smoothed, count)]
        if self.doubly_stochastic:
            terms.append(Term(self.doubly_stochastic, *doubly_stochastic(attention, mask)))
        return terms, measure_loss(logits, targets, self.positions)


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
        mask = target_mask(targets)
        logits = jnp.where(self.token_mask, logits, NEG_INF)
        nats, words = cross_entropy(logits, targets, mask)
        weighted, _ = cross_entropy(logits, targets, mask * batch["advantages"][..., None])
        return [Term(1.0, weighted, words)], {"sample_loss": (nats, words)}


def measure_loss(logits: jax.Array, targets: jax.Array, positions: int = 0) -> Metrics:
    """Measures the cross-entropy of teacher forcing, without smoothing.

    Args:
      logits: [B, C, T, V].
      targets: [B, C, T] int32.
      positions: see `TeacherForcing`.

    Returns:
      "loss" in nats per word or per position; for positions also "word_loss", in nats per word,
      which can be compared with other runs'.
    """
    nats, words = cross_entropy(logits, targets, target_mask(targets))
    if not positions:
        return {"loss": (nats, words)}
    return {"loss": (nats, count_positions(targets, positions)), "word_loss": (nats, words)}
