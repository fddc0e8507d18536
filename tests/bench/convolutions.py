"""Times the forms in which each convolution of ResNet50 can be computed, at 224 pixels.

    python -m tests.bench convolutions --images 32 --rounds 5

    xla       the compiler's convolution
    product   of a 1x1 convolution: one matrix product
    views     a product for each weight of the kernel, of what it sees, summed
    columns   all that the weights see side by side, and one product (im2col)
    tiles     Winograd's 16 products a tile of 2x2 cells; the kernel is transformed in each call,
              where the encoder does it once for all groups of photos

Each adds its bias and is followed by a ReLU, as in the network with its BatchNorms folded. `times`
is how often ResNet50 has the shape; `torch` is PyTorch's channels-last convolution.
"""

import argparse
import functools
import statistics
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional

from jaxcap.models import convolution_forms as forms
from tests.bench.report import Row, time_in_turn


class Shape(NamedTuple):
    """A convolution: how often there is one, side of its input, kernel, stride and channels."""

    times: int
    side: int
    size: int
    stride: int
    inputs: int
    outputs: int


SHAPES = [
    Shape(1, 224, 7, 2, 3, 64),
    Shape(1, 56, 1, 1, 64, 64),
    Shape(4, 56, 1, 1, 64, 256),  # one of them beside the shortcut
    Shape(2, 56, 1, 1, 256, 64),
    Shape(3, 56, 3, 1, 64, 64),
    Shape(1, 56, 1, 1, 256, 128),
    Shape(1, 56, 3, 2, 128, 128),
    Shape(1, 56, 1, 2, 256, 512),
    Shape(4, 28, 1, 1, 128, 512),
    Shape(3, 28, 1, 1, 512, 128),
    Shape(3, 28, 3, 1, 128, 128),
    Shape(1, 28, 1, 1, 512, 256),
    Shape(1, 28, 3, 2, 256, 256),
    Shape(1, 28, 1, 2, 512, 1024),
    Shape(6, 14, 1, 1, 256, 1024),
    Shape(5, 14, 1, 1, 1024, 256),
    Shape(5, 14, 3, 1, 256, 256),
    Shape(1, 14, 1, 1, 1024, 512),
    Shape(1, 14, 3, 2, 512, 512),
    Shape(1, 14, 1, 2, 1024, 2048),
    Shape(3, 7, 1, 1, 512, 2048),
    Shape(2, 7, 1, 1, 2048, 512),
    Shape(2, 7, 3, 1, 512, 512),
]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, nargs="+", default=[4, 32], help="a call")
    parser.add_argument("--size", type=int, nargs="+", default=[1, 3, 7], help="of the kernels")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")


def run(options: argparse.Namespace) -> list[Row]:
    if options.threads:
        torch.set_num_threads(options.threads)
    shapes = [shape for shape in SHAPES if shape.size in options.size]
    if options.small:
        options.images = [1]
        shapes = shapes[-3:]
    rows = []
    for images in options.images:
        rows += [time_shape(shape, images, options) for shape in shapes]
    return rows


def time_shape(shape: Shape, images: int, options: argparse.Namespace) -> Row:
    """Returns the row of one convolution: the milliseconds of each form."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((images, shape.side, shape.side, shape.inputs), np.float32)
    kernel = rng.standard_normal((shape.size, shape.size, shape.inputs, shape.outputs), np.float32)
    kernel /= np.sqrt(np.prod(kernel.shape[:3]))
    bias = rng.standard_normal(shape.outputs, np.float32)
    contestants = {"torch": torch_call(x, kernel, bias, shape.stride, options.dtype)}
    for name in choose_forms(shape, options.dtype):
        call = jax_call(FORMS[name], x, kernel, bias, shape.stride, options.dtype)
        contestants[name] = call
    expected = contestants["torch"]()
    for name, call in contestants.items():
        wrong = np.abs(np.asarray(call(), np.float32) - expected).max()
        if wrong > (1e-3 if options.dtype == "float32" else 0.1):
            raise AssertionError(f"{name} of {shape} is off by {wrong}")
    seconds = time_in_turn(contestants, options.rounds)
    medians = {name: 1000 * statistics.median(of_one) for name, of_one in seconds.items()}
    ours = {name: median for name, median in medians.items() if name != "torch"}
    row: Row = {"images": images, **shape._asdict()}
    for name in [*FORMS, "torch"]:
        row[f"{name}, ms"] = medians.get(name, "")
    row["fastest"] = min(ours, key=lambda name: ours[name])
    row["gains"] = f"{medians['xla'] / min(ours.values()) - 1:.0%}"
    return row


def jax_call(form, x, kernel, bias, stride, dtype):
    """Returns a call of a form that computes relu(convolution + bias)."""

    margin = kernel.shape[0] // 2
    margins = [(margin, margin)] * 2

    @jax.jit
    def compute(x, kernel, bias):
        y = form(x, kernel.astype(dtype), stride, margins)
        return jax.nn.relu(y + bias).astype(dtype)

    arguments = [jnp.asarray(x, dtype), jnp.asarray(kernel), jnp.asarray(bias)]
    return lambda: compute(*arguments).block_until_ready()


def multiply(x, kernel):
    return jnp.matmul(x, kernel, preferred_element_type=jnp.float32)


def convolve(x, kernel, stride, margins):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        margins,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        preferred_element_type=jnp.float32,
    )


def multiply_cells(x, kernel, stride, margins):
    del margins
    return multiply(x[:, ::stride, ::stride], kernel[0, 0])


FORMS = {
    "xla": convolve,
    "product": multiply_cells,
    "views": functools.partial(forms.multiply_views, multiply=multiply),
    "columns": functools.partial(forms.multiply_columns, multiply=multiply),
    "tiles": lambda x, kernel, stride, margins: forms.multiply_tiles(x, kernel, margins, multiply),
}


def choose_forms(shape, dtype):
    """Returns the forms that a convolution has."""
    names = ["xla"]
    if shape.size == 1:
        names.append("product")
    else:
        names.append("columns")
    if shape.size == 3:
        names.append("views")
    if shape.size == 3 and shape.stride == 1 and dtype == "float32":
        names.append("tiles")
    return names


def torch_call(x, kernel, bias, stride, dtype):
    """Returns a call of PyTorch's convolution over channels-last memory."""
    kind = getattr(torch, dtype)
    x = torch.from_numpy(x).to(kind).permute(0, 3, 1, 2)  # channels-last as it lies
    weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()).to(kind)
    weight = weight.to(memory_format=torch.channels_last)
    bias = torch.from_numpy(bias).to(kind)

    @torch.inference_mode()
    def call():
        y = functional.conv2d(x, weight, bias, stride, kernel.shape[0] // 2).relu_()
        return y.permute(0, 2, 3, 1).float().numpy()

    return call
