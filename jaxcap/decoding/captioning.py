"""Writing captions with a captioner: the search over its one-step function, as one pure function of
a batch.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxcap import decoding
from jaxcap.models.captioner import Captioner
from jaxcap.models.cells import Carry
from jaxcap.models.decoder import Memory

# about what a search with 5 beams reads; batches that read more words than there are use a table
WORDS_AN_IMAGE = 50


def prepare(
    model: Captioner,
    params: Any,
    batch: dict[str, jax.Array],
    keys: jax.Array | None = None,
    *,
    lanes: int | None = None,
) -> tuple[decoding.Step, Any, Memory]:
    """Prepares a batch for search.

    Args:
      model: the captioner.
      params: its parameters.
      batch: "features" [B, L, D] or "images" [B, S, S, 3].
      keys: one random key a photo, [B], for dropout of the regions; None for none.
      lanes: of the search; so many photos are prepared at a time, because what all need would
        outgrow the caches.

    Returns:
      The decoder's step as `search` wants it, the first carry [B, 1, ...] and the memory [B, ...].
    """
    apply = functools.partial(model.apply, {"params": params})

    def start(batch: dict[str, jax.Array], keys: jax.Array | None) -> tuple[Memory, Carry]:
        return apply(apply(batch, method="regions"), 1, keys, method="start")

    memory, carry = decoding.map_groups(start, (batch, keys), lanes)
    words = WORDS_AN_IMAGE * memory.projected.shape[0]
    table = apply(method="table") if words > model.decoder.vocabulary_size else None
    return functools.partial(apply, table=table, method="step"), carry, memory


def greedy(
    model: Captioner, rules: decoding.Rules
) -> Callable[[Any, dict[str, jax.Array]], decoding.Hypotheses]:
    """Returns the pure function (params, batch) -> hypotheses that takes the likeliest word at
    every step.
    """
    return lambda params, batch: decoding.greedy(*prepare(model, params, batch), rules)


def beam(
    model: Captioner, rules: decoding.Rules, beams: int, lanes: int | None = None
) -> Callable[[Any, dict[str, jax.Array]], decoding.Hypotheses]:
    """Returns the pure function (params, batch) -> hypotheses of `decoding.beam_search`."""
    return lambda params, batch: decoding.beam_search(
        *prepare(model, params, batch, lanes=lanes), beams, rules, lanes=lanes
    )


def sample(
    model: Captioner, rules: decoding.Rules, seed: int, **options: float
) -> Callable[[Any, dict[str, jax.Array]], decoding.Hypotheses]:
    """Returns the pure function (params, batch) -> hypotheses that draws every word.

    Args:
      model: the captioner.
      rules: which sentences may be returned.
      seed: of all draws.
      **options: temperature, top_k and top_p of `decoding.sample`.

    Returns:
      The function; its batch also holds "draw" [B] int32: photos with different numbers get
      independent draws, and a photo's caption does not depend on the batch that it stands in.
    """

    def draw(params: Any, batch: dict[str, jax.Array]) -> decoding.Hypotheses:
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(batch["draw"])
        return decoding.sample(*prepare(model, params, batch), keys, rules, **options)

    return draw


def draws(
    model: Captioner, rules: decoding.Rules, captions: int
) -> Callable[[Any, dict[str, jax.Array]], decoding.Hypotheses]:
    """Returns the pure function (params, batch) -> hypotheses [B, K, ...] of `captions` draws a
    photo.

    Its batch also holds "draw" [B] int32, the seed of each photo's draws, and "keys" [B, 2] uint32,
    the data of the photos' keys: regions lose what they lose in a training step with these keys.
    """

    def draw(params: Any, batch: dict[str, jax.Array]) -> decoding.Hypotheses:
        prepared = prepare(model, params, batch, jax.vmap(jax.random.wrap_key_data)(batch["keys"]))
        keys = jax.vmap(jax.random.key)(batch["draw"])  # [B]

        def one(number: jax.Array) -> decoding.Hypotheses:
            return decoding.sample(
                *prepared, jax.vmap(jax.random.fold_in, (0, None))(keys, number), rules
            )

        return jax.vmap(one, out_axes=1)(jax.numpy.arange(captions))

    return draw
