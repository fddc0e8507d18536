"""The decoder: a recurrence with attention that reads a photo's regions and writes its captions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models import recurrence
from jaxcap.models.attention import AdditiveAttention, ContextGate
from jaxcap.models.cells import CELLS
from jaxcap.models.head import Head
from jaxcap.models.layers import dropout
from jaxcap.models.order import Order, order_captions
from jaxcap.models.params import Embed
from jaxcap.models.positions import Positions, take_positions
from jaxcap.models.regions import Regions

Carry = Any  # of the cell: a pytree of [B, C, ...]
_Outputs = tuple[jax.Array, jax.Array | None, jax.Array]  # of the recurrence
_READ_BY_SCAN = ("attend", "gate", "cell")  # the submodules that `_recur` calls


class Memory(NamedTuple):
    """What the decoder keeps of a photo.

    Attributes:
      regions: [B, L, D].
      projected: the regions' share of the attention's scores, [B, L, A].
    """

    regions: jax.Array
    projected: jax.Array


class Decoder(nn.Module):
    """Show, Attend and Tell (Xu et al. 2015) with soft attention, around any cell of `cells.CELLS`.

    The C captions of a photo are decoded side by side, [B, C, ...], over one copy of its regions.
    In search the same axis holds the K beams.

    Attributes:
      vocabulary_size: V.
      embedding: E.
      regions: prepares the encoder's regions [B, L, D].
      cell: the recurrent cell, of H hidden units.
      head: predicts words.
      attention: A.
      activation: of the attention, "relu" or "tanh".
      context_gate: the context passes a sigmoid gate of the previous hidden state (section 4.2.1,
        one gate a channel).
      stateless: the cell starts every word from zeros; the state that it returns is read by the
        attention alone. A fault of published code, kept so that its results can be repeated.
      word_dropout: of the embedded words.
      dtype: of the matrix products, see `products.product`.
      on_processor: computes as processors want it: attends to a photo's captions one by one, see
        `AdditiveAttention`, and leaves out those that have ended. False: as accelerators do. The
        results are the same but for rounding.
    """

    vocabulary_size: int
    embedding: int
    regions: nn.Module
    cell: nn.Module
    head: Head
    attention: int
    activation: str = "relu"
    context_gate: bool = False
    stateless: bool = False
    word_dropout: float = 0.0
    dtype: str = "float32"
    on_processor: bool = True

    def setup(self) -> None:
        self.embed = Embed(
            self.vocabulary_size, self.embedding, embedding_init=nn.initializers.normal(0.1)
        )
        self.attend = AdditiveAttention(
            self.attention, self.activation, self.dtype, one_by_one=self.on_processor
        )
        if self.context_gate:
            self.gate = ContextGate(self.dtype)

    def __call__(
        self,
        regions: jax.Array,
        tokens: jax.Array,
        keys: jax.Array | None = None,
        positions: Positions | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Teacher forcing: predicts, at every position, the word after `tokens`.

        Args:
          regions: [B, L, D].
          tokens: [B, C, T] int32, beginning with <start>.
          keys: one random key a photo, [B], for dropout; None in evaluation.
          positions: the N to predict at, the first ones of each caption; None: all.

        Returns:
          Logits [B, C, T, V] (or [N, V] at N positions) and attention [B, C, T, L], which means
          nothing at other positions.
        """
        memory, carry = self.start(regions, tokens.shape[1], keys)
        word_keys, head_keys, _ = _split_keys(keys)
        words = dropout(word_keys, self.embed(tokens), self.word_dropout)  # [B, C, T, E]
        # What needs no recurrence is computed for all positions at once, before and after the scan.
        if positions is None:
            # Words are moved before they are projected: what becomes of them is wider.
            projected = self.cell.project(jnp.moveaxis(words, 2, 0))  # [T, B, C, P]
            outputs = self._run(None, carry, memory, projected)
            hidden, context, attention = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 2), outputs)
        else:
            order = order_captions(positions, tokens.shape[2], by_length=self.on_processor)
            words = take_positions(words, positions)  # [N, E]
            projected = order.put(self.cell.project(words))
            projected = projected.reshape(tokens.shape[2], -1, projected.shape[-1])  # [T, R, P]
            outputs = self._run(order, order.sort(carry), memory, projected)
            hidden, context = jax.tree.map(order.take, outputs[:2])
            attention = jnp.moveaxis(outputs[2], 0, 2)
        # Dropout is drawn for all positions, so that it does not matter which are computed.
        keep = self.head.draw_kept(head_keys, (*tokens.shape, hidden.shape[-1]))
        if keep is not None:
            keep = take_positions(keep, positions)
        logits = self.head(hidden, words, context, self.embed.embedding, keep)
        return logits, attention

    def start(
        self, regions: jax.Array, captions: int, keys: jax.Array | None = None
    ) -> tuple[Memory, Carry]:
        """Prepares photos for decoding.

        Args:
          regions: of the encoder, [B, L, D].
          captions: C, how many captions (or beams) of each photo are decoded side by side.
          keys: one random key a photo, [B], for dropout; None in evaluation.

        Returns:
          The memory that `step` reads, and the cell's first carry.
        """
        _, _, region_keys = _split_keys(keys)
        regions = self.regions(regions, region_keys)
        carry = self.cell.initial(regions.mean(axis=1), captions)
        return Memory(regions, self.attend.project(regions)), carry

    def project_vocabulary(self) -> jax.Array:
        """Returns the cell's input projection of every word, [V, P].

        A long search looks a row up instead of multiplying.
        """
        return self.cell.project(self.embed.embedding)

    def step(
        self,
        carry: Carry,
        memory: Memory,
        tokens: jax.Array,
        projected_embedding: jax.Array | None = None,
    ) -> tuple[Carry, jax.Array, jax.Array]:
        """Decodes one word, for search.

        Args:
          carry: of the cell, a pytree of [B, C, ...].
          memory: from `start`.
          tokens: the previous words, [B, C] int32.
          projected_embedding: from `project_vocabulary`; None to project these words alone.

        Returns:
          The new carry, the next word's logits [B, C, V] and the attention [B, C, L].
        """
        words = self.embed(tokens)  # [B, C, E]
        if projected_embedding is None:
            projected = self.cell.project(words)  # [B, C, P]
        else:
            projected = projected_embedding[tokens]
        carry, (hidden, context, attention) = self._recur(carry, None, memory, projected, None)
        return carry, self.head(hidden, words, context, self.embed.embedding), attention

    def _run(self, order: Order | None, *inputs: Any) -> _Outputs:
        """Runs the recurrence over all positions: `_scan` with a faster gradient."""
        if self.is_mutable_collection("params"):  # they are drawn
            return self._scan(order, *inputs)
        module, variables = self.unbind()
        params = variables["params"]
        read = {name: params[name] for name in _READ_BY_SCAN if name in params}
        positions = None if order is None else order.positions
        return recurrence.run(module, "_scan", positions, read, order, *inputs)

    def _scan(
        self, order: Order | None, carry: Carry, memory: Memory, projected: jax.Array
    ) -> _Outputs:
        """Repeats `_recur` over projected words [T, B, C, P], or [T, R, P] in an order.

        Returns:
          Its results at all positions, [T, ...].
        """
        scan = nn.scan(
            Decoder._recur,
            variable_broadcast="params",
            variable_axes=recurrence.VARIABLE_AXES,
            split_rngs={"params": False},
            in_axes=(nn.broadcast, nn.broadcast, 0, 0),
        )
        live = None if order is None else order.live
        return scan(self, carry, order, memory, projected, live)[1]

    def _recur(
        self,
        carry: Carry,
        order: Order | None,
        memory: Memory,
        projected: jax.Array,
        live: jax.Array | None,
    ) -> tuple[Carry, _Outputs]:
        """Attends once and steps the cell once: the body of the scan.

        Args:
          carry: of the cell.
          order: in which the captions come; then all but the attention has rows [R, ...] for
            [B, C, ...].
          memory: from `start`.
          projected: the words' share of the cell's input, [B, C, P].
          live: of rows the first so many matter; None: all.

        Returns:
          The new carry, and (hidden [B, C, H], context [B, C, D] or None, attention [B, C, L]).
        """
        query = self.cell.output(carry)
        context, attention = self.attend(query, memory.projected, memory.regions, order, live)
        if self.context_gate:
            context = self.gate(query, context, live)
        if self.stateless:
            carry = jax.tree.map(jnp.zeros_like, carry)
        carry = self.cell(carry, projected, context, live)
        # Deep output alone reads the context after the scan: for the others it need not be stacked.
        kept = context if self.head.deep_output else None
        return carry, (self.cell.output(carry), kept, attention)


