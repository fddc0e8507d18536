"""Convolutions with their BatchNorms, as every backbone is made of them, and their folding.

Each BatchNorm of a trained network is a fixed scale and shift, so it can be folded into the
convolution before it; the folded network is what runs, and what a small encoder is trained as from
scratch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxcap.models.convolution_forms import Arithmetic, apply_kernel
from jaxcap.models.params import BatchNorm, Conv

HE_NORMAL = nn.initializers.he_normal()


class Norms(NamedTuple):
    """What follows a network's convolutions.

    Attributes:
      folded: nothing: the BatchNorms are folded into them. False keeps the BatchNorms, with their
        statistics in "batch_stats".
      eps: of the BatchNorms that are not folded.
      scale: they multiply by a learned scale, as all but those of Keras's InceptionV3 do.
      conv_bias: convolutions that are not folded have a bias beside their BatchNorm, as those of
        Keras's ResNet50 do.
    """

    folded: bool
    eps: float
    scale: bool = True
    conv_bias: bool = False


def convolve(
    x: jax.Array,
    channels: int,
    size: int | tuple[int, int],
    stride: int = 1,
    *,
    name: str,
    norms: Norms,
    arithmetic: Arithmetic,
    padded: bool = True,
    kernel_init: Callable[..., jax.Array] = HE_NORMAL,
) -> jax.Array:
    """Applies a convolution, and its BatchNorm unless folded, inside the calling module.

    Args:
      x: [B, h, w, C].
      channels: of the output.
      size: of the kernel, a side or (height, width); odd.
      stride: in both directions.
      name: of the convolution.
      norms: of the network.
      arithmetic: of the network.
      padded: by half the kernel on every side, so that stride 1 keeps the grid; False: not at all.
      kernel_init: draws the kernel.

    Returns:
      [B, h', w', channels].
    """
    sizes = (size, size) if isinstance(size, int) else size
    # Explicit: "SAME" pads strided convolutions on the wrong side for imported weights.
    rows, columns = [(side - 1) // 2 if padded else 0 for side in sizes]
    margins = ((rows, rows), (columns, columns))

    def apply(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
        return apply_kernel(x, kernel, stride, margins, arithmetic)

    x = Conv(
        channels,
        sizes,
        strides=stride,
        padding=margins,
        use_bias=norms.folded or norms.conv_bias,
        kernel_init=kernel_init,
        conv_general_dilated=apply,
        name=name,
    )(x)
    if norms.folded:
        return x
    return BatchNorm(
        use_running_average=True,
        epsilon=norms.eps,
        use_scale=norms.scale,
        name=name_norm(name),
    )(x)


def name_norm(conv: str) -> str:
    """Names the BatchNorm that follows the convolution `conv`."""
    return conv.replace("conv", "bn")


def fold(variables: dict, eps: float = 1e-5) -> dict:
    """Folds every BatchNorm into its convolution.

    w' = w g and b' = (b - mean) g + beta, with g = gamma / sqrt(var + eps); gamma is 1 where there
    is no scale.

    Args:
      variables: "params" and "batch_stats" of a network with folded=False.
      eps: the BatchNorms' epsilon.

    Returns:
      The "params" of the same network with folded=True, float32 arrays on the host, computed in
      float64.
    """
    params = flatten_dict(variables["params"])
    statistics = flatten_dict(variables["batch_stats"])
    folded = {}
    for (*parents, name, leaf), kernel in params.items():
        if leaf != "kernel":
            continue
        conv = (*parents, name)
        norm = (*parents, name_norm(name))
        scale = _double(params.get((*norm, "scale"), 1.0))
        gain = scale / np.sqrt(_double(statistics[*norm, "var"]) + eps)
        shift = _double(params.get((*conv, "bias"), 0.0)) - _double(statistics[*norm, "mean"])
        folded[*conv, "kernel"] = (_double(kernel) * gain).astype(np.float32, order="C")
        folded[*conv, "bias"] = (shift * gain + _double(params[*norm, "bias"])).astype(np.float32)
    return unflatten_dict(folded)


def _double(array: Any) -> np.ndarray:
    return np.asarray(array, np.float64)
