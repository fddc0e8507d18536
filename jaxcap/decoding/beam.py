"""Beam search, all images of a batch in one compiled loop."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxcap.decoding.rules import Hypotheses, Rules, Step
from jaxcap.decoding.slots import run_in_slots
from jaxcap.errors import UserError
from jaxcap.text import END, PAD


class _Lines(NamedTuple):
    """Sentences, with the rows of the beam that wrote them in place of their attention maps.

    A beam's maps lie in one array that grows along time and is never reordered; following a
    sentence's rows through it, once, at the end, gives the sentence's maps.
    """

    log_prob: jax.Array  # [B, K]
    tokens: jax.Array  # [B, K, T]
    word_log_probs: jax.Array  # [B, K, T]
    rows: jax.Array  # [B, K, T]


class _Search(NamedTuple):
    """The state of B images' searches.

    Every leaf begins with B, so that one image's search can be taken out.
    """

    carry: Any
    position: jax.Array  # [B]
    lines: _Lines  # the K unfinished hypotheses, best first
    attention: jax.Array  # [B, T, K, L]
    finished: jax.Array  # [B], how many hypotheses have finished
    best: _Lines  # the best of them, [B, 1, ...]
    score: jax.Array  # [B], its score; -inf before the first
    done: jax.Array  # [B]


def beam_search(
    step: Step, carry: Any, memory: Any, beam: int, rules: Rules, *, slots: int | None = None
) -> Hypotheses:
    """Finds, for each image, the best-scoring sentence among those that a beam of width K visits.

    At every step, each hypothesis is continued by each allowed word, and of all continuations the K
    most probable are visited. Those that end in <end> have finished. The K most probable others
    form the next beam. An image is done when K hypotheses have finished, or when no hypothesis in
    its beam can still beat the best finished one: the score of a hypothesis at log-probability p,
    however it goes on, is at most that of p at full length. Where nothing has finished at full
    length, the most probable hypothesis is returned, cut. At K = 1 this is greedy search.

    Args:
      step: the decoder, one word at a time, for any K.
      carry: its first state, a pytree of [B, 1, ...]; the first word is predicted once an image,
        not once a beam.
      memory: what it knows of the images, a pytree of [B, ...].
      beam: K.
      rules: which sentences may be returned, and how they are scored.
      slots: how many images are searched at a time; an image that is done hands its slot to the
        next, so that no step is spent on it. None searches all B side by side until the last is
        done. The answer is the same.

    Returns:
      One sentence an image.

    Raises:
      UserError: beam or slots below 1.
    """
    if beam < 1 or (slots is not None and slots < 1):
        raise UserError(f"beam is {beam} and slots {slots}: each must be at least 1")
    size = jax.tree.leaves(carry)[0].shape[0]

    def advance(search: _Search, memory: Any) -> _Search:
        return _advance(step, search, memory, beam, rules)

    search = advance(_start(step, carry, memory, beam, rules), memory)
    if slots is None or slots >= size:
        search = jax.lax.while_loop(lambda s: ~s.done.all(), lambda s: advance(s, memory), search)
    else:
        search = run_in_slots(advance, search, memory, slots)
    return _answer(search, rules)


def _start(step: Step, carry: Any, memory: Any, beam: int, rules: Rules) -> _Search:
    """The state before the first word: one empty hypothesis an image."""
    size = jax.tree.leaves(carry)[0].shape[0]
    time = rules.positions
    first = jnp.full((size, 1), rules.start, jnp.int32)
    _, _, attention = jax.eval_shape(step, carry, memory, first)
    empty = _Lines(
        jnp.zeros((size, 1)),
        jnp.full((size, 1, time), PAD, jnp.int32),
        jnp.zeros((size, 1, time)),
        jnp.zeros((size, 1, time), jnp.int32),
    )
    return _Search(
        carry=carry,
        position=jnp.zeros(size, jnp.int32),
        lines=empty,
        attention=jnp.zeros((size, time, beam, attention.shape[-1]), attention.dtype),
        finished=jnp.zeros(size, jnp.int32),
        best=empty,
        score=jnp.full(size, -jnp.inf),
        done=jnp.zeros(size, bool),
    )


def _advance(step: Step, search: _Search, memory: Any, beam: int, rules: Rules) -> _Search:
    """Adds one word to every hypothesis of every image; images that are done keep their answer."""
    lines = search.lines
    position = search.position
    images = jnp.arange(position.shape[0])
    last = jnp.maximum(position - 1, 0)[:, None, None]
    previous = jnp.take_along_axis(lines.tokens, last, axis=-1)[..., 0]
    words = jnp.where(position[:, None] > 0, previous, rules.start)
    carry, logits, attention = step(search.carry, memory, words)
    rows, vocabulary_size = logits.shape[1:]

    word_log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))  # [B, K, V]
    allowed = rules.allow_words(lines.tokens, position, vocabulary_size)
    log_probs = jnp.where(
        allowed, lines.log_prob[..., None] + word_log_probs, -jnp.inf
    )  # [B, K, V]
    ends = log_probs[..., END]  # [B, K]
    best, parents, words = _most_probable(log_probs.at[..., END].set(-jnp.inf), beam)  # [B, K] each

    # A hypothesis finishes where fewer than K continuations, ended or not, are more probable.
    more_probable = jnp.concatenate([best, ends], axis=1)[:, None] > ends[..., None]  # [B, K, 2K]
    visited = (more_probable.sum(-1) < beam) & (ends > -jnp.inf) & ~search.done[:, None]
    scores = jnp.where(visited, rules.score(ends, position[:, None] + 1), -jnp.inf)
    winner = jnp.argmax(scores, axis=1)[:, None]  # [B, 1]
    score = scores.max(axis=1)
    better = score > search.score
    ended = _extend(lines, winner, jnp.full_like(winner, END), _pick(ends, winner), position)
    kept = jax.tree.map(
        lambda new, old: jnp.where(_like(better, new), new, old), ended, search.best
    )

    finished = search.finished + visited.sum(-1)
    score = jnp.maximum(score, search.score)
    hopeless = score >= rules.score(best.max(axis=1), rules.positions)
    return _Search(
        carry=jax.tree.map(lambda x: _pick(x, parents), carry),
        position=position + 1,
        lines=_extend(lines, parents, words, best, position),
        attention=search.attention.at[images, position, :rows].set(attention, mode="drop"),
        finished=finished,
        best=kept,
        score=score,
        done=search.done | (finished >= beam) | hopeless | (position + 1 >= rules.positions),
    )


def _most_probable(log_probs: jax.Array, beam: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Finds the `beam` largest of log_probs [B, K, V].

    Returns:
      Them in falling order, their rows and their words, [B, beam] each.
    """
    # K continuations hold at most K different words, and those are among the K words that are best
    # in any row. So a top-k over V values finds the words, and another over the few rows of these
    # words, instead of one over K * V.
    few = min(beam, log_probs.shape[-1])
    _, columns = jax.lax.top_k(log_probs.max(axis=1), few)
    columns = jnp.sort(columns)  # of equals, the first row's first word
    flat = jnp.take_along_axis(log_probs, columns[:, None], axis=-1).reshape(
        len(columns), -1
    )  # [B, K * few]
    flat = jnp.pad(flat, ((0, 0), (0, max(0, beam - flat.shape[1]))), constant_values=-jnp.inf)
    # Without the barriers, XLA may merge later slices into the top-k and then sort everything on
    # the CPU. One for each output: under pmap, XLA rewrites the call of a top-k and aborts where
    # anything takes both of its outputs at once.
    best, places = map(jax.lax.optimization_barrier, jax.lax.top_k(flat, beam))
    rows = jnp.minimum(places // few, log_probs.shape[1] - 1)
    return best, rows, jnp.take_along_axis(columns, places % few, axis=-1)


def _extend(
    lines: _Lines, parents: jax.Array, words: jax.Array, log_prob: jax.Array, position: jax.Array
) -> _Lines:
    """Continues hypotheses by a word each.

    Args:
      lines: of K hypotheses.
      parents: which of them are continued, [B, J].
      words: by which words, [B, J].
      log_prob: of the longer hypotheses, [B, J].
      position: of the words, [B].
    """
    old = jax.tree.map(lambda x: _pick(x, parents), lines)
    here = jnp.arange(lines.tokens.shape[-1]) == position[:, None, None]  # [B, 1, T]

    def put(value: jax.Array, history: jax.Array) -> jax.Array:
        return jnp.where(here, value[..., None], history)

    return _Lines(
        log_prob,
        put(words, old.tokens),
        put(log_prob - old.log_prob, old.word_log_probs),
        put(parents, old.rows),
    )


def _pick(x: jax.Array, index: jax.Array) -> jax.Array:
    """Takes from each image's hypotheses [B, K, ...] those of `index` [B, J]: [B, J, ...]."""
    return jax.vmap(lambda x, index: x[index])(x, index)


def _like(flags: jax.Array, x: jax.Array) -> jax.Array:
    """Reshapes flags [B] so that they broadcast against x [B, ...]."""
    return flags.reshape(flags.shape + (1,) * (x.ndim - 1))


def _answer(search: _Search, rules: Rules) -> Hypotheses:
    """Reads the sentences out: the best finished one, or the most probable of the beam, cut."""
    cut = search.score == -jnp.inf
    lines = jax.tree.map(
        lambda x, y: jnp.where(_like(cut, y[:, 0]), x[:, 0], y[:, 0]), search.lines, search.best
    )
    length = jnp.sum(lines.tokens != PAD, axis=-1, dtype=jnp.int32)
    attention = jax.vmap(lambda maps, rows: maps[jnp.arange(rules.positions), rows])(
        search.attention, lines.rows
    )
    return Hypotheses(
        tokens=lines.tokens,
        length=length,
        score=rules.score(lines.log_prob, length),
        log_prob=lines.log_prob,
        word_log_probs=lines.word_log_probs,
        attention=jnp.where((lines.tokens != PAD)[..., None], attention, 0.0),
    )
