"""The decoder: an attention LSTM that reads a photo's regions and writes its captions, one word a
step.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcap.models.attention import AdditiveAttention, ContextGate
from jaxcap.models.cells import Carry, LSTMCell
from jaxcap.models.layers import dense, dropout, product


class Memory(NamedTuple):
    """What the decoder keeps of a photo: the regions [B, L, D] and their projections [B, L, A]."""

    features: jax.Array
    projected: jax.Array


class Decoder(nn.Module):
    """Show, Attend and Tell (Xu et al. 2015) with soft attention; each option is off in the
    faithful configs.

    The C captions of a photo are decoded side by side, [B, C, ...], over one copy of its regions.
    In search the same axis holds the K beams.

    Attributes:
      vocabulary_size: V.
      embedding: E.
      hidden: H.
      attention: A.
      activation: of the attention, "relu" or "tanh".
      feature_norm: every region is normalised over its channels first (Ba et al. 2016), each level
        of the encoder by itself.
      level_channels: how many of a region's D channels come from each level of the encoder; empty: it
        has one level.
      feature_embedding: width of a linear layer and ReLU that every region passes next, as in
        Rennie et al. 2017; D is then this width. 0: none, the decoder reads the encoder's regions.
      feature_layers: how many such layers; one after the first adds to what it reads (He et al.
        2015).
      init_from_mean: h0 and c0 are linear in the mean region (section 3.1.2); otherwise zeros.
      context_gate: the context passes a sigmoid gate of the previous hidden state (section 4.2.1,
        one gate a channel).
      deep_output: word, state and context join in E dimensions before the vocabulary (equation 7,
        with a tanh).
      tie_weights: the output layer is the word embedding itself (Press and Wolf 2017).
      word_dropout, hidden_dropout, feature_dropout: of the embedded words, of the vector that
        predicts the word, and of the regions' channels, each in all regions at once.
    """

    vocabulary_size: int
    embedding: int = 300
    hidden: int = 512
    attention: int = 512
    activation: str = "relu"
    feature_norm: bool = False
    level_channels: tuple[int, ...] = ()
    feature_embedding: int = 0
    feature_layers: int = 1
    init_from_mean: bool = False
    context_gate: bool = False
    deep_output: bool = False
    tie_weights: bool = False
    word_dropout: float = 0.0
    hidden_dropout: float = 0.0
    feature_dropout: float = 0.0
    dtype: str = "float32"

    def setup(self) -> None:
        linear = functools.partial(dense, dtype=self.dtype)
        self.words = nn.Embed(
            self.vocabulary_size, self.embedding, embedding_init=nn.initializers.normal(0.1)
        )
        self.attend = AdditiveAttention(self.attention, self.activation, self.dtype)
        self.cell = LSTMCell(self.hidden, self.dtype)
        if self.feature_norm:
            self.norm_features = [nn.LayerNorm() for _ in (self.level_channels or (None,))]
        if self.feature_embedding:
            self.embed_features = [
                linear(self.feature_embedding) for _ in range(self.feature_layers)
            ]
        if self.init_from_mean:
            self.init_h = linear(self.hidden)
            self.init_c = linear(self.hidden)
        if self.context_gate:
            self.gate = ContextGate(self.dtype)
        if self.deep_output:
            self.output_context = linear(self.embedding, use_bias=False)
        if self.deep_output or self.tie_weights:
            self.output_hidden = linear(self.embedding)
        if self.tie_weights:
            self.output_bias = self.param(
                "output_bias", nn.initializers.zeros, (self.vocabulary_size,)
            )
        else:
            self.output = linear(self.vocabulary_size)

    def __call__(
        self, features: jax.Array, tokens: jax.Array, keys: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Teacher forcing: predicts, at every position, the word after `tokens`.

        Args:
          features: [B, L, D].
          tokens: [B, C, T] int32, beginning with <start>.
          keys: one random key a photo, [B], for dropout; None in evaluation.

        Returns:
          Logits [B, C, T, V] and attention [B, C, T, L].
        """
        memory, carry = self.start(features, tokens.shape[1], keys)
        word_keys, hidden_keys, _ = _split(keys)
        words = dropout(word_keys, self.words(tokens), self.word_dropout)  # [B, C, T, E]
        # What needs no recurrence is done for all positions at once, before the scan and after it.
        scan = nn.scan(
            Decoder._recur,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=(nn.broadcast, 2),
            out_axes=2,
        )
        _, (hidden, context, attention) = scan(self, carry, memory, self.cell.project(words))
        return self._predict(words, hidden, context, hidden_keys), attention

    def start(
        self, features: jax.Array, captions: int, keys: jax.Array | None = None
    ) -> tuple[Memory, Carry]:
        """Prepares a photo for decoding.

        Args:
          features: [B, L, D].
          captions: C, how many captions (or beams) of each photo go side by side.
          keys: one random key a photo, [B], for dropout; None in evaluation.

        Returns:
          The memory that `step` reads, and the first carry, a pair of [B, C, H].
        """
        features = self._regions(features, _split(keys)[2])
        shape = (features.shape[0], captions, self.hidden)
        if self.init_from_mean:
            mean = features.mean(axis=1)  # [B, D]
            carry = tuple(
                jnp.broadcast_to(layer(mean)[:, None], shape)
                for layer in (self.init_h, self.init_c)
            )
        else:
            carry = (jnp.zeros(shape), jnp.zeros(shape))
        return Memory(features, self.attend.project(features)), carry

    def _regions(self, features: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Normalises and embeds the encoder's regions: [B, L, D] in, and out with a D of its
        own.
        """
        # Whole channels (Tompson et al. 2015): a mean over 49 regions would outlive the loss of
        # single values unharmed.
        drop = functools.partial(dropout, keys, rate=self.feature_dropout, shared=1)
        if self.feature_norm:
            levels = jnp.split(features, np.cumsum(self.level_channels[:-1]), axis=-1)
            pairs = zip(self.norm_features, levels, strict=True)
            features = jnp.concatenate([norm(level) for norm, level in pairs], axis=-1)
        if not self.feature_embedding:
            return drop(features)
        first, *others = self.embed_features
        features = drop(nn.relu(first(features)))
        for layer in others:
            features += drop(
                nn.relu(layer(features))
            )  # keys and shape are the same, and so are the channels
        return features

    def table(self) -> jax.Array:
        """What the cell hears of each word, [V, 4H]: reading a row spares a long search the word's
        product.
        """
        return self.cell.project(self.words.embedding)

    def step(
        self, carry: Carry, memory: Memory, tokens: jax.Array, table: jax.Array | None = None
    ) -> tuple[Carry, jax.Array, jax.Array]:
        """One word of search.

        Args:
          carry: a pair of [B, C, H].
          memory: from `start`.
          tokens: the previous words, [B, C] int32.
          table: from `table`; None to compute what is heard of these words.

        Returns:
          The new carry, the next word's logits [B, C, V] and the attention [B, C, L].
        """
        words = self.words(tokens)  # [B, C, E]
        heard = self.cell.project(words) if table is None else table[tokens]  # [B, C, 4H]
        carry, (hidden, context, attention) = self._recur(carry, memory, heard)
        return carry, self._predict(words, hidden, context, None), attention

    def _recur(self, carry: Carry, memory: Memory, projected: jax.Array):
        """What happens inside the scan: look, then one step of the cell. `projected` is [B, C,
        4H].
        """
        context, attention = self.attend(carry[0], memory.projected, memory.features)
        if self.context_gate:
            context = self.gate(carry[0], context)
        carry, hidden = self.cell(carry, projected, context)
        # Only deep output reads the context after the scan, so only then is it kept.
        return carry, (hidden, context if self.deep_output else None, attention)

    def _predict(
        self, words: jax.Array, hidden: jax.Array, context: jax.Array | None, keys: jax.Array | None
    ) -> jax.Array:
        """Vocabulary logits [B, C, ..., V] from words [.., E], hidden [.., H] and context [..,
        D].
        """
        x = hidden
        if self.deep_output or self.tie_weights:
            x = self.output_hidden(hidden)
        if self.deep_output:
            x = jnp.tanh(x + words + self.output_context(context))
        x = dropout(keys, x, self.hidden_dropout)
        if self.tie_weights:
            return product(x, self.words.embedding, self.dtype, transposed=True) + self.output_bias
        return self.output(x)


def _split(keys: jax.Array | None) -> jax.Array | tuple[None, None, None]:
    """Three independent keys for each photo, [B] -> [3, B]: of words, hidden state and features."""
    if keys is None:
        return None, None, None
    return jax.vmap(lambda key: jax.random.split(key, 3), out_axes=1)(keys)
