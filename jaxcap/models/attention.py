"""Additive soft attention over the regions of a photo."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.layers import dense

ACTIVATIONS = {"relu": nn.relu, "tanh": jnp.tanh}


class AdditiveAttention(nn.Module):
    """score = v . f(W_features a + W_hidden h), softmax over the regions (Bahdanau et al. 2015; Xu et al. 2015, eq. 4-5).

    Attributes:
      width: A, the space in which regions and hidden state meet.
      activation: f, "relu" or "tanh".
    """

    width: int
    activation: str = "relu"

    def setup(self) -> None:
        self.features = dense(self.width)
        self.hidden = dense(self.width)
        self.score = dense(1, use_bias=False)  # a bias would cancel in the softmax

    def project(self, features: jax.Array) -> jax.Array:
        """Projects the regions once a photo, outside the recurrence: [B, L, D] -> [B, L, A]."""
        return self.features(features)

    def __call__(self, hidden: jax.Array, projected: jax.Array, features: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Looks at the photo once.

        Args:
          hidden: the state of each of a photo's C captions, [B, C, H].
          projected: `project(features)`, [B, L, A].
          features: [B, L, D].

        Returns:
          The context vector [B, C, D] and the attention [B, C, L], which sums to 1 over L.
        """
        query = self.hidden(hidden)  # [B, C, A]
        joined = ACTIVATIONS[self.activation](projected[:, None] + query[:, :, None])  # [B, C, L, A]
        weights = nn.softmax(self.score(joined)[..., 0], axis=-1)  # [B, C, L]
        # One matrix product a photo serves all of its captions (or beams).
        return jnp.einsum("bcl,bld->bcd", weights, features), weights


class ContextGate(nn.Module):
    """Lets the previous hidden state decide how much of each channel of the context is heard."""

    @nn.compact
    def __call__(self, hidden: jax.Array, context: jax.Array) -> jax.Array:
        """Gates the context [B, C, D] by sigmoid(W h) of the hidden state [B, C, H]."""
        return nn.sigmoid(dense(context.shape[-1], name="gate")(hidden)) * context
