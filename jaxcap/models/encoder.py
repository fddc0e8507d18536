"""The encoder: photos in, regions out, with any backbone of one table.

A backbone is a linen module that maps normalised photos [B, S, S, 3] to a grid [B, h, w, D] and
has `grid(size) -> (h, w)`, `level_channels` and `find_entry(names)`. The latter returns the stage
below which nothing runs that learns, or 0; one that returns others has `lower` and `upper` as
`ResNet` has them. A new backbone is a file of its own and a line in `BACKBONES`; its weights are
read by a file of `jaxcap/pretrained` and a line in `NETWORKS` there.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxcap.models import inception, resnet
from jaxcap.models.convolution_forms import FLOAT32, Arithmetic
from jaxcap.models.denoiser import build_denoiser

_IMAGENET_MEAN = np.array((0.485, 0.456, 0.406), np.float32)  # of RGB in [0, 1]
_IMAGENET_STD = np.array((0.229, 0.224, 0.225), np.float32)
_CAFFE_MEAN = np.array((103.939, 116.779, 123.68), np.float32)  # of BGR in [0, 255]


class Backbone(NamedTuple):
    """A line of the table of backbones.

    Attributes:
      build: (section encoder of a config, pool, arithmetic of convolutions) -> module.
      pools: the choices of the key encoder.pool beside auto; the first is that of random weights.
      normalization: what photos are normalised to for random weights, see `normalize`.
      keys: of the section that decide what random weights compute, in the order in which the
        workdir writes them down.
    """

    build: Callable[[Mapping[str, Any], str, Arithmetic], nn.Module]
    pools: tuple[str, ...] = ("none",)
    normalization: str = "imagenet"
    keys: tuple[str, ...] = ()


# Key encoder.backbone -> backbone.
BACKBONES: dict[str, Backbone] = {
    "resnet": Backbone(
        resnet.build, resnet.POOLS, "imagenet", ("layout", "pool", "stage_sizes", "width")
    ),
    "inception": Backbone(inception.build, inception.POOLS, "signed", ("pool", "width")),
}


class Encoder(nn.Module):
    """Photos of pixels to regions of features.

    Attributes:
      backbone: maps normalised photos to a grid, see the head of this file.
      normalization: what its weights were trained on, see `normalize`.
      denoiser: comes before all else, float32 photos [B, S, S, 3] in [0, 1] to the same.
      entry: the backbone's stage below which nothing learns, so that the grids that enter it can be
        computed once and kept; 0: none of it is still, or all of it.
    """

    backbone: nn.Module
    normalization: str = "imagenet"
    denoiser: nn.Module | None = None
    entry: int = 0

    def __call__(self, images: jax.Array) -> jax.Array:
        """Encodes photos uint8 [B, S, S, 3] as regions [B, L, D], row by row of the grid."""
        return self.upper(self.lower(images))

    def lower(self, images: jax.Array) -> jax.Array:
        """Turns photos into what enters the stage `entry`: a grid [B, h, w, C] of features.

        Where `entry` is 0 it is normalised photos.
        """
        pixels = images
        if self.denoiser is not None:
            # Not rounded to whole levels: where a value lies between two of them, another number
            # of devices would choose the other one.
            pixels = 255 * self.denoiser(jnp.asarray(images, jnp.float32) / 255)
        pixels = normalize(pixels, self.normalization)
        return self.backbone.lower(pixels, self.entry) if self.entry else pixels

    def upper(self, grid: jax.Array) -> jax.Array:
        """Turns what `lower` returns into regions [B, L, D]."""
        grid = self.backbone.upper(grid, self.entry) if self.entry else self.backbone(grid)
        return grid.reshape(grid.shape[0], -1, grid.shape[-1])

    def grid(self, size: int) -> tuple[int, int]:
        """Returns rows and columns of the regions, L = rows * columns, of a photo of `size` pixels.

        Raises:
          ValueError: the backbone takes no photo of this size; it says which.
        """
        return self.backbone.grid(size)

    @property
    def level_channels(self) -> tuple[int, ...]:
        """The channels that each level of the backbone gives a region."""
        return self.backbone.level_channels


def build_encoder(
    section: Mapping[str, Any],
    *,
    pool: str,
    normalization: str,
    arithmetic: Arithmetic = FLOAT32,
    denoiser: Mapping[str, Any] | None = None,
) -> Encoder:
    """Builds the encoder that the section `encoder` of a config describes.

    Args:
      section: of the config.
      pool: how the network that its weights were trained in pools, a choice of its backbone.
      normalization: what they want photos normalised to.
      arithmetic: of its convolutions, for the config may leave the dtype open.
      denoiser: see `denoiser.build_denoiser`; None for an encoder without one.

    Returns:
      The module; it holds no parameters.
    """
    return Encoder(
        BACKBONES[section["backbone"]].build(section, pool, arithmetic),
        normalization,
        build_denoiser(denoiser) if denoiser else None,
    )


def choose_pool(section: Mapping[str, Any]) -> str:
    """Returns the pool of an encoder with random weights: the config's or, for "auto", the usual.

    Raises:
      ValueError: the backbone has no such pool; it says which it has.
    """
    backbone = section["backbone"]
    pools = BACKBONES[backbone].pools
    pool = section["pool"]
    if pool not in ("auto", *pools):
        raise ValueError(
            f"encoder.pool={pool}: no pool of encoder.backbone={backbone}; set it to auto, "
            f"{' or '.join(pools)}"
        )
    return pools[0] if pool == "auto" else pool


def normalize(images: jax.Array, normalization: str = "imagenet") -> jax.Array:
    """Turns pixels into the numbers that a backbone was trained on; runs on the device.

    Args:
      images: [..., S, S, 3], RGB from 0 to 255.
      normalization: "imagenet" (RGB / 255, ImageNet's mean and standard deviation: torchvision's
        networks), "caffe" (BGR minus ImageNet's mean: Keras's ResNet50) or "signed" (RGB in
        [-1, 1]: InceptionV3, Keras's, torchvision's and timm's).

    Returns:
      float32 [..., S, S, 3].
    """
    pixels = jnp.asarray(images, jnp.float32)
    match normalization:
        case "imagenet":
            return (pixels / 255 - _IMAGENET_MEAN) / _IMAGENET_STD
        case "caffe":
            return pixels[..., ::-1] - _CAFFE_MEAN
        case "signed":
            return pixels / 127.5 - 1
    raise ValueError(f"no normalization {normalization!r}: imagenet, caffe or signed")
