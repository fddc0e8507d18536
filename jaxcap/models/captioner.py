"""The captioner: an encoder that turns a photo into a grid of regions, and a decoder that writes
from it.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.inputs.images import normalize
from jaxcap.models.decoder import Decoder, Memory
from jaxcap.models.resnet import ResNet


class Captioner(nn.Module):
    """Photo (or its cached features) and words in, the next words and the attention out.

    Attributes:
      encoder: any module from normalised photos [B, S, S, 3] to a grid [B, h, w, D].
      decoder: reads regions [B, L, D].
      convention: how the encoder's weights want their input normalised, see `images.normalize`.
    """

    encoder: nn.Module
    decoder: Decoder
    convention: str = "imagenet"

    def encode(self, images: jax.Array) -> jax.Array:
        """Returns the regions [B, L, D], row by row of the grid, of photos [B, S, S, 3] uint8."""
        grid = self.encoder(normalize(images, self.convention))  # [B, h, w, D]
        return grid.reshape(grid.shape[0], -1, grid.shape[-1])

    def regions(self, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the regions [B, L, D] float32 of a batch that holds "features" [B, L, D] or
        "images".
        """
        if "features" in batch:
            return batch["features"].astype(jnp.float32)
        return self.encode(batch["images"])

    def __call__(
        self, batch: Mapping[str, jax.Array], keys: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Teacher forcing over the batch's captions.

        Args:
          batch: "tokens" [B, C, T + 1] int32, and "features" or "images".
          keys: one random key a photo, [B], for dropout; None in evaluation.

        Returns:
          Logits [B, C, T, V] that predict tokens[..., 1:], and attention [B, C, T, L].
        """
        return self.decoder(self.regions(batch), batch["tokens"][..., :-1], keys)

    def start(self, features: jax.Array, captions: int, keys: jax.Array | None = None):
        """See `Decoder.start`."""
        return self.decoder.start(features, captions, keys)

    def table(self) -> jax.Array:
        """See `Decoder.table`."""
        return self.decoder.table()

    def step(self, carry: Any, memory: Memory, tokens: jax.Array, table: jax.Array | None = None):
        """See `Decoder.step`."""
        return self.decoder.step(carry, memory, tokens, table)


def build(
    config: Mapping[str, Any], vocabulary_size: int, *, pool: str, convention: str, dtype: str
) -> Captioner:
    """Builds the captioner that a config describes.

    Args:
      config: an experiment's config, with sections encoder, embedding and decoder.
      vocabulary_size: V.
      pool: the encoder's max-pool, "padded" or "ceil", as its weights want it.
      convention: how its weights want photos normalised.
      dtype: of the decoder's products, for the config may leave it open.

    Returns:
      The module; it holds no parameters.
    """
    encoder, decoder = config["encoder"], config["decoder"]
    names = ("stage_sizes", "width", "levels", "layout")
    resnet = ResNet(**{name: encoder[name] for name in names}, pool=pool)
    return Captioner(
        encoder=resnet,
        decoder=Decoder(
            vocabulary_size,
            level_channels=resnet.level_channels,
            embedding=config["embedding"]["dim"],
            **{**decoder, "dtype": dtype},
        ),
        convention=convention,
    )
