"""An ensemble: several captioners that write one caption, by the mean of their probabilities."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.captioner import Captioner
from jaxcap.models.decoder import Carry, Memory
from jaxcap.models.encoder import Encoder


class Ensemble(nn.Module):
    """Captioners of one vocabulary and one grid of regions, read as one; for search alone.

    It has the methods of a `Captioner` that search calls. What these pass on to each other is a
    tuple with an entry for each member. Ensembles of captioners: Vinyals et al., "Show and Tell:
    Lessons learned from the 2015 MSCOCO Image Captioning Challenge" (2016,
    https://arxiv.org/abs/1609.06647).

    Attributes:
      members: the captioners. Their decoders may differ.
      shares_encoder: all have the same encoder with the same parameters, so that the first one's
        encodes for all, and the others' need not be there.
    """

    members: tuple[Captioner, ...]
    shares_encoder: bool = False

    @property
    def encoder(self) -> Encoder:
        """The first member's encoder, whose grid is everyone's."""
        return self.members[0].encoder

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.members[0].vocabulary_size

    def regions(self, batch: Mapping[str, jax.Array]) -> tuple[jax.Array, ...]:
        """Returns each member's regions of a batch, see `Captioner.regions`."""
        if self.shares_encoder:
            return (self.members[0].regions(batch),) * len(self.members)
        return tuple(member.regions(batch) for member in self.members)

    def start(
        self, regions: tuple[jax.Array, ...], captions: int, keys: jax.Array | None = None
    ) -> tuple[tuple[Memory, ...], tuple[Carry, ...]]:
        """Prepares photos for decoding, see `Decoder.start`."""
        memories = []
        carries = []
        for member, of_member in zip(self.members, regions, strict=True):
            memory, carry = member.start(of_member, captions, keys)
            memories.append(memory)
            carries.append(carry)
        return tuple(memories), tuple(carries)

    def project_vocabulary(self) -> tuple[jax.Array, ...]:
        """Returns each member's projection of every word, see `Decoder.project_vocabulary`."""
        return tuple(member.project_vocabulary() for member in self.members)

    def step(
        self,
        carry: tuple[Carry, ...],
        memory: tuple[Memory, ...],
        tokens: jax.Array,
        projected_embedding: tuple[jax.Array, ...] | None = None,
    ) -> tuple[tuple[Carry, ...], jax.Array, jax.Array]:
        """Decodes one word.

        Args:
          carry: of each member, a pytree of [B, C, ...].
          memory: of each member, from `start`.
          tokens: the previous words, [B, C] int32.
          projected_embedding: from `project_vocabulary`; None to project these words alone.

        Returns:
          The new carries, the logarithm of the members' mean probability of each next word
          [B, C, V], which are logits too, and the members' mean attention [B, C, L].
        """
        carries = []
        log_probs = []
        attention = []
        for index, member in enumerate(self.members):
            projected = None if projected_embedding is None else projected_embedding[index]
            new, logits, attended = member.step(carry[index], memory[index], tokens, projected)
            carries.append(new)
            log_probs.append(jax.nn.log_softmax(logits.astype(jnp.float32)))
            attention.append(attended)
        total = jax.nn.logsumexp(jnp.stack(log_probs), axis=0)
        mean = total - jnp.log(float(len(self.members)))
        return tuple(carries), mean, jnp.stack(attention).mean(axis=0)
