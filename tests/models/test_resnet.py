"""The encoder: its grid, its layouts and pools, the folding of its BatchNorms, and parity with
PyTorch.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.convolution_forms import Arithmetic
from jaxcap.models.convolutions import fold
from jaxcap.models.resnet import ResNet, max_pool
from jaxcap.pretrained import names, resnet
from tests.encoders import (
    convolve_plainly,
    images,
    largest_difference,
    normalize_plainly,
    randomised,
    torch_resnet,
    windows,
)

SMALL = {"stage_sizes": (2, 1), "width": 4}
VARIANTS = [(layout, pool) for layout in ("v1.5", "v1") for pool in ("padded", "ceil")]


def plain_conv_norm(variables, x, module, name, stride, eps):
    """Applies one convolution and its BatchNorm in float64, as the formulas say."""
    params = variables["params"] if module is None else variables["params"][module]
    statistics = variables["batch_stats"] if module is None else variables["batch_stats"][module]
    norm = name.replace("conv", "bn")
    y = convolve_plainly(x, params[name], stride)
    return normalize_plainly(y, params[norm], statistics[norm], eps)


def plain_pool(x, pool):
    """Takes each window's maximum, one window at a time."""
    start = -1 if pool == "padded" else 0
    size = x.shape[1]
    reach = 1 if pool == "padded" else 0  # how far a whole window may lie outside on the right
    starts = list(range(start, size - 3 + reach + 1, 2))
    if pool == "ceil" and starts[-1] + 3 < size:
        starts.append(starts[-1] + 2)
    cut = [slice(max(first, 0), first + 3) for first in starts]
    return np.array(
        [[x[:, rows, columns].max((1, 2)) for columns in cut] for rows in cut]
    ).transpose(2, 0, 1, 3)


def plain_resnet(model, variables, x):
    """Applies an unfolded ResNet in float64 numpy."""

    def conv_norm(x, module, name, stride):
        return plain_conv_norm(variables, x, module, name, stride, model.eps)

    x = plain_pool(np.maximum(conv_norm(x.astype(np.float64), None, "conv1", 2), 0), model.pool)
    for stage, blocks in enumerate(model.stage_sizes):
        for block in range(blocks):
            name = f"layer{stage + 1}_{block}"
            stride = 2 if stage and not block else 1
            first, second = (stride, 1) if model.layout == "v1" else (1, stride)
            y = np.maximum(conv_norm(x, name, "conv1", first), 0)
            y = conv_norm(np.maximum(conv_norm(y, name, "conv2", second), 0), name, "conv3", 1)
            if not block:
                x = conv_norm(x, name, "downsample_conv", stride)
            x = np.maximum(x + y, 0)
    return x


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize(("layout", "pool"), VARIANTS)
def test_the_grid_has_the_promised_size(layout, pool, size):
    model = ResNet((1, 1, 2), 4, layout, pool)
    grid = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((3, size, size, 3)))[0]
    )
    assert grid.shape == (3, size // 16, size // 16, 4 * 4 * 2**2)


def test_levels_are_the_stages_averaged_over_the_last_ones_cells():
    x = images()
    whole = ResNet((1, 1, 2), 4, levels=3)
    grid, variables = jax.jit(whole.init_with_output)(jax.random.key(0), x)
    assert whole.level_channels == (16, 32, 64)
    for stages in (1, 2, 3):
        names = ("conv1", *(f"layer{stage + 1}" for stage in range(stages)))
        params = {
            name: leaf for name, leaf in variables["params"].items() if name.startswith(names)
        }
        alone = np.asarray(ResNet((1, 1, 2)[:stages], 4).apply({"params": params}, x))
        cells = windows(alone, alone.shape[1] // grid.shape[1], alone.shape[1] // grid.shape[1])
        end = sum(whole.level_channels[:stages])
        level = grid[..., end - whole.level_channels[stages - 1] : end]
        np.testing.assert_allclose(level, cells.mean((4, 5)), rtol=1e-5, atol=1e-6)
    for levels in (1, 2):
        fewer = ResNet((1, 1, 2), 4, levels=levels)
        np.testing.assert_array_equal(
            fewer.apply(variables, x), grid[..., -sum(fewer.level_channels) :]
        )


def test_resnet50_has_a_grid_of_49_regions_and_23_million_parameters():
    shapes = jax.eval_shape(
        lambda: ResNet().init_with_output(jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    )
    assert shapes[0].shape == (1, 7, 7, 2048)
    assert set(shapes[1]) == {"params"}
    # torchvision's 25,557,032 less the classifier's 2,049,000 and, as scale and bias become one
    # bias, 26,560 scales.
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes[1])) == 25_557_032 - 2_049_000 - 26_560


@pytest.mark.parametrize("pool", ["padded", "ceil"])
@pytest.mark.parametrize("size", range(4, 11))
def test_the_pool_takes_the_maximum_of_each_window(pool, size):
    x = -np.random.default_rng(size).random(
        (2, size, size, 3), np.float32
    )  # negative: padding must never win
    np.testing.assert_array_equal(max_pool(jnp.asarray(x), pool), plain_pool(x, pool))


@pytest.mark.parametrize("conv_bias", [False, True])
@pytest.mark.parametrize(("layout", "pool"), VARIANTS)
def test_features_follow_the_formulas_folded_and_not(layout, pool, conv_bias):
    model = ResNet(**SMALL, layout=layout, pool=pool, folded=False, eps=1e-3, conv_bias=conv_bias)
    variables = randomised(model)
    x = images()
    expected = plain_resnet(model, variables, x)
    assert largest_difference(model.apply(variables, x), expected) < 1e-5
    folded = ResNet(**SMALL, layout=layout, pool=pool)
    assert (
        largest_difference(folded.apply({"params": fold(variables, model.eps)}, x), expected) < 1e-5
    )


def test_a_new_network_is_as_deep_as_its_projections():
    """Blocks without a projection change nothing at the start, so depth is harmless before
    training.
    """
    x = images()
    deep = ResNet((2, 2), 4)
    features, variables = jax.jit(deep.init_with_output)(jax.random.key(1), x)
    shallow = {name: leaf for name, leaf in variables["params"].items() if not name.endswith("_1")}
    assert float(features.std()) > 0.1
    np.testing.assert_allclose(
        ResNet((1, 1), 4).apply({"params": shallow}, x), features, rtol=1e-5, atol=1e-6
    )


def test_a_new_network_learns_in_every_parameter():
    """Two steps of gradient descent reach every leaf, those behind the zero-initialised
    convolutions too.
    """
    model = ResNet((1, 2), 4)
    x = images(8)
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]
    target = jnp.asarray(images(8, 4, seed=1)[..., :1])

    @jax.jit
    def step(params):
        loss, gradient = jax.value_and_grad(
            lambda p: jnp.square(model.apply({"params": p}, x) - target).mean()
        )(params)
        return loss, jax.tree.map(lambda leaf, slope: leaf - 0.05 * slope, params, gradient)

    start = params
    after = params
    losses = []
    for _ in range(3):
        loss, after = step(after)
        losses.append(float(loss))
    assert losses[0] > losses[1] > losses[2]
    moved = jax.tree.map(lambda old, new: bool(np.any(old != new)), start, after)
    assert all(jax.tree.leaves(moved)), moved


