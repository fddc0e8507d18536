"""The denoiser: a small convolutional autoencoder that takes the noise out of photos.

Vincent et al. 2010, "Stacked Denoising Autoencoders" (https://jmlr.org/papers/v11/vincent10a.html),
with convolutions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.params import Conv


class Denoiser(nn.Module):
    """Noisy photos in, photos of the same size with less noise out.

    Each width halves the photo's sides once, and the way back doubles them as often. No connection
    leads around the narrow middle, so that fine detail is lost with the noise.

    Attributes:
      widths: channels after each halving.
    """

    widths: Sequence[int] = (32, 64)

    @nn.compact
    def __call__(self, photos: jax.Array) -> jax.Array:
        """Denoises photos in RGB.

        Args:
          photos: float32 [B, H, W, 3] in [0, 1], of any size.

        Returns:
          float32 [B, H, W, 3] in [0, 1].
        """
        height = photos.shape[1]
        width = photos.shape[2]
        x = pad_sides(photos, 2 ** len(self.widths))
        for level, channels in enumerate(self.widths):
            x = nn.relu(_convolution(channels, 2, f"down_{level}")(x))
        x = nn.relu(_convolution(self.widths[-1], 1, "middle")(x))
        for level in reversed(range(1, len(self.widths))):
            x = nn.relu(_convolution(self.widths[level - 1], 1, f"up_{level}")(double_sides(x)))
        x = _convolution(3, 1, "up_0")(double_sides(x))
        return nn.sigmoid(x)[:, :height, :width]


def build_denoiser(section: Mapping[str, Any]) -> Denoiser:
    """Builds the denoiser that a section `denoiser` of a config describes; it has no parameters."""
    return Denoiser(widths=tuple(section["widths"]))


def pad_sides(photos: jax.Array, multiple: int) -> jax.Array:
    """Repeats the last row and column until both sides of [B, H, W, C] divide by `multiple`."""
    down = -photos.shape[1] % multiple
    right = -photos.shape[2] % multiple
    return jnp.pad(photos, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")


def double_sides(x: jax.Array) -> jax.Array:
    """Doubles the sides of [B, H, W, C], each value becoming four.

    A convolution after it leaves no checkerboard, unlike a transposed one (Odena et al. 2016,
    https://distill.pub/2016/deconv-checkerboard).
    """
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _convolution(channels: int, stride: int, name: str) -> Conv:
    # (1, 1), because SAME would pad a photo of even size at one side only.
    return Conv(
        channels,
        (3, 3),
        strides=stride,
        padding=(1, 1),
        kernel_init=nn.initializers.he_normal(),
        name=name,
    )
