"""Additive soft attention over the regions of a photo."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.layers import Dense, uniform_fan_in
from jaxcap.models.order import Order
from jaxcap.models.params import Params

ACTIVATIONS = {"relu": nn.relu, "tanh": jnp.tanh}


class AdditiveAttention(Params, nn.Module):
    """score = v . f(W_features a + W_hidden h), softmax over the regions.

    Bahdanau et al. 2015; Xu et al. 2015, equations 4 and 5.

    Attributes:
      width: A, the space in which regions and hidden state meet.
      activation: f, "relu" or "tanh".
      dtype: of the matrix products, see `products.product`.
      one_by_one: attends for a photo's captions one after another, as processors want it; False:
        for all at once, as accelerators do. The results are the same but for rounding.
    """

    width: int
    activation: str = "relu"
    dtype: str = "float32"
    one_by_one: bool = True

    def setup(self) -> None:
        self.features = Dense(self.width, dtype=self.dtype)
        self.hidden = Dense(self.width, dtype=self.dtype)
        self.score = self.param(
            "score", uniform_fan_in, (self.width, 1)
        )  # a bias would cancel in the softmax

    def project(self, features: jax.Array) -> jax.Array:
        """Projects the regions once a photo, outside the recurrence: [B, L, D] -> [B, L, A]."""
        return self.features(features)

    def __call__(
        self,
        hidden: jax.Array,
        projected: jax.Array,
        features: jax.Array,
        order: Order | None = None,
        live: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Looks at the photo once.

        Args:
          hidden: the state of each of a photo's C captions, [B, C, H].
          projected: `project(features)`, [B, L, A].
          features: [B, L, D].
          order: in which the captions come; then the states are rows [R, H].
          live: of these the first so many matter; None: all.

        Returns:
          The context vector [B, C, D] ([R, D] in an order) and the attention [B, C, L], which sums
          to 1 over L.
        """
        query = self.hidden(hidden, live=live)
        if order is not None:
            query = order.restore(query, len(projected))
        weights = nn.softmax(self._scores(query, projected), axis=-1)  # [B, C, L]
        context = self._average(weights, features)
        return context if order is None else order.sort(context), weights

    def _scores(self, query: jax.Array, projected: jax.Array) -> jax.Array:
        """Scores [B, C, L] of the regions for queries [B, C, A]."""
        activation = ACTIVATIONS[self.activation]
        score = self.score

        # Computed again for the gradient: [B, C, L, A] kept for every word of the scan outgrows the
        # memory.
        @functools.partial(jax.checkpoint, prevent_cse=False)
        def scores_of(query: jax.Array, projected: jax.Array) -> jax.Array:
            return (activation(projected + query[..., None, :]) @ score)[..., 0]

        if not self.one_by_one:
            return scores_of(query, projected[:, None])  # [B, C, L]
        # [B, C, L, A] outgrows a processor's caches: on two cores this is 3 times as fast.
        return _map_captions(lambda of_one: scores_of(of_one, projected), query)

    def _average(self, weights: jax.Array, features: jax.Array) -> jax.Array:
        """Averages the regions [B, L, D] with the weights [B, C, L] of each caption: [B, C, D]."""
        if not self.one_by_one:
            # One matrix product a photo serves all of its captions (or beams).
            return jnp.einsum("bcl,bld->bcd", weights, features)
        # The gradient of a product with few rows takes XLA up to 25 times as long on processors as
        # those of as many products with one.
        return _map_captions(lambda of_one: jnp.einsum("bl,bld->bd", of_one, features), weights)


def _map_captions(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies a function of arrays [B, ...] to each caption of x [B, C, ...], one after another."""
    return jax.lax.map(function, x.swapaxes(0, 1)).swapaxes(0, 1)


class ContextGate(nn.Module):
    """Lets the previous hidden state decide how much of each channel of the context passes.

    Attributes:
      dtype: of the matrix product, see `products.product`.
    """

    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, hidden: jax.Array, context: jax.Array, live: jax.Array | None = None
    ) -> jax.Array:
        """Gates the context by sigmoid(W h) of the hidden state.

        Args:
          hidden: [..., H].
          context: [..., D].
          live: of rows [R, ...] the first so many matter; None: all.
        """
        gate = Dense(context.shape[-1], dtype=self.dtype, name="gate")
        return nn.sigmoid(gate(hidden, live=live)) * context
