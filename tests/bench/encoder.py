"""Times ResNet50 at 224 pixels beside PyTorch's with the same weights, or InceptionV3 at 299.

    python -m tests.bench encoder --images 4 32 --rounds 5
    python -m tests.bench encoder --images 4 32 --rounds 5 --network inception

All turn the same normalised photos into the same grids, to 1e-4 of the largest value in float32.
They run in turn, several rounds in one process; shown are medians, and what jaxcap takes of each.
PyTorch itself has no InceptionV3, so that jaxcap's two forms of it run alone.

    jaxcap          as features are computed for a cache: products where they are faster, BatchNorms
                    folded, and on processors a few photos at a time
    xla             jaxcap's network with XLA's convolutions but for 1x1, all photos at once
    channels last   PyTorch over channels-last memory
    NCHW            PyTorch over its ordinary memory
    folded          channels last, the BatchNorms folded: `torch.jit.freeze` and
                    `torch.jit.optimize_for_inference`
    compiled        `torch.compile` with frozen weights (--compile; needs a C++ compiler)
"""

import argparse
import copy
import functools
import statistics
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen as nn

from jaxcap import devices
from jaxcap.decoding import map_groups
from jaxcap.models.convolution_forms import Arithmetic
from jaxcap.models.convolutions import fold
from jaxcap.models.inception import InceptionV3
from jaxcap.models.resnet import ResNet
from jaxcap.pretrained import names, resnet
from tests.bench.report import Row, compare, time_in_turn
from tests.encoders import torch_resnet

FULL = {"stage_sizes": (3, 4, 6, 3), "width": 64}
SMALL = {"stage_sizes": (1, 1), "width": 8}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, nargs="+", default=[4, 32], help="a call")
    parser.add_argument("--network", choices=("resnet", "inception"), default="resnet")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="torch.compile too")


def run(options: argparse.Namespace) -> list[Row]:
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # on a GPU, TF32 as in JAX; on a CPU, float32
    build = build_resnet if options.network == "resnet" else build_inception
    network = build(options.small)
    rows = []
    for images in [2] if options.small else options.images:
        rng = np.random.default_rng(0)
        photos = rng.standard_normal((images, network.side, network.side, 3), np.float32)
        contestants = jaxcap_calls(network, photos, options.dtype)
        if network.torch is not None:
            contestants |= torch_calls(network.torch, photos, options)
        check(contestants, options.dtype)
        seconds = time_in_turn(contestants, options.rounds)
        for row in compare(seconds, "encoder", ["jaxcap"]):
            rate = images / statistics.median(row["rounds"])
            rows.append({"photos a call": images, **row, "photos/s": rate})
    return rows


class Network(NamedTuple):
    """A network: jaxcap's module and parameters, a photo's side, and the same in PyTorch."""

    module: nn.Module
    params: dict
    side: int
    torch: torch.nn.Module | None


def build_resnet(small):
    sizes = SMALL if small else FULL
    net = torch_resnet(torch, **sizes, layout="v1.5", pool="padded")
    arrays = {name: array.numpy() for name, array in net.state_dict().items()}
    unfolded = ResNet(**sizes, folded=False)
    variables = names.to_variables(arrays, unfolded, resnet.TORCH, file="", network="a ResNet")
    params = jax.tree.map(jnp.asarray, fold(variables))
    return Network(ResNet(**sizes), params, 32 if small else 224, net)


def build_inception(small):
    module = InceptionV3(8) if small else InceptionV3()
    side = 75 if small else 299
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, side, side, 3)))["params"]
    return Network(module, params, side, None)


def jaxcap_calls(network, photos, dtype):
    """Returns calls of jaxcap's network."""
    photos = jnp.asarray(photos)

    def build(arithmetic, size):
        module = network.module.clone(arithmetic=arithmetic)
        apply = functools.partial(module.apply, {"params": network.params})
        encode = jax.jit(lambda photos: map_groups(apply, (photos,), size))
        return lambda: np.asarray(encode(photos))

    few = devices.photos_at_once() if devices.is_processor() else None
    return {
        "jaxcap": build(Arithmetic(dtype, devices.is_processor()), few),
        "xla": build(Arithmetic(dtype), None),
    }


def torch_calls(net, photos, options):
    """Returns calls of PyTorch's network in its several forms."""
    device = "cuda" if jax.devices()[0].platform == "gpu" else "cpu"
    dtype = getattr(torch, options.dtype)
    # Photos lie channels-last; the network permutes them to PyTorch's order of axes.
    given = torch.from_numpy(photos).to(device, dtype)
    apart = given.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    plain = net.to(device, dtype, memory_format=torch.contiguous_format)
    last = copy.deepcopy(net).to(device, dtype, memory_format=torch.channels_last)
    with torch.inference_mode():
        frozen = torch.jit.freeze(torch.jit.trace(last, given))
        folded = torch.jit.optimize_for_inference(frozen)
    calls = {
        "channels last": torch_call(last, given),
        "NCHW": torch_call(plain, apart),
        "folded": torch_call(folded, given),
    }
    if options.compile:
        torch._inductor.config.freezing = True
        calls["compiled"] = torch_call(torch.compile(last), given)
    return calls


def torch_call(net, photos):
    def call():
        with torch.inference_mode():
            return net(photos).float().cpu().numpy()

    return call


def check(contestants, dtype):
    """Checks that all compute the same, so that none is fast because it is wrong."""
    expected = contestants["jaxcap"]()
    limit = 1e-4 if dtype == "float32" else 0.1
    for name, call in contestants.items():
        difference = np.abs(call() - expected).max() / np.abs(expected).max()
        if difference > limit:
            raise AssertionError(f"{name} differs from jaxcap by {difference:.1e}")
