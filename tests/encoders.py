"""Encoders with random weights and statistics, ours and PyTorch's, for the tests of the encoder and
of its weights.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxcap.pretrained import resnet


def images(count=2, size=32, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size, size, 3)).astype(np.float32)


def randomised(model, size=32, seed=0):
    """Returns variables of an unfolded model with nothing left at its initial value."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, size, size, 3))))
    draw = {
        "kernel": lambda shape: rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])),
        "scale": lambda shape: rng.uniform(0.5, 1.2, shape),
        "bias": lambda shape: rng.normal(size=shape) * 0.3,
        "mean": lambda shape: rng.normal(size=shape) * 0.3,
        "var": lambda shape: rng.uniform(0.5, 2.0, shape),
    }
    flat = {
        path: draw[path[-1]](leaf.shape).astype(np.float32)
        for path, leaf in flatten_dict(shapes).items()
    }
    return unflatten_dict(flat)


def windows(x, size, stride):
    """Returns the views [B, m, n, C, height, width] that a filter sees."""
    sizes = (size, size) if isinstance(size, int) else size
    return np.lib.stride_tricks.sliding_window_view(x, sizes, axis=(1, 2))[:, ::stride, ::stride]


def convolve_plainly(x, params, stride, padded=True):
    """Applies a convolution of these parameters in float64, as the formula says."""
    kernel = params["kernel"].astype(np.float64)
    if padded:
        margins = [(side // 2, side // 2) for side in kernel.shape[:2]]
        x = np.pad(x, ((0, 0), *margins, (0, 0)))
    y = np.einsum("bhwcij,ijcd->bhwd", windows(x, kernel.shape[:2], stride), kernel)
    return y + params.get("bias", 0.0)


def normalize_plainly(x, params, statistics, eps):
    """Applies a BatchNorm of these parameters and statistics in float64, as the formula says."""
    deviation = np.sqrt(statistics["var"].astype(np.float64) + eps)
    return (x - statistics["mean"]) / deviation * params.get("scale", 1.0) + params["bias"]


def torch_arrays(variables, name=resnet.torch_name):
    """Writes our variables down as torchvision would: its names, its kernels, a classifier and
    counters.
    """
    arrays = {"fc.weight": np.zeros((10, 32), np.float32), "fc.bias": np.zeros(10, np.float32)}
    for path, leaf in flatten_dict(variables).items():
        arrays[name(path)] = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf
        if path[-1] == "mean":
            counter = name(path).replace("running_mean", "num_batches_tracked")
            arrays[counter] = np.array(7, np.int64)
    return {key: np.array(array, order="C") for key, array in arrays.items()}


def largest_difference(ours, theirs):
    """Returns the largest difference relative to the largest value."""
    return float(np.abs(np.asarray(ours, np.float64) - theirs).max() / np.abs(theirs).max())


def torch_resnet(torch, stage_sizes, width, layout, pool):
    """Builds the convolutional part of a ResNet as a PyTorch user would, under torchvision's
    names.
    """
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, channels, stride):
            super().__init__()
            first, second = (stride, 1) if layout == "v1" else (1, stride)
            self.conv1 = nn.Conv2d(inputs, channels, 1, first, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, second, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(4 * channels)
            self.downsample = nn.Identity()
            if stride > 1 or inputs != 4 * channels:
                projection = nn.Conv2d(inputs, 4 * channels, 1, stride, bias=False)
                self.downsample = nn.Sequential(projection, nn.BatchNorm2d(4 * channels))

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            y = torch.relu(self.bn2(self.conv2(y)))
            return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.pool = (
                nn.MaxPool2d(3, 2, 1) if pool == "padded" else nn.MaxPool2d(3, 2, ceil_mode=True)
            )
            inputs = width
            for stage, blocks in enumerate(stage_sizes):
                made = []
                for block in range(blocks):
                    made.append(Block(inputs, width * 2**stage, 2 if stage and not block else 1))
                    inputs = 4 * width * 2**stage
                setattr(self, f"layer{stage + 1}", nn.Sequential(*made))

        def forward(self, x):
            x = self.pool(torch.relu(self.bn1(self.conv1(x.permute(0, 3, 1, 2)))))
            for stage in range(len(stage_sizes)):
                x = getattr(self, f"layer{stage + 1}")(x)
            return x.permute(0, 2, 3, 1)

    torch.manual_seed(0)
    net = Net().eval()
    for name, array in net.state_dict().items():
        if name.endswith("running_mean"):
            array.normal_(0, 0.3)
        elif name.endswith("running_var"):
            array.uniform_(0.5, 2)
        elif ("bn" in name and name.endswith("weight")) or "downsample.1.weight" in name:
            array.uniform_(0.5, 1.2)
        elif name.endswith("bias"):
            array.normal_(0, 0.3)
    return net
