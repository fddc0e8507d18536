"""Search along a single hypothesis: greedy, and sampling."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcap.decoding.rules import Hypotheses, Rules, Step
from jaxcap.errors import UserError
from jaxcap.text import END, PAD


class _State(NamedTuple):
    """The loop's state: what the decoder keeps, and the sentences so far."""

    position: jax.Array  # []
    carry: Any
    done: jax.Array  # [B]
    tokens: jax.Array  # [B, T]
    word_log_probs: jax.Array  # [B, T]
    attention: jax.Array  # [B, T, L]


def greedy(step: Step, carry: Any, memory: Any, rules: Rules) -> Hypotheses:
    """Takes the most probable word at every step.

    Args:
      step: the decoder, one word at a time.
      carry: its first state, a pytree of [B, 1, ...].
      memory: what it knows of the images, a pytree of [B, ...].
      rules: which sentences may be returned.

    Returns:
      One sentence an image.
    """
    return _decode(
        step, carry, memory, rules, lambda log_probs, position: jnp.argmax(log_probs, axis=-1)
    )


def sample(
    step: Step,
    carry: Any,
    memory: Any,
    keys: jax.Array,
    rules: Rules,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> Hypotheses:
    """Draws every word from the decoder's distribution over the allowed words.

    An image's sentence depends on its own key alone, not on its place in the batch or on the
    batch's size.

    Args:
      step: the decoder, one word at a time.
      carry: its first state, a pytree of [B, 1, ...].
      memory: what it knows of the images, a pytree of [B, ...].
      keys: one random key an image, [B].
      rules: which sentences may be returned.
      temperature: the log-probabilities are divided by it, before the two cuts below.
      top_k: draw among the top_k most probable words; 0 for all of them.
      top_p: draw among the fewest most probable words that hold this much of the probability left
        by top_k (nucleus sampling, Holtzman et al. 2020); 1 for all of them.

    Returns:
      One sentence an image.

    Raises:
      UserError: a temperature, top_k or top_p outside its range.
    """
    if not 0 < temperature < math.inf:
        raise UserError(
            f"temperature is {temperature}: it must be above 0 and finite (greedy search is its "
            "limit at 0)"
        )
    if top_k < 0 or not 0 < top_p <= 1:
        raise UserError(
            f"top_k is {top_k} and top_p {top_p}: top_k must be 0 or more, top_p above 0 and at "
            "most 1"
        )

    def draw(log_probs: jax.Array, position: jax.Array) -> jax.Array:
        logits = truncate(log_probs / temperature, top_k, top_p)
        return jax.vmap(
            lambda key, x: jax.random.categorical(jax.random.fold_in(key, position), x)
        )(keys, logits)

    return _decode(step, carry, memory, rules, draw)


def truncate(logits: jax.Array, top_k: int = 0, top_p: float = 1.0) -> jax.Array:
    """Sets all but the most probable words to -inf.

    Words that tie with the last one kept are kept too.

    Args:
      logits: [..., V].
      top_k: words kept; 0 for all.
      top_p: of what top_k kept, the fewest words that hold this probability; 1 for all.

    Returns:
      The logits [..., V] of the words kept, -inf elsewhere.
    """
    if top_k and top_k < logits.shape[-1]:
        logits = jnp.where(logits >= jax.lax.top_k(logits, top_k)[0][..., -1:], logits, -jnp.inf)
    if top_p < 1:
        falling = jnp.sort(logits, axis=-1, descending=True)
        probs = jax.nn.softmax(falling, axis=-1)
        before = jnp.cumsum(probs, axis=-1) - probs  # the probability of the words ahead of each
        last = jnp.sum(before < top_p, axis=-1, keepdims=True) - 1
        logits = jnp.where(logits >= jnp.take_along_axis(falling, last, axis=-1), logits, -jnp.inf)
    return logits


def _decode(
    step: Step,
    carry: Any,
    memory: Any,
    rules: Rules,
    choose: Callable[[jax.Array, jax.Array], jax.Array],
) -> Hypotheses:
    """Writes a sentence word by word, for each image.

    Args:
      step: the decoder, one word at a time.
      carry: its first state, a pytree of [B, 1, ...].
      memory: what it knows of the images, a pytree of [B, ...].
      rules: which sentences may be returned.
      choose: from log-probabilities [B, V] and the position to the next words [B].
    """
    size = jax.tree.leaves(carry)[0].shape[0]
    first = jnp.full((size, 1), rules.start, jnp.int32)
    _, _, attention = jax.eval_shape(step, carry, memory, first)

    def advance(state: _State) -> _State:
        position = state.position
        previous = state.tokens[:, jnp.maximum(position - 1, 0)][:, None]  # [B, 1]
        words = jnp.where(position > 0, previous, rules.start)
        carry, logits, attention = step(state.carry, memory, words)
        log_probs = jax.nn.log_softmax(logits[:, 0].astype(jnp.float32))  # [B, V]
        positions = jnp.broadcast_to(position, (size,))
        allowed = rules.allow_words(state.tokens[:, None], positions, log_probs.shape[-1])[:, 0]
        word = choose(jnp.where(allowed, log_probs, -jnp.inf), position)
        # The decoder's own log-probability, which no rule has changed.
        log_prob = jnp.take_along_axis(log_probs, word[:, None], axis=-1)[:, 0]
        word_log_prob = jnp.where(state.done, 0.0, log_prob)
        seen = jnp.where(state.done[:, None], 0.0, attention[:, 0])
        return _State(
            position=position + 1,
            carry=carry,
            done=state.done | (word == END),
            tokens=state.tokens.at[:, position].set(jnp.where(state.done, PAD, word)),
            word_log_probs=state.word_log_probs.at[:, position].set(word_log_prob),
            attention=state.attention.at[:, position].set(seen),
        )

    state = _State(
        position=jnp.zeros((), jnp.int32),
        carry=carry,
        done=jnp.zeros(size, bool),
        tokens=jnp.full((size, rules.positions), PAD, jnp.int32),
        word_log_probs=jnp.zeros((size, rules.positions)),
        attention=jnp.zeros((size, rules.positions, attention.shape[-1]), attention.dtype),
    )
    state = jax.lax.while_loop(
        lambda state: (state.position < rules.positions) & ~state.done.all(), advance, state
    )
    length = jnp.sum(state.tokens != PAD, axis=-1, dtype=jnp.int32)
    log_prob = state.word_log_probs.sum(-1)
    return Hypotheses(
        tokens=state.tokens,
        length=length,
        score=rules.score(log_prob, length),
        log_prob=log_prob,
        word_log_probs=state.word_log_probs,
        attention=state.attention,
    )
