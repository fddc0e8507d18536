"""What every search shares: the shape of its result, and the rules of a sentence."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.text import END, PAD, START, UNK

# step(carry, memory, tokens) -> (carry, logits, attention): one word of B images, K hypotheses
# each. `carry` is any pytree of [B, K, ...], `memory` any pytree of [B, ...] that the step only
# reads, tokens [B, K] int32 the previous words, logits [B, K, V], attention [B, K, L].
Step = Callable[[Any, Any, jax.Array], tuple[Any, jax.Array, jax.Array]]


class Hypotheses(NamedTuple):
    """One sentence for each image, over T = max_length - 1 positions after <start>.

    Attributes:
      tokens: [B, T] int32, the words and their <end>, then <pad>; without <end> where the sentence
        was cut at T words.
      length: [B] int32, the tokens that are not <pad>, <end> counted.
      score: [B], what the search compares: the log-probability after length normalisation.
      log_prob: [B], the sum of `word_log_probs`.
      word_log_probs: [B, T], each token's log-probability under the decoder, untouched by any rule;
        0 at <pad>.
      attention: [B, T, L], where the decoder looked when it chose the token; 0 at <pad>.
    """

    tokens: jax.Array
    length: jax.Array
    score: jax.Array
    log_prob: jax.Array
    word_log_probs: jax.Array
    attention: jax.Array


@dataclasses.dataclass(frozen=True)
class Rules:
    """Which sentences a search may return, and how it compares them.

    <pad> and <start> are never produced.

    Attributes:
      max_length: positions of a sentence with <start> and <end>, so at most max_length - 2 words
        and <end>; a sentence that has not ended at max_length - 1 words is cut there.
      min_length: fewest words before <end>. It gives way where no other word is allowed.
      length_normalization: alpha of score = log_prob / ((5 + length) / 6) ** alpha (Wu et al. 2016,
        eq. 14). At 0, the usual choice in captioning, the most probable sentence wins; a larger
        alpha favours longer ones.
      unk: whether <unk> may be produced.
      no_repeat_ngram: no run of this many words occurs twice in a sentence; 0 switches the rule
        off.
      end_mark: False for a decoder that was trained without <start> and <end>: <pad> begins its
        sentences, and each runs on to max_length - 1 words.

    Raises:
      UserError: a value that no sentence can satisfy.
    """

    max_length: int = 20
    min_length: int = 0
    length_normalization: float = 0.0
    unk: bool = False
    no_repeat_ngram: int = 0
    end_mark: bool = True

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise UserError(
                f"max_length is {self.max_length}, but <start>, one word and <end> need 3: raise it"
            )
        if not 0 <= self.min_length <= self.max_length - 2:
            raise UserError(
                f"min_length is {self.min_length}, but a sentence of max_length {self.max_length} "
                "has 0 to "
                f"{self.max_length - 2} words: lower min_length or raise max_length"
            )
        if not 0 <= self.length_normalization < math.inf:
            raise UserError(
                f"length_normalization is {self.length_normalization}: set it to 0 (none) or above"
            )
        if self.no_repeat_ngram < 0:
            raise UserError(
                f"no_repeat_ngram is {self.no_repeat_ngram}: set it to 0 (off) or the length of "
                "the n-gram"
            )

    @property
    def start(self) -> int:
        """The token that begins every sentence."""
        return START if self.end_mark else PAD

    @property
    def positions(self) -> int:
        """T, the positions after <start>."""
        return self.max_length - 1

    def score(self, log_prob: jax.Array, length: jax.Array | int) -> jax.Array:
        """Returns what the search compares.

        Args:
          log_prob: of sentences.
          length: their tokens with <end>; of the same shape, or one for all.
        """
        return log_prob / ((5.0 + length) / 6.0) ** self.length_normalization

    def token_mask(self, vocabulary_size: int) -> np.ndarray:
        """Tells which of V words may stand in a sentence at all: bool [V]."""
        possible = np.ones(vocabulary_size, bool)
        possible[[PAD, START] if self.unk else [PAD, START, UNK]] = False
        possible[END] = self.end_mark
        return possible

    def allow_words(self, words: jax.Array, position: jax.Array, vocabulary_size: int) -> jax.Array:
        """Tells which words may come next.

        Args:
          words: the words before `position`, [B, K, T] int32; what stands behind them is not read.
          position: [B] int32.
          vocabulary_size: V.

        Returns:
          Bool [B, K, V]. Where there is an <end>, it is allowed everywhere.
        """
        allowed = jnp.broadcast_to(
            self.token_mask(vocabulary_size), (*words.shape[:2], vocabulary_size)
        )
        if self.no_repeat_ngram:
            allowed &= ~repeats(words, position, self.no_repeat_ngram, vocabulary_size)
        if self.min_length:
            is_end = np.arange(vocabulary_size) == END
            others = allowed & ~is_end
            early = (position < self.min_length)[:, None, None] & others.any(-1, keepdims=True)
            allowed = jnp.where(early, others, allowed)
        return allowed


def make_plain_rules(section: Mapping[str, Any]) -> Rules:
    """Returns the rules of captions as a config's section `text` has them, and no others."""
    return Rules(section["max_length"], end_mark=section["end_mark"])


def make_rules(config: ConfigDict) -> Rules:
    """Returns the rules that the config's section `search` asks for.

    Raises:
      UserError: a value that no sentence can satisfy.
    """
    section = config.search
    return dataclasses.replace(
        make_plain_rules(config.text),
        min_length=section.min_length,
        length_normalization=section.length_normalization,
        no_repeat_ngram=section.no_repeat_ngram,
    )


def repeats(words: jax.Array, position: jax.Array, n: int, vocabulary_size: int) -> jax.Array:
    """Marks the words that would make the last n words of a sentence occur in it twice.

    Args:
      words: the words before `position`, [B, K, T] int32.
      position: [B] int32.
      n: words of the run.
      vocabulary_size: V.

    Returns:
      Bool [B, K, V].
    """
    starts = words.shape[-1] - n + 1
    if starts < 1:
        return jnp.zeros((*words.shape[:2], vocabulary_size), bool)
    # A run repeats where its first n - 1 words equal the sentence's last n - 1, and it lies before
    # them.
    same = jnp.arange(starts) + n - 1 < position[:, None, None]  # [B, 1, T - n + 1]
    for i in range(n - 1):
        place = jnp.maximum(position - (n - 1) + i, 0)[:, None, None]
        same &= words[..., i : i + starts] == jnp.take_along_axis(words, place, axis=-1)
    mark = jax.vmap(
        jax.vmap(lambda word, same: jnp.zeros(vocabulary_size, bool).at[word].max(same))
    )
    return mark(words[..., n - 1 :], jnp.broadcast_to(same, words[..., n - 1 :].shape))
