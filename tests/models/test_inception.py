"""InceptionV3: its grid and channels, its pools, its folding, and parity with torchvision."""

import sys
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.convolutions import fold
from jaxcap.models.encoder import Encoder
from jaxcap.models.inception import InceptionV3
from jaxcap.pretrained import inception
from jaxcap.training.partition import assign_rates
from tests.encoders import images, largest_difference, randomised, torch_arrays

NARROW = 4  # width


def shapes(model, size):
    """Returns the shapes of the features and of the variables, without computing them."""
    photos = jnp.zeros((3, size, size, 3))
    return jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), photos))


@pytest.mark.parametrize("size", [75, 76, 90, 106, 107, 138, 139, 224, 299, 300])
def test_the_grid_is_that_of_the_features(size):
    model = InceptionV3(NARROW)
    features, _ = shapes(model, size)
    assert features.shape == (3, *model.grid(size), *model.level_channels)


def test_inceptionv3_has_64_regions_and_keras_number_of_parameters():
    features, variables = shapes(InceptionV3(), 299)
    assert features.shape == (3, 8, 8, 2048)
    assert set(variables) == {"params"}
    # Keras counts 21,802,784 without the classifier, 34,432 of them means and variances; its shifts
    # are our biases.
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 21_802_784 - 34_432


@pytest.mark.parametrize("width", [1, 3, 16, 48, 128])
def test_channels_are_in_proportion_to_the_width_and_never_none(width):
    model = InceptionV3(width)
    features, variables = shapes(model, 75)
    assert features.shape[-1] == sum(model.level_channels)
    assert variables["params"]["Conv2d_2b_3x3"]["conv"]["bias"].shape == (width,)
    whole = shapes(InceptionV3(), 75)[1]["params"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        if path[-1].key == "bias":
            channels = whole[path[0].key]
            for key in path[1:]:
                channels = channels[key.key]
            assert leaf.shape[0] == max(1, channels.shape[0] * width // 64)


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        ({}, 74, "images.size=74: must be at least 75 for encoder.backbone=inception"),
        ({"levels": 2}, 299, "encoder.levels=2: must be 1 for encoder.backbone=inception"),
    ],
)
def test_a_photo_without_a_grid_is_refused(options, size, message):
    with pytest.raises(ValueError, match=message):
        InceptionV3(**options).grid(size)


@pytest.mark.parametrize(("norm_scale", "pool"), [(True, "counted"), (False, "uncounted")])
def test_the_folded_network_has_the_same_features(norm_scale, pool):
    model = InceptionV3(NARROW, pool, folded=False, norm_scale=norm_scale)
    variables = randomised(model, 107)
    x = images(2, 107)
    expected = jax.jit(model.apply)(variables, x)
    params = fold(variables, model.eps)
    features = jax.jit(InceptionV3(NARROW, pool).apply)({"params": params}, x)
    assert float(expected.std()) > 0.01
    assert largest_difference(features, np.asarray(expected)) < 1e-5
    other = "counted" if pool == "uncounted" else "uncounted"
    features = jax.jit(InceptionV3(NARROW, other).apply)({"params": params}, x)
    assert largest_difference(features, np.asarray(expected)) > 1e-3


def test_a_rule_names_a_block():
    _, variables = shapes(InceptionV3(NARROW), 75)
    params = {"encoder": {"backbone": variables["params"]}}
    rules = [("encoder/backbone/Mixed_7*", 0.1), ("encoder/*", 0.0)]
    rates = assign_rates(params, rules)["encoder"]["backbone"]
    assert {name for name, block in rates.items() if any(jax.tree.leaves(block))} == {
        "Mixed_7a",
        "Mixed_7b",
        "Mixed_7c",
    }


@pytest.fixture
def torchvision(monkeypatch):
    """Returns the library, whose networks need none of its compiled operators: these may be of
    another build of PyTorch, and only their registration fails then.
    """
    pytest.importorskip("torch")
    registrations = "torchvision._meta_registrations"
    monkeypatch.setitem(sys.modules, registrations, ModuleType(registrations))
    return pytest.importorskip("torchvision")


@pytest.mark.parity
@pytest.mark.parametrize("size", [107, 299])
def test_features_equal_torchvisions_from_the_same_pixels(torchvision, size):
    """Our arrays fill torchvision's network under its names; ours sees pixels in [-1, 1], which its
    own makes of ImageNet's normalisation.
    """
    import torch
    from torchvision.transforms import Normalize

    model = InceptionV3(pool="counted", folded=False)
    variables = randomised(model, 75)
    net = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=True)
    arrays = {
        name: torch.from_numpy(array)
        for name, array in torch_arrays(variables, inception.torch_name).items()
        if not name.startswith("fc.")
    }
    lacks = net.load_state_dict(arrays, strict=False)
    assert lacks.unexpected_keys == []
    assert {name.partition(".")[0] for name in lacks.missing_keys} == {"AuxLogits", "fc"}
    features = []
    net.Mixed_7c.register_forward_hook(lambda module, inputs, output: features.append(output))
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    normalize = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    x = normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    with torch.inference_mode():
        net.eval()(x)
    expected = features[0].permute(0, 2, 3, 1).numpy()
    assert float(expected.std()) > 0.01
    encoder = Encoder(InceptionV3(pool="counted"), "signed")
    params = {"backbone": fold(variables, model.eps)}
    regions = jax.jit(encoder.apply)({"params": params}, pixels)
    assert largest_difference(regions.reshape(expected.shape), expected) < 1e-4
