"""The encoder: normalisation, the grid, and a second backbone from a line in the table."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models import encoder
from jaxcap.models.encoder import Encoder, build_encoder, normalize
from jaxcap.models.resnet import LAYOUTS, POOLS, ResNet

SECTION = {
    "backbone": "resnet",
    "stage_sizes": (1, 1),
    "width": 2,
    "layout": "v1.5",
    "levels": 1,
}


def test_normalize_follows_each_normalization():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3), np.uint8)
    red, green, blue = np.moveaxis(pixels.astype(float), -1, 0)
    expected = {
        "imagenet": [
            (red / 255 - 0.485) / 0.229,
            (green / 255 - 0.456) / 0.224,
            (blue / 255 - 0.406) / 0.225,
        ],
        "caffe": [blue - 103.939, green - 116.779, red - 123.68],
        "signed": [red / 127.5 - 1, green / 127.5 - 1, blue / 127.5 - 1],
    }
    for normalization, channels in expected.items():
        made = jax.jit(normalize, static_argnums=1)(pixels, normalization)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, np.stack(channels, -1), rtol=1e-5, atol=1e-5)


def test_normalize_takes_any_leading_axes_and_refuses_other_names():
    assert normalize(np.zeros((2, 5, 4, 4, 3), np.uint8)).shape == (2, 5, 4, 4, 3)
    assert normalize(np.zeros((4, 4, 3), np.uint8), "signed").min() == -1
    with pytest.raises(ValueError, match="no normalization 'torch'"):
        normalize(np.zeros((4, 4, 3), np.uint8), "torch")


@pytest.mark.parametrize("size", [32, 33, 47, 64, 100, 224])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_grid_is_that_of_the_features(size, pool, layout):
    module = Encoder(ResNet((1, 1, 1), 2, layout, pool))
    photo = jnp.zeros((1, size, size, 3), jnp.uint8)
    regions = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), photo)[0])
    rows, columns = module.grid(size)
    assert regions.shape == (1, rows * columns, sum(module.level_channels))


def test_resnet50_has_7_by_7_regions():
    assert Encoder(ResNet()).grid(224) == (7, 7)


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        ({"levels": 3}, 64, "encoder.levels=3: must be from 1 to 2"),
        ({}, 7, "images.size=7: must be at least 8"),
        ({"levels": 2}, 60, "images.size=60: must be a multiple of 8"),
    ],
)
def test_a_photo_without_a_grid_is_refused(options, size, message):
    module = build_encoder(SECTION | options, pool="padded", normalization="imagenet")
    with pytest.raises(ValueError, match=message):
        module.grid(size)


@pytest.mark.parametrize(("entry", "levels"), [(1, 2), (2, 3), (3, 1), (3, 2)])
def test_a_cut_encoder_is_the_whole_one(entry, levels):
    """Its parts give the same regions and, to what is above the cut, the same gradients."""
    whole = Encoder(ResNet((1, 2, 1), 2, levels=levels))
    cut = whole.clone(entry=entry)
    photos = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    params = jax.jit(whole.init)(jax.random.key(0), photos)["params"]
    # The last kernel of a block begins at zero, and would hide the block.
    params = jax.tree.map(lambda x: x + 0.1, params)["backbone"]
    learning = {name: params[name] for name in params if name >= f"layer{entry}"}
    grid = jax.jit(lambda p: cut.apply({"params": {"backbone": p}}, photos, method="lower"))(params)
    side = 8 if entry <= 2 else 4
    assert grid.shape == (2, side, side, (2, 8, 16)[entry - 1])

    def encode_whole(learning):
        regions = whole.apply({"params": {"backbone": params | learning}}, photos)
        return (regions**2).sum(), regions

    def encode_upper(learning):
        # Without the parameters below the cut.
        regions = cut.apply({"params": {"backbone": learning}}, grid, method="upper")
        return (regions**2).sum(), regions

    grads, regions = jax.jit(jax.grad(encode_whole, has_aux=True))(learning)
    upper_grads, upper_regions = jax.jit(jax.grad(encode_upper, has_aux=True))(learning)
    np.testing.assert_allclose(upper_regions, regions, rtol=1e-5, atol=1e-6)
    pairs = zip(jax.tree.leaves(upper_grads), jax.tree.leaves(grads), strict=True)
    for ours, theirs in pairs:
        assert np.any(ours)
        largest = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize(
    ("levels", "learning", "entry"),
    [
        (1, ["layer4_2"], 4),
        (2, ["layer4_0", "layer4_1"], 4),
        (3, ["layer4_0"], 3),
        (4, ["layer4_0"], 2),
        (1, ["layer2_11", "layer4_0"], 2),
        (2, ["layer1_0"], 1),
        (1, ["conv1", "layer4_0"], 0),
    ],
)
def test_the_cut_is_below_what_learns_and_below_the_levels(levels, learning, entry):
    """The grid that enters a stage is the level of the stage before."""
    assert ResNet(levels=levels).find_entry(learning) == entry


class Patches(nn.Module):
    """A toy backbone: each patch of 8 x 8 pixels becomes a region, by one linear layer."""

    width: int

    @nn.compact
    def __call__(self, images):
        return nn.Conv(self.width, (8, 8), strides=8, padding="VALID", name="patch")(images)

    def grid(self, size):
        return size // 8, size // 8

    @property
    def level_channels(self):
        return (self.width,)


def test_a_second_backbone_is_a_line_in_the_table(monkeypatch):
    backbone = encoder.Backbone(lambda section, pool, arithmetic: Patches(section["width"]))
    monkeypatch.setitem(encoder.BACKBONES, "patches", backbone)
    section = SECTION | {"backbone": "patches", "width": 5}
    module = build_encoder(section, pool="padded", normalization="signed")
    photos = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    regions, _ = module.init_with_output(jax.random.key(0), photos)
    assert module.grid(32) == (4, 4)
    assert regions.shape == (2, 16, 5)
