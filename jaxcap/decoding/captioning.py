"""Captioning: a search over the captioner's one-word step, as one pure function of a batch."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcap import decoding
from jaxcap.decoding.rules import Hypotheses, Rules, Step
from jaxcap.decoding.strategy import Sampling
from jaxcap.models.captioner import Captioner
from jaxcap.models.ensemble import Ensemble

# About how many words a search with 5 beams reads of a photo. A batch that reads more words than
# the vocabulary has projects the whole vocabulary once instead.
WORDS_AN_IMAGE = 50

Model = Captioner | Ensemble
Batch = dict[str, jax.Array]
Search = Callable[[Any, Batch], Hypotheses]  # (params, batch) -> one hypothesis a photo


def prepare(
    model: Model,
    params: Any,
    batch: Batch,
    keys: jax.Array | None = None,
    *,
    slots: int | None = None,
) -> tuple[Step, Any, Any]:
    """Prepares a batch for search.

    Args:
      model: the captioner, or an ensemble.
      params: its parameters.
      batch: what `Captioner.regions` reads.
      keys: one random key a photo, [B], for dropout of the regions; None for none.
      slots: of the search; so many photos are prepared at a time, because what all need would
        outgrow the caches.

    Returns:
      The decoder's step as `decoding` wants it, the first carry [B, 1, ...] and the memory
      [B, ...].
    """
    apply = functools.partial(model.apply, {"params": params})

    def start(batch: Batch, keys: jax.Array | None) -> tuple[Any, Any]:
        regions = apply(batch, method="regions")
        return apply(regions, 1, keys, method="start")

    memory, carry = decoding.map_groups(start, (batch, keys), slots)
    words = WORDS_AN_IMAGE * jax.tree.leaves(memory)[0].shape[0]
    projected_embedding = None
    if words > model.vocabulary_size:
        projected_embedding = apply(method="project_vocabulary")
    step = functools.partial(apply, projected_embedding=projected_embedding, method="step")
    return step, carry, memory


def build_greedy(model: Model, rules: Rules) -> Search:
    """Returns the pure function that takes the most probable word at every step."""

    def search(params: Any, batch: Batch) -> Hypotheses:
        return decoding.greedy(*prepare(model, params, batch), rules)

    return search


def build_beam(model: Model, rules: Rules, beams: int, slots: int | None = None) -> Search:
    """Returns the pure function of `decoding.beam_search`."""

    def search(params: Any, batch: Batch) -> Hypotheses:
        prepared = prepare(model, params, batch, slots=slots)
        return decoding.beam_search(*prepared, beams, rules, slots=slots)

    return search


def build_sampling(model: Model, rules: Rules, sampling: Sampling) -> Search:
    """Returns the pure function that samples every word.

    Args:
      model: the captioner, or an ensemble.
      rules: which sentences may be returned.
      sampling: how words are drawn.

    Returns:
      The function; its batch also holds "draw" [B] int32: photos with different numbers get
      independent samples, and a photo's caption does not depend on the batch that it stands in.
    """

    def search(params: Any, batch: Batch) -> Hypotheses:
        fold_in = functools.partial(jax.random.fold_in, jax.random.key(sampling.seed))
        keys = jax.vmap(fold_in)(batch["draw"])
        return decoding.sample(
            *prepare(model, params, batch),
            keys,
            rules,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
        )

    return search


def build_sample_many(model: Model, rules: Rules, captions: int) -> Search:
    """Returns the pure function that samples K captions a photo, as hypotheses [B, K, ...].

    Its batch also holds "draw" [B] int32, the seed of each photo's samples, and "keys" [B, 2]
    uint32, the data of the photos' keys: the regions lose the channels that they lose in a
    training step with these keys.

    Args:
      model: the captioner, or an ensemble.
      rules: which sentences may be returned.
      captions: K.
    """

    def search(params: Any, batch: Batch) -> Hypotheses:
        dropout_keys = jax.vmap(jax.random.wrap_key_data)(batch["keys"])
        prepared = prepare(model, params, batch, dropout_keys)
        keys = jax.vmap(jax.random.key)(batch["draw"])  # [B]

        def sample(number: jax.Array) -> Hypotheses:
            own_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
            return decoding.sample(*prepared, own_keys, rules)

        return jax.vmap(sample, out_axes=1)(jnp.arange(captions))

    return search
