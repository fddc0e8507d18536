"""The denoiser: any size in, the same size out, by itself and as the first step of an encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.denoiser import Denoiser, build_denoiser, double_sides, pad_sides
from jaxcap.models.encoder import Encoder
from jaxcap.models.resnet import ResNet

KEY = jax.random.key(0)


def photos(*shape, seed=0):
    return np.random.default_rng(seed).random((*shape, 3)).astype(np.float32)


@pytest.mark.parametrize("widths", [(4,), (4, 6), (3, 4, 5)])
@pytest.mark.parametrize("shape", [(2, 32, 32), (1, 37, 37), (3, 9, 14), (1, 1, 1)])
def test_any_size_comes_out_as_it_went_in(widths, shape):
    images = photos(*shape)
    denoised, _ = jax.jit(Denoiser(widths).init_with_output)(KEY, images)
    assert denoised.shape == images.shape
    assert denoised.dtype == jnp.float32
    assert 0 <= denoised.min() < denoised.max() <= 1 or shape == (1, 1, 1)


def test_one_set_of_parameters_serves_every_size():
    model = build_denoiser({"widths": [4, 6], "fingerprint": "x"})
    shapes = [jax.eval_shape(model.init, KEY, photos(1, size, size)) for size in (8, 30, 64)]
    assert shapes[0] == shapes[1] == shapes[2]


def test_sides_are_padded_with_their_last_pixels_and_only_as_far_as_needed():
    images = photos(2, 5, 6)
    padded = np.asarray(pad_sides(jnp.asarray(images), 4))
    np.testing.assert_array_equal(padded[:, :5, :6], images)
    np.testing.assert_array_equal(padded[:, 5:, :6], images[:, 4:].repeat(3, 1))
    np.testing.assert_array_equal(padded[..., 6:, :], padded[..., 5:6, :].repeat(2, 2))
    assert padded.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(pad_sides(jnp.asarray(padded), 4), padded)


def test_padding_is_seen_near_the_edge_alone():
    """Away from right and bottom, a photo's part comes out as the whole photo's does."""
    images = photos(1, 64, 64)
    model = Denoiser((4, 6))
    variables = model.init(KEY, images)
    whole = model.apply(variables, images)
    part = model.apply(variables, images[:, :47, :47])
    np.testing.assert_allclose(part[:, :28, :28], whole[:, :28, :28], atol=1e-6)
    assert not np.allclose(part[:, 40:], whole[:, 40:47, :47], atol=1e-6)


def test_doubled_sides_hold_each_value_four_times():
    x = np.arange(6.0).reshape(1, 2, 3, 1)
    doubled = double_sides(jnp.asarray(x))
    assert doubled.shape == (1, 4, 6, 1)
    for row in range(2):
        for column in range(2):
            np.testing.assert_array_equal(doubled[:, row::2, column::2], x)


def test_an_encoder_sees_the_denoised_photo():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    encoder = Encoder(ResNet(stage_sizes=(1, 1), width=2), "signed", Denoiser((4,)))
    regions, variables = jax.jit(encoder.init_with_output)(KEY, pixels)
    params = variables["params"]
    assert params.keys() == {"backbone", "denoiser"}
    denoised = Denoiser((4,)).apply({"params": params["denoiser"]}, pixels / np.float32(255))
    backbone = ResNet(stage_sizes=(1, 1), width=2)
    grid = jax.jit(backbone.apply)({"params": params["backbone"]}, 2 * denoised - 1)
    np.testing.assert_allclose(regions, grid.reshape(regions.shape), atol=1e-5)
    bare = Encoder(ResNet(stage_sizes=(1, 1), width=2), "signed")
    other = jax.jit(bare.apply)({"params": {"backbone": params["backbone"]}}, pixels)
    assert not np.allclose(regions, other, atol=1e-3)


def test_without_a_denoiser_the_same_parameters_are_drawn():
    pixels = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    backbone = ResNet(stage_sizes=(1, 1), width=2)
    bare = Encoder(backbone).init(KEY, pixels)["params"]
    behind = Encoder(backbone, denoiser=Denoiser((4,))).init(KEY, pixels)["params"]
    jax.tree.map(np.testing.assert_array_equal, bare["backbone"], behind["backbone"])
