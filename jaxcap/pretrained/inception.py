"""Weights of an InceptionV3: torchvision's and Keras's names, and Keras's published file."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from jaxcap.errors import UserError
from jaxcap.io.fetch import digest_file, fetch
from jaxcap.io.files import cache_root
from jaxcap.models.convolutions import fold
from jaxcap.models.inception import InceptionV3
from jaxcap.models.inception_blocks import STANDARD_WIDTH
from jaxcap.pretrained.keras_file import import_h5py
from jaxcap.pretrained.names import (
    KERAS_AXES,
    KERAS_LEAVES,
    TORCH_AXES,
    TORCH_LEAVES,
    ArrayPath,
    WeightFormat,
    to_variables,
)
from jaxcap.pretrained.weights import (
    Arrays,
    Network,
    Pretrained,
    Section,
    hash_features,
    is_keras,
)

HUB = "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3"
HUB_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
HUB_MD5 = "bcbd6486424b2319ff4ef7d526e38f63"  # Keras publishes nothing better
_MARK = "Mixed_5b.branch1x1.conv.weight"  # of torchvision's names
# All three pretrained networks, Keras's, torchvision's and timm's, were trained on RGB in [-1, 1];
# torchvision takes ImageNet's normalisation and turns it into this (its `transform_input`).
_NORMALIZATION = "signed"

_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
_AT_35 = (
    *("branch1x1", "branch5x5_1", "branch5x5_2"),
    *("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3", "branch_pool"),
)
_TO_17 = ("branch3x3", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
_AT_17 = (
    *("branch1x1", "branch7x7_1", "branch7x7_2", "branch7x7_3"),
    *("branch7x7dbl_1", "branch7x7dbl_2", "branch7x7dbl_3", "branch7x7dbl_4", "branch7x7dbl_5"),
    "branch_pool",
)
_TO_8 = (
    *("branch3x3_1", "branch3x3_2"),
    *("branch7x7x3_1", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4"),
)
_AT_8 = (
    *("branch1x1", "branch3x3_1", "branch3x3_2a", "branch3x3_2b"),
    *("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool"),
)
_BLOCKS = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _AT_35),
    "Mixed_6a": _TO_17,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _AT_17),
    "Mixed_7a": _TO_8,
    **dict.fromkeys(("Mixed_7b", "Mixed_7c"), _AT_8),
}
# Our modules in the order in which Keras creates its layers, as it numbers them by it.
_CREATION = (
    *((name,) for name in _STEM),
    *((block, branch) for block, branches in _BLOCKS.items() for branch in branches),
)


def torch_name(path: ArrayPath) -> str:
    """Maps a path in our variables to torchvision's name.

    Such as Mixed_5b.branch1x1.conv.weight and Mixed_5b.branch1x1.bn.running_var.
    """
    *modules, leaf = path[1:]
    return f"{'.'.join(modules)}.{TORCH_LEAVES[leaf]}"


def keras_name(path: ArrayPath, first_conv: int = 0, first_norm: int = 0) -> str:
    """Maps a path in our variables to Keras's name.

    Such as conv2d/kernel, conv2d_1/kernel and batch_normalization_93/moving_mean.

    Args:
      path: one of our arrays.
      first_conv: the number of the network's first convolution: Keras counts on from whatever the
        process created before, and older versions count from 1.
      first_norm: the number of its first BatchNorm.
    """
    *modules, kind, leaf = path[1:]
    place = _CREATION.index(tuple(modules))
    if kind == "conv":
        return f"{_number('conv2d', first_conv + place)}/{leaf}"
    return f"{_number('batch_normalization', first_norm + place)}/{KERAS_LEAVES[leaf]}"


TORCH = WeightFormat(
    torch_name, TORCH_AXES, re.compile(r"(fc|AuxLogits)\..*|.*num_batches_tracked")
)


def make_keras_format(names: Iterable[str]) -> WeightFormat:
    """Returns the format of a Keras file with arrays of these names."""
    names = tuple(names)
    first_conv = min(_find_numbers("conv2d", names), default=0)
    first_norm = min(_find_numbers("batch_normalization", names), default=0)

    def name(path: ArrayPath) -> str:
        return keras_name(path, first_conv, first_norm)

    return WeightFormat(name, KERAS_AXES, re.compile(r"predictions/.*"))


def _number(layer: str, number: int) -> str:
    """Names the layer of this number as Keras does, which leaves out a 0."""
    return f"{layer}_{number}" if number else layer


def _find_numbers(layer: str, names: Iterable[str]) -> set[int]:
    """Finds the numbers of a file's layers of a kind."""
    pattern = re.compile(rf"{layer}(?:_(\d+))?/.*")
    matches = filter(None, map(pattern.fullmatch, names))
    return {int(match[1] or 0) for match in matches}


def _check(section: Section) -> None:
    """Refuses what cannot be had, before anything is downloaded."""
    if section["weights"] != "hub":
        return
    if section["width"] != STANDARD_WIDTH:
        raise UserError(
            f"encoder.weights=hub is Keras's InceptionV3: set encoder.width={STANDARD_WIDTH}, or "
            "give a file of the network that it describes"
        )
    import_h5py("encoder.weights=hub")


def _find_hub_file() -> Path:
    """Finds Keras's file without a classifier on this machine, or downloads it."""
    keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser()
    copy = keras_home / "models" / HUB_FILE
    if copy.is_file() and digest_file(copy, "md5") == HUB_MD5:
        return copy
    cached = cache_root() / "weights" / HUB_FILE
    return fetch(f"{HUB}/{HUB_FILE}", cached, md5=HUB_MD5, what="ImageNet weights of InceptionV3")


def _holds(names: Iterable[str]) -> bool:
    names = tuple(names)
    # Many networks have layers conv2d_N; this one as many as it has convolutions.
    return _MARK in names or len(_find_numbers("conv2d", names)) == len(_CREATION)


def _convert(arrays: Arrays, section: Section, path: Path) -> Pretrained:
    """Checks, folds and describes the arrays of the file `path`."""
    of_keras = is_keras(path)
    pool = section["pool"]
    if pool == "auto":
        pool = "uncounted" if of_keras else "counted"
    model = InceptionV3(
        width=section["width"],
        pool=pool,
        folded=False,
        norm_scale=not of_keras or any(name.endswith("/gamma") for name in arrays),
    )
    weight_format = make_keras_format(arrays) if of_keras else TORCH
    network = f"an InceptionV3 with encoder.width={model.width}"
    variables = to_variables(arrays, model, weight_format, file=str(path), network=network)
    params = fold(variables, model.eps)
    return Pretrained(
        params=params,
        fingerprint=hash_features(params, "inception", pool, _NORMALIZATION),
        normalization=_NORMALIZATION,
        pool=pool,
        source=f"{path.name} (InceptionV3, {pool} padding, {_NORMALIZATION} normalisation)",
    )


NETWORK = Network("an InceptionV3", _check, _find_hub_file, _holds, _convert)