def build_decoder(
    config: Mapping[str, Any],
    vocabulary_size: int,
    *,
    level_channels: tuple[int, ...] = (),
    dtype: str = "float32",
    on_processor: bool = True,
) -> Decoder:
    """Builds the decoder that a config describes.

    Args:
      config: with the sections embedding, regions, decoder and head.
      vocabulary_size: V.
      level_channels: of the encoder.
      dtype: of the matrix products; the config's may be "auto".
      on_processor: see `Decoder`.

    Returns:
      The module; it holds no parameters.
    """
    section = config["decoder"]
    embedding = config["embedding"]["dim"]
    return Decoder(
        vocabulary_size=vocabulary_size,
        embedding=embedding,
        regions=Regions(level_channels=level_channels, dtype=dtype, **config["regions"]),
        cell=CELLS[section["cell"]](section, dtype),
        head=Head(vocabulary_size, embedding, dtype=dtype, **config["head"]),
        attention=section["attention"],
        activation=section["activation"],
        context_gate=section["context_gate"],
        stateless=section["stateless"],
        word_dropout=section["word_dropout"],
        dtype=dtype,
        on_processor=on_processor,
    )


def _split_keys(keys: jax.Array | None) -> jax.Array | tuple[None, None, None]:
    """Splits each photo's key into three, [B] -> [3, B]: of words, head and regions."""
    if keys is None:
        return None, None, None
    return jax.vmap(lambda key: jax.random.split(key, 3), out_axes=1)(keys)
