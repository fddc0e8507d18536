"""Recurrent cells. The decoder asks a cell for its initial state's size and for one step, and knows
no more of it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.layers import dense

Carry = tuple[jax.Array, jax.Array]


class LSTMCell(nn.Module):
    """An LSTM whose gates see [word, previous hidden, context], one matrix for all four (Xu et al.
    2015, eq. 1-3).

    Attributes:
      hidden: H.
      dtype: of the matrix products, see `layers.product`.
    """

    hidden: int
    dtype: str = "float32"

    def setup(self) -> None:
        self.word = dense(4 * self.hidden, dtype=self.dtype)
        self.recurrent = dense(4 * self.hidden, use_bias=False, dtype=self.dtype)

    def project(self, words: jax.Array) -> jax.Array:
        """The words' share of the gates, for all positions at once: [..., E] -> [..., 4H]."""
        return self.word(words)

    def __call__(
        self, carry: Carry, projected: jax.Array, context: jax.Array
    ) -> tuple[Carry, jax.Array]:
        """One step.

        Args:
          carry: hidden and cell state (h, c), each [B, C, H].
          projected: `project(word)`, [B, C, 4H].
          context: [B, C, D].

        Returns:
          The new carry, and the output [B, C, H] that predicts the word.
        """
        h, c = carry
        gates = projected + self.recurrent(jnp.concatenate([h, context], axis=-1))  # [B, C, 4H]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h
