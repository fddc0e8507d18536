"""The blocks of InceptionV3: convolutions of several sizes side by side, under torchvision's names.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016,
arXiv:1512.00567). Large convolutions are factored into small or one-sided ones.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcap.models.convolution_forms import Arithmetic
from jaxcap.models.convolutions import Norms, convolve
from jaxcap.models.pooling import average_pool, max_pool

STANDARD_WIDTH = 64  # of the paper's network

# (channels, size, stride=1, *, padded=True, name) -> a `Unit` of the network.
UnitMaker = Callable[..., Callable[[jax.Array], jax.Array]]


class Unit(nn.Module):
    """A convolution, its BatchNorm and a ReLU.

    Attributes:
      channels: of the output in the paper's network.
      size: of the kernel, a side or (height, width).
      stride: in both directions.
      padded: by half the kernel on every side; False: not at all.
      width: of the network, which the channels follow.
      norms: of the network.
      arithmetic: of the network.
    """

    channels: int
    size: int | tuple[int, int]
    stride: int = 1
    padded: bool = True
    _: dataclasses.KW_ONLY
    width: int
    norms: Norms
    arithmetic: Arithmetic

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, C] to [B, h', w', channels]."""
        return nn.relu(
            convolve(
                x,
                scale_channels(self.channels, self.width),
                self.size,
                self.stride,
                name="conv",
                norms=self.norms,
                arithmetic=self.arithmetic,
                padded=self.padded,
            )
        )


class InceptionA(nn.Module):
    """One block at 35 x 35 cells: 1x1, 5x5 and two 3x3 convolutions, and an average."""

    unit: UnitMaker
    pool: str
    pool_channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, n, n, C] to [B, n, n, 224 + pool_channels]."""
        unit = self.unit
        five = unit(48, 1, name="branch5x5_1")(x)
        three = unit(64, 1, name="branch3x3dbl_1")(x)
        three = unit(96, 3, name="branch3x3dbl_2")(three)
        branches = [
            unit(64, 1, name="branch1x1")(x),
            unit(64, 5, name="branch5x5_2")(five),
            unit(96, 3, name="branch3x3dbl_3")(three),
            unit(self.pool_channels, 1, name="branch_pool")(average_pool(x, self.pool)),
        ]
        return jnp.concatenate(branches, axis=-1)


class InceptionB(nn.Module):
    """The block from 35 x 35 to 17 x 17 cells."""

    unit: UnitMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, n, n, C] to [B, m, m, 480 + C], m = (n - 1) // 2."""
        unit = self.unit
        three = unit(64, 1, name="branch3x3dbl_1")(x)
        three = unit(96, 3, name="branch3x3dbl_2")(three)
        branches = [
            unit(384, 3, 2, padded=False, name="branch3x3")(x),
            unit(96, 3, 2, padded=False, name="branch3x3dbl_3")(three),
            max_pool(x),
        ]
        return jnp.concatenate(branches, axis=-1)


class InceptionC(nn.Module):
    """One block at 17 x 17 cells: 1x1 convolutions, 7x7 ones as 1x7 and 7x1, and an average."""

    unit: UnitMaker
    pool: str
    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, n, n, C] to [B, n, n, 768]."""
        unit = self.unit
        seven = unit(self.channels, 1, name="branch7x7_1")(x)
        seven = unit(self.channels, (1, 7), name="branch7x7_2")(seven)
        double = unit(self.channels, 1, name="branch7x7dbl_1")(x)
        double = unit(self.channels, (7, 1), name="branch7x7dbl_2")(double)
        double = unit(self.channels, (1, 7), name="branch7x7dbl_3")(double)
        double = unit(self.channels, (7, 1), name="branch7x7dbl_4")(double)
        branches = [
            unit(192, 1, name="branch1x1")(x),
            unit(192, (7, 1), name="branch7x7_3")(seven),
            unit(192, (1, 7), name="branch7x7dbl_5")(double),
            unit(192, 1, name="branch_pool")(average_pool(x, self.pool)),
        ]
        return jnp.concatenate(branches, axis=-1)


class InceptionD(nn.Module):
    """The block from 17 x 17 to 8 x 8 cells."""

    unit: UnitMaker

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, n, n, C] to [B, m, m, 512 + C], m = (n - 1) // 2."""
        unit = self.unit
        three = unit(192, 1, name="branch3x3_1")(x)
        seven = unit(192, 1, name="branch7x7x3_1")(x)
        seven = unit(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = unit(192, (7, 1), name="branch7x7x3_3")(seven)
        branches = [
            unit(320, 3, 2, padded=False, name="branch3x3_2")(three),
            unit(192, 3, 2, padded=False, name="branch7x7x3_4")(seven),
            max_pool(x),
        ]
        return jnp.concatenate(branches, axis=-1)


class InceptionE(nn.Module):
    """One block at 8 x 8 cells: its 3x3 convolutions end in a 1x3 and a 3x1 side by side."""

    unit: UnitMaker
    pool: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, n, n, C] to [B, n, n, 2048]."""
        unit = self.unit
        three = unit(384, 1, name="branch3x3_1")(x)
        double = unit(448, 1, name="branch3x3dbl_1")(x)
        double = unit(384, 3, name="branch3x3dbl_2")(double)
        branches = [
            unit(320, 1, name="branch1x1")(x),
            unit(384, (1, 3), name="branch3x3_2a")(three),
            unit(384, (3, 1), name="branch3x3_2b")(three),
            unit(384, (1, 3), name="branch3x3dbl_3a")(double),
            unit(384, (3, 1), name="branch3x3dbl_3b")(double),
            unit(192, 1, name="branch_pool")(average_pool(x, self.pool)),
        ]
        return jnp.concatenate(branches, axis=-1)


def scale_channels(channels: int, width: int) -> int:
    """Returns how many channels of the paper's a network of this width has."""
    return max(1, channels * width // STANDARD_WIDTH)
