"""Loads ImageNet weights from a file or the hub: checked, folded, with their fingerprint."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load_file

from jaxcap.errors import UserError
from jaxcap.io.fetch import digest_file, fetch
from jaxcap.io.files import cache_root
from jaxcap.models.resnet import LAYOUTS, POOLS, ResNet, fold
from jaxcap.pretrained import names
from jaxcap.pretrained.keras_file import read_keras
from jaxcap.pretrained.torch_file import read_torch

HUB = "https://huggingface.co"  # or the address in the environment variable HF_ENDPOINT
HUB_REPOSITORY = "timm/resnet50.tv_in1k"  # torchvision's IMAGENET1K_V1
HUB_COMMIT = "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8"
HUB_SHA256 = "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"
TORCHVISION_COPY = "resnet50-0676ba61.pth"  # its name holds the beginning of its sha256


class Pretrained(NamedTuple):
    """An encoder's weights.

    Attributes:
      params: of a `ResNet` with folded=True, on the host.
      fingerprint: a hash of everything that the features of a normalised image depend on.
      normalization: how images must be normalised for them: "imagenet" or "caffe".
      pool: the max-pool they were trained with: "padded" or "ceil".
      source: a line that says what was loaded.
    """

    params: dict
    fingerprint: str
    normalization: str
    pool: str
    source: str


def load_resnet(
    weights: str,
    *,
    layout: str,
    pool: str = "auto",
    stage_sizes: Sequence[int] = (3, 4, 6, 3),
    width: int = 64,
) -> Pretrained:
    """Loads, checks and folds the weights of a ResNet.

    Args:
      weights: "hub" for torchvision's ResNet50, which is downloaded once, or a .safetensors, .pth,
        .pt or .h5 file.
      layout: "v1.5" or "v1", as in `ResNet`; no file says which one it is, but Keras's are always
        "v1".
      pool: "padded", "ceil" or "auto": ceil for "v1", except Keras's, else padded.
      stage_sizes: blocks a stage of the network that the file must hold.
      width: its stem's channels.

    Returns:
      The weights.

    Raises:
      UserError: the file is missing, damaged, unsafe or of another network, or the download fails.
    """
    is_keras = weights.lower().endswith(".h5")
    _check_options(weights, is_keras, layout, pool, stage_sizes, width)
    path = _find_hub_file() if weights == "hub" else Path(weights).expanduser()
    arrays = _read_arrays(path)
    if pool == "auto":
        pool = "ceil" if layout == "v1" and not is_keras else "padded"
    # Keras differs in its batch norm's epsilon, in the biases of its convolutions, and in what it
    # was trained on: BGR with the mean taken off, as Caffe has it.
    eps = 1.001e-5 if is_keras else 1e-5
    weight_format = names.KERAS if is_keras else names.TORCH
    normalization = "caffe" if is_keras else "imagenet"
    model = ResNet(
        tuple(stage_sizes), width, layout, pool, folded=False, eps=eps, conv_bias=is_keras
    )
    params = fold(names.to_variables(arrays, model, weight_format, str(path)), eps)
    return Pretrained(
        params=params,
        fingerprint=_fingerprint(params, layout, pool, normalization),
        normalization=normalization,
        pool=pool,
        source=f"{path.name} ({layout}, {pool} pool, {normalization} normalisation)",
    )


def _check_options(
    weights: str, is_keras: bool, layout: str, pool: str, stage_sizes: Sequence[int], width: int
) -> None:
    """Refuses options that contradict each other, before anything is read or downloaded."""
    if layout not in LAYOUTS:
        raise UserError(
            f"encoder.layout={layout}: no such layout; set it to {' or '.join(LAYOUTS)}"
        )
    if pool not in ("auto", *POOLS):
        raise UserError(
            f"encoder.pool={pool}: no such max-pool; set it to auto, {' or '.join(POOLS)}"
        )
    if is_keras and layout != "v1":
        raise UserError(
            f"{weights}: Keras's ResNet50 has its strides in the first convolution: set "
            "encoder.layout=v1"
        )
    if weights == "hub" and (layout, tuple(stage_sizes), width) != ("v1.5", (3, 4, 6, 3), 64):
        raise UserError(
            "encoder.weights=hub is torchvision's ResNet50: set encoder.layout=v1.5, "
            "encoder.stage_sizes=(3,4,6,3) and encoder.width=64, or give a file of the network "
            "that these describe"
        )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads a file's arrays by its kind."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"encoder.weights={path}: give hub, random or a file that ends in {', '.join(READERS)}"
        )
    if not path.is_file():
        raise UserError(
            f"encoder.weights={path}: there is no file {path.absolute()}: give its path, or hub"
        )
    try:
        return reader(path)
    except OSError as error:
        raise UserError(
            f"encoder.weights={path}: cannot be read ({error.strerror or error})"
        ) from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a .safetensors file."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(
            f"{path}: truncated, damaged or not a safetensors file ({error}): fetch it again"
        ) from error


READERS = {
    ".safetensors": _read_safetensors,
    ".pth": read_torch,
    ".pt": read_torch,
    ".tar": read_torch,  # as in model_best.pth.tar, which is no tar archive
    ".h5": read_keras,
}


def _find_hub_file() -> Path:
    """Finds torchvision's ResNet50 on this machine, or downloads it."""
    copy = _torch_home() / "hub" / "checkpoints" / TORCHVISION_COPY
    if copy.is_file() and digest_file(copy).startswith(copy.stem.rpartition("-")[2]):
        return copy
    name = f"{HUB_REPOSITORY.replace('/', '--')}-{HUB_COMMIT[:8]}.safetensors"
    cached = cache_root() / "weights" / name
    endpoint = os.environ.get("HF_ENDPOINT") or HUB
    url = f"{endpoint.rstrip('/')}/{HUB_REPOSITORY}/resolve/{HUB_COMMIT}/model.safetensors"
    return fetch(url, cached, sha256=HUB_SHA256, what="ImageNet weights of ResNet50")


def _torch_home() -> Path:
    """Returns the folder where PyTorch keeps its downloads."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_HOME") or Path(caches) / "torch").expanduser()


def _fingerprint(params: dict, layout: str, pool: str, normalization: str) -> str:
    """Hashes what makes the features, whatever file the weights were read from."""
    hashed = hashlib.sha256(f"{layout} {pool} {normalization}".encode())
    for path, array in sorted(flatten_dict(params).items()):
        hashed.update(f"{'/'.join(path)} {array.shape}".encode())
        hashed.update(array.tobytes())
    return hashed.hexdigest()
