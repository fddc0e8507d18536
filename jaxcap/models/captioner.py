"""The captioner: an encoder that turns photos into regions, and a decoder that reads them."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcap.models.convolution_forms import FLOAT32, Arithmetic
from jaxcap.models.decoder import Carry, Decoder, Memory, build_decoder
from jaxcap.models.encoder import Encoder, build_encoder
from jaxcap.models.params import draw_variables


class Captioner(nn.Module):
    """Photo (or what is cached of it) and words in, the next words and the attention out.

    Attributes:
      encoder: photos uint8 [B, S, S, 3] to regions [B, L, D].
      decoder: reads regions.
    """

    encoder: Encoder
    decoder: Decoder

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return self.decoder.vocabulary_size

    def encode(self, images: jax.Array) -> jax.Array:
        """Encodes photos uint8 [B, S, S, 3] as regions [B, L, D]."""
        return self.encoder(images)

    def encode_lower(self, images: jax.Array) -> jax.Array:
        """Encodes photos as the grids [B, h * w, C] that enter the first stage that learns.

        Row by row; see `Encoder.lower`.
        """
        grid = self.encoder.lower(images)
        return grid.reshape(grid.shape[0], -1, grid.shape[-1])

    def regions(self, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the regions float32 [B, L, D] of a batch.

        Args:
          batch: "features" [B, L, D], which are the regions; "grid" [B, h * w, C], what
            `encode_lower` returns; or "images" uint8 [B, S, S, 3].
        """
        if "features" in batch:
            return batch["features"].astype(jnp.float32)
        if "grid" in batch:
            grid = batch["grid"].astype(jnp.float32)
            side = math.isqrt(grid.shape[1])  # photos are square, and so are their grids
            return self.encoder.upper(grid.reshape(grid.shape[0], side, side, -1))
        return self.encode(batch["images"])

    def __call__(
        self, batch: Mapping[str, Any], keys: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Teacher forcing over the batch's captions.

        Args:
          batch: "tokens" [B, C, T + 1] int32, what `regions` reads and, to predict at some
            positions alone, "positions", see `Decoder`.
          keys: one random key a photo, [B], for dropout; None in evaluation.

        Returns:
          Logits [B, C, T, V] (or [N, V]) that predict tokens[..., 1:], and attention
          [B, C, T, L].
        """
        read = batch["tokens"][..., :-1]
        return self.decoder(self.regions(batch), read, keys, batch.get("positions"))

    def start(
        self, regions: jax.Array, captions: int, keys: jax.Array | None = None
    ) -> tuple[Memory, Carry]:
        """Prepares photos for decoding, see `Decoder.start`."""
        return self.decoder.start(regions, captions, keys)

    def project_vocabulary(self) -> jax.Array:
        """Returns the cell's input projection of every word, see `Decoder.project_vocabulary`."""
        return self.decoder.project_vocabulary()

    def step(
        self,
        carry: Carry,
        memory: Memory,
        tokens: jax.Array,
        projected_embedding: jax.Array | None = None,
    ) -> tuple[Carry, jax.Array, jax.Array]:
        """Decodes one word, see `Decoder.step`."""
        return self.decoder.step(carry, memory, tokens, projected_embedding)


def build_captioner(
    config: Mapping[str, Any],
    vocabulary_size: int,
    *,
    pool: str,
    normalization: str,
    dtype: str,
    arithmetic: Arithmetic = FLOAT32,
    on_processor: bool = True,
    denoiser: Mapping[str, Any] | None = None,
) -> Captioner:
    """Builds the captioner that a config describes.

    Args:
      config: with the sections encoder, embedding, regions, decoder and head.
      vocabulary_size: V.
      pool: how the encoder pools, as its weights want it.
      normalization: how its weights want photos normalised.
      dtype: of the decoder's products, for the config may leave it open.
      arithmetic: of the encoder's convolutions.
      on_processor: see `Decoder`.
      denoiser: the encoder's first step, as `denoiser.build_denoiser` takes it; None for none.

    Returns:
      The module; it holds no parameters.
    """
    encoder = build_encoder(
        config["encoder"],
        pool=pool,
        normalization=normalization,
        arithmetic=arithmetic,
        denoiser=denoiser,
    )
    decoder = build_decoder(
        config,
        vocabulary_size,
        level_channels=encoder.level_channels,
        dtype=dtype,
        on_processor=on_processor,
    )
    return Captioner(encoder, decoder)


def draw_captioner(
    model: Captioner, key: jax.Array, size: int, *, encoder: bool = True
) -> dict[str, Any]:
    """Draws the parameters of a captioner.

    Encoder and decoder are drawn by programs of their own, which the captioners share that have one
    of them in common. The values are those of `model.init`.

    Args:
      model: the captioner.
      key: to draw with.
      size: of the photos, in pixels.
      encoder: whether its parameters are drawn too.
    """
    rows, columns = model.encoder.grid(size)
    channels = sum(model.encoder.level_channels)
    batch = {
        "features": np.zeros((1, rows * columns, channels), np.float32),
        "tokens": np.ones((1, 1, 2), np.int32),
    }
    params = draw_variables(model.clone(encoder=None), key, batch)["params"]
    if encoder:
        photo = np.zeros((1, size, size, 3), np.uint8)
        alone = model.clone(decoder=None)
        params |= draw_variables(alone, key, photo, method="encode")["params"]
    return params
