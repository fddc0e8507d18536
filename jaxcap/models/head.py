"""The output head: from the recurrence's outputs to logits over the vocabulary."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.layers import Dense, add_bias, draw_kept, product, scale_kept
from jaxcap.models.params import Params
from jaxcap.models.positions import Positions, take_positions


class Head(Params, nn.Module):
    """Predicts the next word from the hidden state and, as options, from word and context.

    Attributes:
      vocabulary_size: V.
      embedding: E.
      hidden: width of a linear layer before the vocabulary, without an activation; 0: none. The two
        options below have a layer of their own in its place, of width E.
      deep_output: word, state and context join in E dimensions before the vocabulary (Xu et al.
        2015, equation 7, with a tanh).
      tie_weights: the output layer is the word embedding itself (Press and Wolf 2017).
      dropout: of the vector that predicts the word.
      dtype: of the matrix products, see `layers.product`.
    """

    vocabulary_size: int
    embedding: int
    hidden: int = 0
    deep_output: bool = False
    tie_weights: bool = False
    dropout: float = 0.0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self,
        hidden: jax.Array,
        words: jax.Array,
        context: jax.Array | None,
        embedding: jax.Array,
        keys: jax.Array | None = None,
        positions: Positions | None = None,
    ) -> jax.Array:
        """Computes logits.

        Args:
          hidden: the cell's output, [B, C, ..., H].
          words: the embedded words that were read, [B, C, ..., E].
          context: [B, C, ..., D]; read by deep output alone, and None without it.
          embedding: the word embedding [V, E]; read by tied weights alone.
          keys: one random key a photo, [B], for dropout; None in evaluation.
          positions: of [B, C, T], the N to predict at; None: all. Nothing is computed at others.

        Returns:
          [B, C, ..., V], or [N, V].
        """
        x = take_positions(hidden, positions)
        width = self.embedding if self.deep_output or self.tie_weights else self.hidden
        if width:
            x = Dense(width, dtype=self.dtype, name="hidden")(x)
        if self.deep_output:
            assert context is not None
            joined = Dense(self.embedding, use_bias=False, dtype=self.dtype, name="context")
            read = joined(take_positions(context, positions))
            x = jnp.tanh(x + take_positions(words, positions) + read)
        if keys is not None and self.dropout:
            # Of all positions, so that it does not matter which are computed.
            keep = draw_kept(keys, (*hidden.shape[:-1], x.shape[-1]), self.dropout)
            x = scale_kept(take_positions(keep, positions), x, self.dropout)
        if self.tie_weights:
            bias = self.param("bias", nn.initializers.zeros, (self.vocabulary_size,))
            return add_bias(product(x, embedding, self.dtype, transposed=True), bias)
        return Dense(self.vocabulary_size, dtype=self.dtype, name="output")(x)
