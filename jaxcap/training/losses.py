"""Losses as (sum, count) pairs, which add up exactly over ragged batches and devices."""

import jax
import jax.numpy as jnp

from jaxcap.text import PAD

SumCount = tuple[jax.Array, jax.Array]
AVERAGES = ("words", "positions")


def target_mask(targets: jax.Array) -> jax.Array:
    """Returns the mask float32 [B, C, T] of every word and <end>, without padding."""
    return (targets != PAD).astype(jnp.float32)


def cross_entropy(
    logits: jax.Array, targets: jax.Array, mask: jax.Array, label_smoothing: float = 0.0
) -> SumCount:
    """Masked cross-entropy of teacher forcing, in nats.

    Args:
      logits: [B, C, T, V].
      targets: [B, C, T] int32, the words to predict.
      mask: [B, C, T] float32, by which each position is weighted; 1 where it counts.
      label_smoothing: mass spread evenly over the vocabulary (Szegedy et al. 2016, section 7); 0
        is plain.

    Returns:
      The weighted sum over the positions, and the sum of the weights, both float32 scalars.
    """
    log_normalizer = jax.nn.logsumexp(logits, axis=-1)  # [B, C, T]
    # Picked by a sum over the vocabulary that fuses with its neighbours; the gradient of an index
    # would be a scatter.
    is_target = targets[..., None] == jnp.arange(logits.shape[-1])  # [B, C, T, V]
    target_logits = jnp.where(is_target, logits, 0).sum(axis=-1)  # [B, C, T]
    nats = log_normalizer - target_logits
    if label_smoothing:
        uniform = log_normalizer - logits.mean(-1)
        nats = (1 - label_smoothing) * nats + label_smoothing * uniform
    return (nats * mask).sum(), mask.sum()


def count_positions(targets: jax.Array, positions: int) -> jax.Array:
    """Counts all positions of the padded captions, <start>'s among them: a float32 scalar.

    One of the published systems divides by them, which makes its loss smaller and comparable with
    no other. A caption without a word only fills a batch up, and has no position.

    Args:
      targets: [B, C, T] int32.
      positions: that a padded caption has; more than T + 1 where the batch was shortened.
    """
    has_words = target_mask(targets).max(axis=-1)  # [B, C]
    return has_words.sum() * positions


def doubly_stochastic(attention: jax.Array, mask: jax.Array) -> SumCount:
    """The penalty on regions whose attention does not sum to 1 over a sentence.

    Xu et al. 2015, equation 14.

    Args:
      attention: [B, C, T, L], each row a distribution over the regions.
      mask: [B, C, T] float32; padded positions add no attention.

    Returns:
      The sum of (1 - sum_t attention)^2 over regions of captions that hold a word, and the number
      of those regions.
    """
    total = (attention * mask[..., None]).sum(axis=-2)  # [B, C, L]
    has_words = mask.max(axis=-1)  # [B, C]
    penalty = (jnp.square(1 - total) * has_words[..., None]).sum()
    return penalty, has_words.sum() * attention.shape[-1]