@pytest.mark.parametrize("as_products", [True, False])
def test_bfloat16_computes_in_half_precision_near_the_same_features(as_products):
    model = ResNet(**SMALL, folded=False)
    params = fold(randomised(model))
    x = images()
    arithmetic = Arithmetic("bfloat16", as_products)
    half = ResNet(**SMALL, arithmetic=arithmetic).apply({"params": params}, x)
    assert half.dtype == jnp.float32
    assert (
        1e-5
        < largest_difference(half, np.asarray(ResNet(**SMALL).apply({"params": params}, x)))
        < 0.03
    )


def variables_of(net, model):
    """Copies a PyTorch network's arrays into the variables of an unfolded model."""
    arrays = {name: array.numpy() for name, array in net.state_dict().items()}
    return names.to_variables(arrays, model, resnet.TORCH, file="torch", network="a ResNet")


@pytest.mark.parity
@pytest.mark.parametrize("size", [65, 96])
@pytest.mark.parametrize(("layout", "pool"), VARIANTS)
def test_features_equal_pytorchs_at_any_size(layout, pool, size):
    torch = pytest.importorskip("torch")
    net = torch_resnet(torch, (2, 2, 2), 8, layout, pool)
    model = ResNet((2, 2, 2), 8, layout, pool, folded=False)
    variables = variables_of(net, model)
    x = images(2, size)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    assert largest_difference(model.apply(variables, x), expected) < 1e-5
    folded = ResNet((2, 2, 2), 8, layout, pool).apply({"params": fold(variables)}, x)
    assert folded.shape == expected.shape
    assert largest_difference(folded, expected) < 1e-5


@pytest.mark.parity
@pytest.mark.parametrize(("layout", "pool"), [("v1.5", "padded"), ("v1", "ceil")])
def test_resnet50s_features_equal_pytorchs(layout, pool):
    torch = pytest.importorskip("torch")
    net = torch_resnet(torch, (3, 4, 6, 3), 64, layout, pool)
    model = ResNet(layout=layout, pool=pool, folded=False)
    variables = variables_of(net, model)
    x = images(1, 224)
    with torch.inference_mode():
        expected = net(torch.from_numpy(x)).numpy()
    assert largest_difference(jax.jit(model.apply)(variables, x), expected) < 1e-4
    folded = jax.jit(ResNet(layout=layout, pool=pool).apply)({"params": fold(variables)}, x)
    assert largest_difference(folded, expected) < 1e-4
