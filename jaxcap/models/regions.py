"""What the decoder makes of the encoder's regions before attention reads them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcap.models.layers import Affine, Dense, LayerNorm, dropout


class Regions(nn.Module):
    """Normalises, embeds and drops out regions; with every option off, it hands them on.

    Attributes:
      level_channels: how many of a region's D channels come from each level of the encoder; empty
        for an encoder of one level.
      norm: LayerNorm over the channels of every region (Ba et al. 2016), each level by itself.
      embedding: width of a linear layer and ReLU that every region passes next (Rennie et al.
        2017); D is then this width. 0: none.
      layers: how many such layers; each after the first adds to its input (He et al. 2015).
      dropout: of the regions' channels, each in all regions at once.
      dtype: of the matrix products, see `products.product`.
    """

    level_channels: tuple[int, ...] = ()
    norm: bool = False
    embedding: int = 0
    layers: int = 1
    dropout: float = 0.0
    dtype: str = "float32"

    def setup(self) -> None:
        if self.norm:
            self.norms = [LayerNorm() for _ in (self.level_channels or (None,))]
        if self.embedding:
            self.embed = [Dense(self.embedding, dtype=self.dtype) for _ in range(self.layers)]

    def __call__(self, regions: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Prepares the regions.

        Args:
          regions: of the encoder, [B, L, D].
          keys: one random key a photo, [B], for dropout; None in evaluation.

        Returns:
          The regions that attention reads, [B, L, D] with a D of their own.
        """
        # Whole channels (Tompson et al. 2015): element-wise dropout would average out over the
        # regions, which attention adds up.
        drop = functools.partial(dropout, keys, rate=self.dropout, shared=1)
        affine = None
        if self.norm:
            regions, affine = self._normalize(regions)
        if not self.embedding:
            return drop(regions if affine is None else affine(regions))
        regions = drop(nn.relu(self.embed[0](regions, affine)))
        for layer in self.embed[1:]:
            # Keys and shape are the same in every layer, and so are the channels that are dropped.
            regions += drop(nn.relu(layer(regions)))
        return regions

    def _normalize(self, regions: jax.Array) -> tuple[jax.Array, Affine]:
        levels = jnp.split(regions, np.cumsum(self.level_channels[:-1]), axis=-1)
        normalized = []
        affines = []
        for norm, level in zip(self.norms, levels, strict=True):
            level, affine = norm(level)
            normalized.append(level)
            affines.append(affine)
        scale, shift = (jnp.concatenate(parts) for parts in zip(*affines, strict=True))
        return jnp.concatenate(normalized, axis=-1), Affine(scale, shift)
