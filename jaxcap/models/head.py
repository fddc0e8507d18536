"""The output head: from the recurrence's outputs to logits over the vocabulary."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.layers import Dense, draw_kept, scale_kept
from jaxcap.models.params import Params
from jaxcap.models.products import add_bias, product


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
      dtype: of the matrix products, see `products.product`.
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
        keep: jax.Array | None = None,
    ) -> jax.Array:
        """Computes logits.

        Args:
          hidden: the cell's output, [..., H].
          words: the embedded words that were read, [..., E].
          context: [..., D]; read by deep output alone, and None without it.
          embedding: the word embedding [V, E]; read by tied weights alone.
          keep: from `draw_kept`; None in evaluation.

        Returns:
          [..., V].
        """
        x = hidden
        if self._width:
            x = Dense(self._width, dtype=self.dtype, name="hidden")(x)
        if self.deep_output:
            assert context is not None
            joined = Dense(self.embedding, use_bias=False, dtype=self.dtype, name="context")
            x = jnp.tanh(x + words + joined(context))
        if keep is not None:
            x = scale_kept(keep, x, self.dropout)
        if self.tie_weights:
            bias = self.param("bias", nn.initializers.zeros, (self.vocabulary_size,))
            return add_bias(product(x, embedding, self.dtype, transposed=True), bias)
        return Dense(self.vocabulary_size, dtype=self.dtype, name="output")(x)

    def draw_kept(self, keys: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
        """Draws what dropout keeps of the vectors that predict the words.

        Args:
          keys: one random key a photo, [B]; None in evaluation.
          shape: of the cell's output, (B, ..., H).

        Returns:
          Booleans [B, ..., width of the vectors]; None without dropout.
        """
        if keys is None or not self.dropout:
            return None
        return draw_kept(keys, (*shape[:-1], self._width or shape[-1]), self.dropout)

    @property
    def _width(self) -> int:
        """Of the layer before the vocabulary; 0: there is none."""
        return self.embedding if self.deep_output or self.tie_weights else self.hidden
