"""Weights of a ResNet: torchvision's and Keras's names, and torchvision's ResNet50 from the hub."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from jaxcap.errors import UserError
from jaxcap.io.fetch import digest_file, fetch
from jaxcap.io.files import cache_root
from jaxcap.models.convolutions import fold
from jaxcap.models.resnet import LAYOUTS, ResNet
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

HUB = "https://huggingface.co"  # or the address in the environment variable HF_ENDPOINT
HUB_REPOSITORY = "timm/resnet50.tv_in1k"  # torchvision's IMAGENET1K_V1
HUB_COMMIT = "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8"
HUB_SHA256 = "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"
TORCHVISION_COPY = "resnet50-0676ba61.pth"  # its name holds the beginning of its sha256
# Keras's layers that were called differently in 2016, but for those of the blocks.
_OTHER_LAYERS = {"conv1": "conv1_conv", "bn_conv1": "conv1_bn", "fc1000": "predictions"}
# A convolution of the first block in each of the names.
_MARKS = {"layer1.0.conv3.weight", "conv2_block1_3_conv/kernel", "res2a_branch2c/kernel"}


def torch_name(path: ArrayPath) -> str:
    """Maps a path in our variables to torchvision's name.

    Such as layer1.0.conv1.weight and layer1.0.downsample.1.running_var.
    """
    *modules, leaf = path[1:]
    module = ".".join(modules)
    module = module.replace("downsample_conv", "downsample.0")
    module = module.replace("downsample_bn", "downsample.1")
    return f"{module.replace('_', '.')}.{TORCH_LEAVES[leaf]}"


def keras_name(path: ArrayPath) -> str:
    """Maps a path in our variables to Keras's name.

    Such as conv2_block1_1_conv/kernel and conv2_block1_0_bn/moving_mean.
    """
    *blocks, module, leaf = path[1:]
    place = "conv1"
    if blocks:
        # Ours count stages from 1 and blocks from 0; Keras counts the stem as the first stage.
        stage, block = blocks[0].removeprefix("layer").split("_")
        part = "0" if module.startswith("downsample") else module[-1]
        place = f"conv{int(stage) + 1}_block{int(block) + 1}_{part}"
    if "conv" in module:
        return f"{place}_conv/{leaf}"
    return f"{place}_bn/{KERAS_LEAVES[leaf]}"


TORCH = WeightFormat(torch_name, TORCH_AXES, re.compile(r"fc\..*|.*num_batches_tracked"))
KERAS = WeightFormat(keras_name, KERAS_AXES, re.compile(r"predictions/.*"))


def _check(section: Section) -> None:
    """Refuses options that contradict each other, before anything is read or downloaded."""
    layout = section["layout"]
    if layout not in LAYOUTS:
        raise UserError(
            f"encoder.layout={layout}: no such layout; set it to {' or '.join(LAYOUTS)}"
        )
    described = (layout, tuple(section["stage_sizes"]), section["width"])
    if section["weights"] == "hub" and described != ("v1.5", (3, 4, 6, 3), 64):
        raise UserError(
            "encoder.weights=hub is torchvision's ResNet50: set encoder.layout=v1.5, "
            "encoder.stage_sizes=(3,4,6,3) and encoder.width=64, or give a file of the network "
            "that these describe"
        )


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


def _holds(names: Iterable[str]) -> bool:
    return not _MARKS.isdisjoint(names)


def _convert(arrays: Arrays, section: Section, path: Path) -> Pretrained:
    """Checks, folds and describes the arrays of the file `path`."""
    of_keras = is_keras(path)
    layout = section["layout"]
    if of_keras and layout != "v1":
        raise UserError(
            f"{path}: Keras's ResNet50 has its strides in the first convolution: set "
            "encoder.layout=v1"
        )
    pool = section["pool"]
    if pool == "auto":
        # No file says it: the original v1 weights were trained with ceil, Keras's were not.
        pool = "ceil" if layout == "v1" and not of_keras else "padded"
    # Keras differs in its batch norm's epsilon, in the biases of its convolutions, and in what it
    # was trained on: BGR with the mean taken off, as Caffe has it.
    eps = 1.001e-5 if of_keras else 1e-5
    normalization = "caffe" if of_keras else "imagenet"
    stage_sizes = tuple(section["stage_sizes"])
    width = section["width"]
    model = ResNet(stage_sizes, width, layout, pool, folded=False, eps=eps, conv_bias=of_keras)
    if of_keras:
        arrays = {_translate(name): array for name, array in arrays.items()}
    network = f"a ResNet with encoder.stage_sizes={stage_sizes} and encoder.width={width}"
    weight_format = KERAS if of_keras else TORCH
    variables = to_variables(arrays, model, weight_format, file=str(path), network=network)
    params = fold(variables, eps)
    return Pretrained(
        params=params,
        fingerprint=hash_features(params, layout, pool, normalization),
        normalization=normalization,
        pool=pool,
        source=f"{path.name} ({layout}, {pool} pool, {normalization} normalisation)",
    )


def _translate(name: str) -> str:
    """Translates Keras's name of 2016, as res2a_branch2b/kernel, to today's.

    Such as conv2_block1_2_conv/kernel.
    """
    layer, _, role = name.partition("/")
    old = re.fullmatch(r"(res|bn)(\d)([a-z])_branch(?:1|2([abc]))", layer)
    if old is None:
        return f"{_OTHER_LAYERS.get(layer, layer)}/{role}"
    kind, stage, letter, branch = old.groups()
    block = ord(letter) - ord("a") + 1
    part = " abc".index(branch or " ")
    return f"conv{stage}_block{block}_{part}_{'conv' if kind == 'res' else 'bn'}/{role}"


NETWORK = Network("a ResNet", _check, _find_hub_file, _holds, _convert)
