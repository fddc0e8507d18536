"""Losses as (sum, count) pairs, so that they add up exactly over ragged batches and devices and are
divided once.
"""

import jax
import jax.numpy as jnp

from jaxcap.text import PAD


def real_words(targets: jax.Array) -> jax.Array:
    """Returns the mask [B, C, T] (float32) of the positions that count: every word and <end>, no
    padding.
    """
    return (targets != PAD).astype(jnp.float32)


def cross_entropy(
    logits: jax.Array, targets: jax.Array, mask: jax.Array, label_smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Masked cross-entropy of teacher forcing, in nats.

    Args:
      logits: [B, C, T, V].
      targets: [B, C, T] int32, the words to predict.
      mask: [B, C, T] float32, 1 where a position counts.
      label_smoothing: mass spread evenly over the vocabulary (Szegedy et al. 2016, section 7); 0 is
        plain.

    Returns:
      The sum over the counted positions and their number, both float32 scalars.
    """
    log_normaliser = jax.nn.logsumexp(logits, axis=-1)  # [B, C, T]
    # Picked by a sum over the vocabulary that fuses with its neighbours; the gradient of an index
    # would be a scatter.
    chosen = targets[..., None] == jnp.arange(logits.shape[-1])  # [B, C, T, V]
    target = jnp.where(chosen, logits, 0).sum(axis=-1)  # [B, C, T]
    nats = log_normaliser - target
    if label_smoothing:
        nats = (1 - label_smoothing) * nats + label_smoothing * (log_normaliser - logits.mean(-1))
    return (nats * mask).sum(), mask.sum()


def doubly_stochastic(attention: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The term that asks every region to be looked at once in all (Xu et al. 2015, equation 14).

    Args:
      attention: [B, C, T, L], each row a distribution over the regions.
      mask: [B, C, T] float32; padded positions add no attention.

    Returns:
      The sum of (1 - sum_t attention)^2 over regions of captions that hold a word, and the number
      of those regions.
    """
    looked = (attention * mask[..., None]).sum(axis=-2)  # [B, C, L]
    real = mask.max(axis=-1)  # [B, C]
    return (jnp.square(1 - looked) * real[..., None]).sum(), real.sum() * attention.shape[-1]
