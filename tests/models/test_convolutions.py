"""Convolutions with their BatchNorms: any kernel, folded and not, against sums in float64."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.convolution_forms import FLOAT32, Arithmetic, apply_kernel
from jaxcap.models.convolutions import Norms, convolve, fold
from jaxcap.models.inception import InceptionV3
from jaxcap.models.resnet import ResNet
from tests.encoders import (
    convolve_plainly,
    images,
    largest_difference,
    normalize_plainly,
    randomised,
)

EPS = 1e-3
KERNELS = [1, 3, 5, (1, 7), (7, 1), (3, 1)]


class One(nn.Module):
    """One convolution with its BatchNorm."""

    size: int | tuple[int, int]
    stride: int
    padded: bool
    norms: Norms
    arithmetic: Arithmetic = FLOAT32

    @nn.compact
    def __call__(self, x):
        return convolve(
            x,
            5,
            self.size,
            self.stride,
            name="conv",
            norms=self.norms,
            arithmetic=self.arithmetic,
            padded=self.padded,
        )


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", KERNELS)
def test_any_kernel_follows_the_formula_folded_and_not(size, stride, padded):
    x = images(2, 12)
    for scale, conv_bias in [(True, False), (False, False), (True, True)]:
        norms = Norms(False, EPS, scale, conv_bias)
        model = One(size, stride, padded, norms)
        variables = randomised(model, 12)
        assert ("scale" in variables["params"]["bn"]) == scale
        assert ("bias" in variables["params"]["conv"]) == conv_bias
        expected = convolve_plainly(x, variables["params"]["conv"], stride, padded)
        norm = variables["params"]["bn"], variables["batch_stats"]["bn"]
        expected = normalize_plainly(expected, *norm, EPS)
        assert largest_difference(model.apply(variables, x), expected) < 1e-5
        folded = One(size, stride, padded, Norms(True, EPS))
        found = folded.apply({"params": fold(variables, EPS)}, x)
        assert largest_difference(found, expected) < 1e-5


def test_a_norm_without_a_scale_folds_as_with_one_of_ones():
    variables = randomised(One(3, 1, True, Norms(False, EPS, scale=False)), 12)
    ones = {"params": {**variables["params"]}, "batch_stats": variables["batch_stats"]}
    ones["params"]["bn"] = {**ones["params"]["bn"], "scale": np.ones(5, np.float32)}
    folded = fold(variables, EPS)["conv"]
    for leaf, expected in fold(ones, EPS)["conv"].items():
        np.testing.assert_array_equal(folded[leaf], expected)


@pytest.mark.parametrize(
    ("unfolded", "folded"),
    [
        (ResNet((2, 1), 4, folded=False), ResNet((2, 1), 4)),
        (InceptionV3(4, folded=False), InceptionV3(4)),
        (InceptionV3(4, folded=False, norm_scale=False), InceptionV3(4)),
    ],
)
def test_folding_gives_exactly_the_parameters_of_the_folded_network(unfolded, folded):
    params = fold(randomised(unfolded, 80), unfolded.eps)
    photo = jnp.zeros((1, 80, 80, 3))
    expected = jax.eval_shape(lambda: folded.init(jax.random.key(0), photo))["params"]
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), params) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), expected
    )


# Kernel, stride, side and channels: a case or more for each of the forms on processors.
CASES = [
    (1, 2, 9, 20),  # a product
    (3, 1, 7, 20),  # columns
    (3, 2, 15, 20),
    ((1, 7), 1, 8, 20),
    (3, 1, 9, 32),  # tiles, of an odd grid
    (3, 1, 10, 32),
    (3, 1, 15, 20),  # XLA's
    (7, 2, 20, 3),
]


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize(("size", "stride", "side", "channels"), CASES)
def test_all_forms_compute_the_same_and_have_the_same_gradients(
    size, stride, side, channels, padded
):
    sizes = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, side, side, channels)).astype(np.float32)
    kernel = rng.normal(size=(*sizes, channels, 40)).astype(np.float32)
    margins = tuple(((length - 1) // 2 if padded else 0,) * 2 for length in sizes)

    def apply(arithmetic, x, kernel):
        return apply_kernel(x, kernel, stride, margins, arithmetic)

    expected, pull = jax.vjp(lambda *given: apply(FLOAT32, *given), x, kernel)
    gradient = rng.normal(size=expected.shape).astype(np.float32)
    for dtype, limit in [("float32", 1e-5), ("bfloat16", 0.02)]:
        forms = [Arithmetic(dtype, as_products=True), Arithmetic(dtype, as_products=False)]
        for arithmetic in forms:
            found, pull_found = jax.vjp(lambda *given: apply(arithmetic, *given), x, kernel)  # noqa: B023
            assert found.dtype == jnp.float32
            pairs = [(found, expected)]
            pairs += zip(pull_found(gradient), pull(gradient), strict=True)
            for ours, theirs in pairs:
                assert largest_difference(ours, np.asarray(theirs, np.float64)) < limit
                if dtype == "bfloat16":  # which rounds
                    assert largest_difference(ours, np.asarray(theirs, np.float64)) > 1e-4
