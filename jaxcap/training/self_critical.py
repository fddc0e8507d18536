"""Self-critical training: the captioner learns from the CIDEr-D of captions that it samples itself.

Rennie et al., "Self-critical Sequence Training for Image Captioning" (2017,
https://arxiv.org/abs/1612.00563). The baseline of a caption is the mean of the photo's other
samples instead of the greedy caption (Luo, "A Better Variant of Self-Critical Sequence Training",
2020, https://arxiv.org/abs/2003.09971): it costs no search and is unbiased too.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jaxcap import parallel
from jaxcap.decoding import captioning
from jaxcap.decoding.rules import Rules
from jaxcap.memoize import memoize
from jaxcap.models.captioner import Captioner
from jaxcap.scores.cider import Scorer
from jaxcap.text import PAD, START, Vocabulary
from jaxcap.training.objectives import Batch, Metrics
from jaxcap.training.partition import combine
from jaxcap.training.stacking import Stacking, stack_batches, take, take_frozen
from jaxcap.training.train_step import TrainState, per_image_keys


def without_word_dropout(model: Captioner) -> Captioner:
    """Returns the captioner with no dropout but that of the regions.

    Sampling and update share one mask of the regions, so the update scores the distribution that
    was sampled from; other dropout would make it another.
    """
    decoder = model.decoder
    decoder = decoder.clone(word_dropout=0.0, head=decoder.head.clone(dropout=0.0))
    return model.clone(decoder=decoder)


@memoize
def compile_sampling(model: Captioner, rules: Rules, captions: int) -> Callable:
    """Compiles `captioning.build_sample_many` for all devices."""
    return parallel.compile_per_image(captioning.build_sample_many(model, rules, captions))


@dataclasses.dataclass(frozen=True)
class SelfCriticalStep:
    """One update, called as a compiled `train_step`: (state, frozen, batch) -> (state, metrics).

    Attributes:
      sample: compiled (params, batch) -> hypotheses [B, K, ...] of K captions a photo.
      update: compiled `train_step.train_step` of the objective `PolicyGradient`.
      references: the captions of the training split, [N, C, T].
      vocabulary: turns tokens into the words that are scored.
      stacking: of the replicas, each of which samples by itself.
      seeds: of their samples and dropout, as in `update`.
    """

    sample: Callable
    update: Callable
    references: np.ndarray
    vocabulary: Vocabulary
    stacking: Stacking
    seeds: Sequence[int]

    @functools.cached_property
    def scorer(self) -> Scorer:
        """The scorer by the rows of the training split.

        Made at the phase's first step, so that the start of a run does not wait for it.
        """
        references = []
        for captions in self.references:
            words = [read_words(self.vocabulary, one) for one in captions if one.any()]
            references.append(words)
        return Scorer(references)

    def __call__(self, state: TrainState, frozen: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        """Samples captions of the batch's photos, scores them, and updates by their advantages.

        Returns:
          The new state, and the update's metrics with "reward": the sum over the photos of their
          samples' mean CIDEr-D, and the number of photos.
        """
        stacking = self.stacking
        if stacking.is_single:
            params = combine(state.params, frozen)
            sampled = self._draw(params, int(state.step), self.seeds[0], batch)
            scored, reward = self._score_samples(sampled, batch)
            state, metrics = self.update(state, frozen, _take_photos(batch) | scored)
            return state, metrics | {"reward": reward}
        step = int(state.step[0])
        batches = []
        drawn = []
        for number, seed in enumerate(self.seeds):
            own = take_frozen(frozen, stacking, number)
            params = combine(take(state.params, number), own)
            batches.append(batch if stacking.shares_batch else take(batch, number))
            drawn.append(self._draw(params, step, seed, batches[-1]))
        # While the samples of one replica are scored, the devices draw those of the next.
        scored_batches = []
        rewards = []
        for sampled, of_replica in zip(drawn, batches, strict=True):
            scored, reward = self._score_samples(sampled, of_replica)
            scored_batches.append(scored)
            rewards.append(reward)
        scored = _take_photos(batch) | stack_batches(scored_batches)
        state, metrics = self.update(state, frozen, scored)
        totals, counts = zip(*rewards, strict=True)
        return state, metrics | {"reward": (np.array(totals), np.array(counts))}

    def _draw(self, params: Any, step: int, seed: int, batch: Batch) -> jax.Array:
        """Starts to sample captions [B, K, T] with one model's parameters."""
        size = len(batch["rows"])
        # The key that the update makes for this step too.
        key = jax.random.fold_in(jax.random.key(seed), step)
        seeds = jax.random.randint(key, (size,), 0, np.iinfo(np.int32).max)
        keys = jax.random.key_data(per_image_keys(key, size))
        random = {"draw": np.asarray(seeds), "keys": np.asarray(keys)}
        return self.sample(params, _take_photos(batch) | random).tokens

    def _score_samples(
        self, drawn: jax.Array, batch: Batch
    ) -> tuple[dict[str, Any], tuple[float, int]]:
        """Scores what was drawn for a batch.

        Returns:
          "tokens" and "advantages" of the update's batch, and the reward as a sum and a count.
        """
        is_real = (np.asarray(batch["tokens"]) != PAD).any((1, 2))  # [B]
        sampled = np.where(is_real[:, None, None], np.asarray(drawn), PAD)  # [B, K, T]
        rewards = self._score(np.asarray(batch["rows"]), sampled)  # [B, K]
        tokens = np.pad(sampled, ((0, 0), (0, 0), (1, 0)), constant_values=START)  # [B, K, T + 1]
        scored = {"tokens": tokens, "advantages": compute_advantages(rewards)}
        return scored, (rewards[is_real].mean(axis=1).sum(), is_real.sum())

    def _score(self, rows: Iterable[int], captions: np.ndarray) -> np.ndarray:
        """Returns the CIDEr-D [B, K] of captions [B, K, T] of photos."""
        rewards = []
        for row, of_photo in zip(rows, captions, strict=True):
            words = [read_words(self.vocabulary, tokens) for tokens in of_photo]
            rewards.append(self.scorer(int(row), words))
        return np.array(rewards)


def _take_photos(batch: Batch) -> dict[str, Any]:
    """Returns what a batch holds of its photos: regions, the grids below them, or pixels."""
    return {name: batch[name] for name in ("features", "grid", "images") if name in batch}


def compute_advantages(rewards: np.ndarray) -> np.ndarray:
    """Returns how far each sample is above the mean of the photo's others: [B, K] to [B, K]."""
    others = (rewards.sum(axis=1, keepdims=True) - rewards) / (rewards.shape[1] - 1)
    return (rewards - others).astype(np.float32)


def read_words(vocabulary: Vocabulary, tokens: np.ndarray) -> list[str]:
    """Returns the words of tokens [T] with <end>, so that a caption cut short scores less."""
    return [vocabulary.words[token] for token in tokens.tolist() if token not in (PAD, START)]
