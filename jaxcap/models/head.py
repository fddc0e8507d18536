"""The output head: from the recurrence's outputs to logits over the vocabulary."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.layers import dense, dropout, product


class Head(nn.Module):
    """Predicts the next word from the hidden state and, as options, from word and context.

    Attributes:
      vocabulary_size: V.
      embedding: E.
      deep_output: word, state and context join in E dimensions before the vocabulary (Xu et al.
        2015, equation 7, with a tanh).
      tie_weights: the output layer is the word embedding itself (Press and Wolf 2017).
      dropout: of the vector that predicts the word.
      dtype: of the matrix products, see `layers.product`.
    """

    vocabulary_size: int
    embedding: int
    deep_output: bool = False
    tie_weights: bool = False
    dropout: float = 0.0
    dtype: str = "float32"

    def setup(self) -> None:
        if self.deep_output:
            self.context = dense(self.embedding, use_bias=False, dtype=self.dtype)
        if self.deep_output or self.tie_weights:
            self.hidden = dense(self.embedding, dtype=self.dtype)
        if self.tie_weights:
            self.bias = self.param("bias", nn.initializers.zeros, (self.vocabulary_size,))
        else:
            self.output = dense(self.vocabulary_size, dtype=self.dtype)

    def __call__(
        self,
        hidden: jax.Array,
        words: jax.Array,
        context: jax.Array | None,
        embedding: jax.Array,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Computes logits.

        Args:
          hidden: the cell's output, [B, C, ..., H].
          words: the embedded words that were read, [B, C, ..., E].
          context: [B, C, ..., D]; read by deep output alone, and None without it.
          embedding: the word embedding [V, E]; read by tied weights alone.
          keys: one random key a photo, [B], for dropout; None in evaluation.

        Returns:
          [B, C, ..., V].
        """
        x = hidden
        if self.deep_output or self.tie_weights:
            x = self.hidden(hidden)
        if self.deep_output:
            x = jnp.tanh(x + words + self.context(context))
        x = dropout(keys, x, self.dropout)
        if self.tie_weights:
            return product(x, embedding, self.dtype, transposed=True) + self.bias
        return self.output(x)
