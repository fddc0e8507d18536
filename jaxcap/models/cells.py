"""Recurrent cells, in one table: what the decoder repeats for every word.

A cell is a linen module with four methods. The decoder knows no more of it, so a new cell is a
class here and a line in `CELLS`, which builds it from the section `decoder` of a config:

  project(words)           [..., E] -> [..., P], the words' share, outside the recurrence
  initial(mean, captions)  the first carry, any pytree of [B, C, ...]
  __call__(carry, projected, context, live)
                           the carry one word later
  output(carry)            [B, C, H], which attends to the regions and predicts the word

In training there are rows [R, ...] in place of [B, C, ...], of which the first `live` still have a
word to come; what a cell computes of the others matters nowhere.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.layers import Dense

LSTMCarry = tuple[jax.Array, jax.Array]


class LSTMCell(nn.Module):
    """An LSTM whose gates read [word, previous hidden, context] (Xu et al. 2015, eq. 1-3).

    Attributes:
      hidden: H.
      init_from_mean: h0 and c0 are linear in the mean region (section 3.1.2); otherwise zeros.
      dtype: of the matrix products, see `products.product`.
    """

    hidden: int
    init_from_mean: bool = False
    dtype: str = "float32"

    def setup(self) -> None:
        # One matrix for all four gates, so that a step is one product.
        self.word = Dense(4 * self.hidden, dtype=self.dtype)
        self.recurrent = Dense(4 * self.hidden, use_bias=False, dtype=self.dtype)
        if self.init_from_mean:
            self.init_h = Dense(self.hidden, dtype=self.dtype)
            self.init_c = Dense(self.hidden, dtype=self.dtype)

    def project(self, words: jax.Array) -> jax.Array:
        """Computes the words' share of the gates, for all positions: [..., E] -> [..., 4H]."""
        return self.word(words)

    def initial(self, mean: jax.Array, captions: int) -> LSTMCarry:
        """Returns the first carry of C captions a photo.

        Args:
          mean: the mean region of each photo, [B, D].
          captions: C.

        Returns:
          Hidden and cell state (h, c), each [B, C, H].
        """
        shape = (mean.shape[0], captions, self.hidden)
        if not self.init_from_mean:
            return jnp.zeros(shape), jnp.zeros(shape)
        h = jnp.broadcast_to(self.init_h(mean)[:, None], shape)
        c = jnp.broadcast_to(self.init_c(mean)[:, None], shape)
        return h, c

    def __call__(
        self,
        carry: LSTMCarry,
        projected: jax.Array,
        context: jax.Array,
        live: jax.Array | None = None,
    ) -> LSTMCarry:
        """Reads one word.

        Args:
          carry: hidden and cell state (h, c), each [B, C, H].
          projected: `project(word)`, [B, C, 4H].
          context: [B, C, D].
          live: of rows [R, ...] the first so many matter; None: all.

        Returns:
          The new (h, c).
        """
        h, c = carry
        read = jnp.concatenate([h, context], axis=-1)
        gates = projected + self.recurrent(read, live=live)  # [B, C, 4H]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return h, c

    def output(self, carry: LSTMCarry) -> jax.Array:
        """Returns the hidden state [B, C, H]."""
        return carry[0]


class GRUCell(nn.Module):
    """A GRU whose gates read [word, previous hidden, context] (Cho et al. 2014, eq. 5-8).

    Update gate z, reset gate r, candidate n and h' = z h + (1 - z) n.

    Attributes:
      hidden: H.
      init_from_mean: h0 is linear in the mean region; otherwise zeros.
      reset_after: the reset gate scales the recurrent product with its bias (cuDNN's form, which
        PyTorch and Keras have); False: it scales the state before the product, as in the paper.
      dtype: of the matrix products, see `products.product`.
    """

    hidden: int
    init_from_mean: bool = False
    reset_after: bool = True
    dtype: str = "float32"

    def setup(self) -> None:
        self.word = Dense(3 * self.hidden, dtype=self.dtype)
        # Apart from the recurrent product, because the reset gate scales that one alone.
        self.context = Dense(3 * self.hidden, use_bias=False, dtype=self.dtype)
        if self.reset_after:
            self.recurrent = Dense(3 * self.hidden, dtype=self.dtype)
        else:
            self.recurrent = Dense(2 * self.hidden, use_bias=False, dtype=self.dtype)
            self.candidate = Dense(self.hidden, use_bias=False, dtype=self.dtype)
        if self.init_from_mean:
            self.init_h = Dense(self.hidden, dtype=self.dtype)

    def project(self, words: jax.Array) -> jax.Array:
        """Computes the words' share of update, reset and candidate: [..., E] -> [..., 3H]."""
        return self.word(words)

    def initial(self, mean: jax.Array, captions: int) -> jax.Array:
        """Returns the first hidden state [B, C, H] of C captions a photo.

        Args:
          mean: the mean region of each photo, [B, D].
          captions: C.
        """
        shape = (mean.shape[0], captions, self.hidden)
        if not self.init_from_mean:
            return jnp.zeros(shape)
        return jnp.broadcast_to(self.init_h(mean)[:, None], shape)

    def __call__(
        self,
        carry: jax.Array,
        projected: jax.Array,
        context: jax.Array,
        live: jax.Array | None = None,
    ) -> jax.Array:
        """Reads one word.

        Args:
          carry: the hidden state, [B, C, H].
          projected: `project(word)`, [B, C, 3H].
          context: [B, C, D].
          live: of rows [R, ...] the first so many matter; None: all.

        Returns:
          The new hidden state.
        """
        z, r, n = jnp.split(projected + self.context(context, live=live), 3, axis=-1)
        shares = jnp.split(self.recurrent(carry, live=live), 3 if self.reset_after else 2, axis=-1)
        z = nn.sigmoid(z + shares[0])
        r = nn.sigmoid(r + shares[1])
        if self.reset_after:
            share = r * shares[2]
        else:
            share = self.candidate(r * carry, live=live)
        n = jnp.tanh(n + share)
        return z * carry + (1 - z) * n

    def output(self, carry: jax.Array) -> jax.Array:
        """Returns the hidden state [B, C, H]."""
        return carry


# Key decoder.cell -> (section decoder of a config, dtype of the products) -> module.
CELLS: dict[str, Callable[[Mapping[str, Any], str], nn.Module]] = {
    "lstm": lambda section, dtype: LSTMCell(section["hidden"], section["init_from_mean"], dtype),
    "gru": lambda section, dtype: GRUCell(
        section["hidden"], section["init_from_mean"], section["reset_after"], dtype
    ),
}
