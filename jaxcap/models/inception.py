"""InceptionV3 as an encoder: normalised images in, a grid of features out.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016,
arXiv:1512.00567). The modules bear torchvision's names, so that one short table reads its weights.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from flax import linen as nn

from jaxcap.models.convolution_forms import FLOAT32, Arithmetic
from jaxcap.models.convolutions import Norms
from jaxcap.models.inception_blocks import (
    STANDARD_WIDTH,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
    Unit,
    scale_channels,
)
from jaxcap.models.pooling import max_pool

POOLS = ("uncounted", "counted")
_SMALLEST = 75  # pixels a side that leave a grid of one cell
_LAST_CHANNELS = (320, 384, 384, 384, 384, 192)  # of the last block's branches, 2048 together


class InceptionV3(nn.Module):
    """The convolutional part of InceptionV3, without the auxiliary classifier.

    Attributes:
      width: channels of the stem's third convolution, 64 in the paper; all others in proportion.
      pool: whether average pools count the zeros around the grid as cells: "uncounted" in Keras,
        "counted" in torchvision and timm.
      levels: must be 1, as the grids of earlier stages are no multiples of the last one's: 35, 17
        and 8 cells a side at 299 pixels.
      folded: BatchNorms are folded into the convolutions; False keeps them, with their statistics
        in "batch_stats".
      eps: of the BatchNorms that are not folded.
      norm_scale: they have a learned scale, as torchvision's; False: as Keras's.
      arithmetic: of the convolutions.
    """

    width: int = STANDARD_WIDTH
    pool: str = "uncounted"
    levels: int = 1
    folded: bool = True
    eps: float = 1e-3
    norm_scale: bool = True
    arithmetic: Arithmetic = FLOAT32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Encodes images.

        Args:
          images: float [B, S, S, 3], already normalised as the weights want it.

        Returns:
          The grid [B, h, w, D], h and w as `grid(S)` says, D as `level_channels` says.
        """
        unit = functools.partial(
            Unit,
            width=self.width,
            norms=Norms(self.folded, self.eps, self.norm_scale),
            arithmetic=self.arithmetic,
        )
        pool = self.pool
        # 299 pixels a side in these shapes.
        x = unit(32, 3, 2, padded=False, name="Conv2d_1a_3x3")(images)  # [B, 149, 149, 32]
        x = unit(32, 3, padded=False, name="Conv2d_2a_3x3")(x)
        x = unit(64, 3, name="Conv2d_2b_3x3")(x)
        x = max_pool(x)  # [B, 73, 73, 64]
        x = unit(80, 1, name="Conv2d_3b_1x1")(x)
        x = unit(192, 3, padded=False, name="Conv2d_4a_3x3")(x)
        x = max_pool(x)  # [B, 35, 35, 192]
        x = InceptionA(unit, pool, 32, name="Mixed_5b")(x)
        x = InceptionA(unit, pool, 64, name="Mixed_5c")(x)
        x = InceptionA(unit, pool, 64, name="Mixed_5d")(x)
        x = InceptionB(unit, name="Mixed_6a")(x)  # [B, 17, 17, 768]
        x = InceptionC(unit, pool, 128, name="Mixed_6b")(x)
        x = InceptionC(unit, pool, 160, name="Mixed_6c")(x)
        x = InceptionC(unit, pool, 160, name="Mixed_6d")(x)
        x = InceptionC(unit, pool, 192, name="Mixed_6e")(x)
        x = InceptionD(unit, name="Mixed_7a")(x)  # [B, 8, 8, 1280]
        x = InceptionE(unit, pool, name="Mixed_7b")(x)
        return InceptionE(unit, pool, name="Mixed_7c")(x)

    def grid(self, size: int) -> tuple[int, int]:
        """Returns the rows and columns of the grid of photos of `size` pixels a side.

        Raises:
          ValueError: a value of the config with which there is no grid; it is named.
        """
        if self.levels != 1:
            raise ValueError(
                f"encoder.levels={self.levels}: must be 1 for encoder.backbone=inception, whose "
                "grids of earlier stages do not fit the last one's"
            )
        if size < _SMALLEST:
            raise ValueError(
                f"images.size={size}: must be at least {_SMALLEST} for encoder.backbone=inception"
            )
        side = _halve(size) - 2  # of Conv2d_1a and Conv2d_2a
        side = _halve(_halve(side) - 2)  # of the two max-pools, with Conv2d_4a between them
        side = _halve(_halve(side))  # of Mixed_6a and Mixed_7a
        return side, side

    def find_entry(self, names: Iterable[str]) -> int:
        """Returns 0: the network is not cut into stages, so that where a part learns, all runs."""
        del names
        return 0

    @property
    def level_channels(self) -> tuple[int, ...]:
        """The channels of a region, all of one level."""
        return (sum(scale_channels(channels, self.width) for channels in _LAST_CHANNELS),)


def build(section: Mapping[str, Any], pool: str, arithmetic: Arithmetic) -> InceptionV3:
    """Builds the InceptionV3 that the section `encoder` of a config describes.

    Args:
      section: with width and levels.
      pool: "uncounted" or "counted", as its weights want it.
      arithmetic: of the convolutions.
    """
    return InceptionV3(
        width=section["width"], pool=pool, levels=section["levels"], arithmetic=arithmetic
    )


def _halve(side: int) -> int:
    """Returns the side of a grid of 3x3 windows with stride 2 and no padding."""
    return (side - 1) // 2
