"""ResNet with bottleneck blocks as an encoder: normalised images in, a grid of features out.

He et al., "Deep Residual Learning for Image Recognition" (2015). The modules bear torchvision's
names, so that one short table reads its weights.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcap.models import pooling
from jaxcap.models.convolution_forms import FLOAT32, Arithmetic
from jaxcap.models.convolutions import Norms, convolve

LAYOUTS = ("v1.5", "v1")
POOLS = ("padded", "ceil")


class ResNet(nn.Module):
    """The convolutional part of a ResNet; the defaults are torchvision's ResNet50.

    Attributes:
      stage_sizes: blocks a stage; every stage after the first halves the grid and doubles the
        channels.
      width: channels of the stem.
      layout: where a block has its stride: "v1.5" in the 3x3 convolution, "v1" (the paper's) in the
        first 1x1.
      pool: how the 3x3 max-pool with stride 2 meets the border: "padded" by one on every side, or
        "ceil": no padding, and the last window overhangs.
      levels: how many stages, counted back from the last, make up a region: the grids of earlier
        ones are averaged over the last one's cells. They still know what the last has forgotten,
        such as colours (Hariharan et al., "Hypercolumns for Object Segmentation and Fine-grained
        Localization", 2015).
      folded: BatchNorms are folded into the convolutions; False keeps them, with their statistics
        in "batch_stats".
      eps: of the BatchNorms that are not folded: 1e-5 in torchvision, 1.001e-5 in Keras.
      conv_bias: convolutions that are not folded have a bias beside their BatchNorm, as Keras's do.
      arithmetic: of the convolutions.
    """

    stage_sizes: Sequence[int] = (3, 4, 6, 3)
    width: int = 64
    layout: str = "v1.5"
    pool: str = "padded"
    levels: int = 1
    folded: bool = True
    eps: float = 1e-5
    conv_bias: bool = False
    arithmetic: Arithmetic = FLOAT32

    def __call__(self, images: jax.Array) -> jax.Array:
        """Encodes images.

        Args:
          images: float [B, S, S, 3], already normalised as the weights want it.

        Returns:
          The grid [B, h, w, D], h and w as `grid(S)` says, with the channels of `level_channels`,
          one level after the other.
        """
        return self.upper(images, 0)

    def lower(self, images: jax.Array, entry: int) -> jax.Array:
        """Runs the stages before the stage `entry`: the stem is stage 0, layer1 is stage 1.

        Args:
          images: as of a call.
          entry: from 1.

        Returns:
          The grid that enters the stage, [B, h, w, D].
        """
        return self._run(images, range(entry))[-1]

    def upper(self, grid: jax.Array, entry: int) -> jax.Array:
        """Runs the other stages: `upper(lower(images, entry), entry)` is what a call returns."""
        grids = [grid, *self._run(grid, range(entry, len(self.stage_sizes) + 1))]
        levels = [_average(level, grids[-1].shape[1]) for level in grids[-self.levels :]]
        return jnp.concatenate(levels, axis=-1)

    def find_entry(self, names: Iterable[str]) -> int:
        """Returns the stage below which nothing learns, and no region has a level of its own.

        Args:
          names: of the modules that learn, as layer4_0.
        """
        learning = [_find_stage(name) for name in names]
        # The grid that enters a stage serves as the level of the stage before it.
        first_level = len(self.stage_sizes) + 1 - self.levels
        return min([first_level + 1, *learning])

    @nn.compact
    def _run(self, x: jax.Array, stages: range) -> list[jax.Array]:
        """Runs some stages, and returns the grid of each."""
        norms = Norms(self.folded, self.eps, conv_bias=self.conv_bias)
        conv = functools.partial(convolve, norms=norms, arithmetic=self.arithmetic)
        grids = []
        for stage in stages:
            if stage == 0:
                x = nn.relu(conv(x, self.width, 7, 2, name="conv1"))  # [B, S/2, S/2, width]
                x = max_pool(x, self.pool)  # [B, S/4, S/4, width]
            else:
                x = self._run_blocks(x, stage, conv)
            grids.append(x)
        return grids

    def _run_blocks(self, x: jax.Array, stage: int, conv: Callable[..., jax.Array]) -> jax.Array:
        for block in range(self.stage_sizes[stage - 1]):
            stride = 2 if stage > 1 and block == 0 else 1
            strides = (stride, 1) if self.layout == "v1" else (1, stride)
            name = f"layer{stage}_{block}"
            x = Bottleneck(self.width * 2 ** (stage - 1), strides, conv, name=name)(x)
        return x

    def grid(self, size: int) -> tuple[int, int]:
        """Returns the rows and columns of the grid of photos of `size` pixels a side.

        Raises:
          ValueError: a value of the config with which the levels have no grid; it is named.
        """
        stages = len(self.stage_sizes)
        region = 2 ** (stages + 1)  # pixels a side
        if self.levels > stages:
            raise ValueError(
                f"encoder.levels={self.levels}: must be from 1 to {stages}, as encoder.stage_sizes "
                "has stages"
            )
        if size < region:
            raise ValueError(
                f"images.size={size}: must be at least {region} for the {stages} stages of "
                "encoder.stage_sizes, each of which but the first halves the grid"
            )
        if self.levels > 1 and size % region:
            raise ValueError(
                f"images.size={size}: must be a multiple of {region} for encoder.levels="
                f"{self.levels}, so that the grids of the levels fit each other"
            )
        side = (size + 1) // 2  # of the stem
        side = (side + 1) // 2 if self.pool == "padded" else side // 2
        for _ in range(1, stages):
            side = (side + 1) // 2
        return side, side

    @property
    def level_channels(self) -> tuple[int, ...]:
        """The channels that each level gives a region, from the earliest level to the last."""
        stages = len(self.stage_sizes)
        return tuple(4 * self.width * 2**stage for stage in range(stages - self.levels, stages))


def build(section: Mapping[str, Any], pool: str, arithmetic: Arithmetic) -> ResNet:
    """Builds the ResNet that the section `encoder` of a config describes.

    Args:
      section: with stage_sizes, width, layout and levels.
      pool: "padded" or "ceil", as its weights want it.
      arithmetic: of the convolutions.
    """
    return ResNet(
        stage_sizes=tuple(section["stage_sizes"]),
        width=section["width"],
        layout=section["layout"],
        pool=pool,
        levels=section["levels"],
        arithmetic=arithmetic,
    )


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions around a shortcut.

    Attributes:
      channels: of the 3x3 convolution; the output has four times as many.
      strides: of the first 1x1 and of the 3x3 convolution.
      conv: makes one convolution with its BatchNorm: (x, channels, size, stride, *, name,
        kernel_init).
    """

    channels: int
    strides: tuple[int, int]
    conv: Callable[..., jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [B, h, w, D] to [B, h / stride, w / stride, 4 * channels]."""
        wide = 4 * self.channels
        stride = max(self.strides)
        y = nn.relu(self.conv(x, self.channels, 1, self.strides[0], name="conv1"))
        y = nn.relu(self.conv(y, self.channels, 3, self.strides[1], name="conv2"))
        # A branch that starts at zero leaves the signal's size alone at any depth, which is what
        # lets the folded network learn without a norm (Zhang et al., Fixup, 2019; De and Smith,
        # SkipInit, 2020).
        y = self.conv(y, wide, 1, 1, name="conv3", kernel_init=nn.initializers.zeros)
        if stride > 1 or x.shape[-1] != wide:
            x = self.conv(x, wide, 1, stride, name="downsample_conv")
        return nn.relu(x + y)


def max_pool(x: jax.Array, pool: str) -> jax.Array:
    """Takes the maximum over 3x3 windows with stride 2.

    Args:
      x: [B, n, n, D].
      pool: "padded" or "ceil", as in `ResNet`.

    Returns:
      [B, m, m, D] with m = n / 2, rounded up when padded and down in ceil mode.
    """
    # Where n is odd, the window that overhangs in ceil mode does not exist.
    margins = (1, 1) if pool == "padded" else (0, 1)
    return pooling.max_pool(x, margins)


def _find_stage(name: str) -> int:
    """Returns the stage of a module: 4 for layer4_0, and 0, the stem, for conv1."""
    stage, block, _ = name.removeprefix("layer").partition("_")
    return int(stage) if block else 0


def _average(x: jax.Array, size: int) -> jax.Array:
    """Averages [B, n, n, D] over square windows to [B, size, size, D]; n is a multiple of size."""
    window = (x.shape[1] // size,) * 2
    return x if window == (1, 1) else nn.avg_pool(x, window, strides=window)
