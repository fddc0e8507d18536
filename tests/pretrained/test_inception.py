"""InceptionV3's weights: torchvision's and Keras's names, its hub, and files of another network."""

import functools
import hashlib
import sys

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from jaxcap.io import fetch
from jaxcap.models.convolutions import fold
from jaxcap.models.inception import InceptionV3
from jaxcap.models.resnet import ResNet
from jaxcap.pretrained import inception, resnet
from jaxcap.pretrained.names import _model_shapes
from tests.encoders import images, largest_difference, randomised, torch_arrays
from tests.hub import serving
from tests.pretrained.keras_files import draw_keras, list_layers, write_keras
from tests.pretrained.weight_files import (
    FORMS,
    equal_trees,
    load,
    mistake,
    written,
)

NARROW = {"backbone": "inception", "width": 4}
EPS = 1e-3


@pytest.fixture(scope="module")
def variables():
    return randomised(InceptionV3(4, folded=False), 75)


@pytest.fixture(scope="module")
def keras_variables():
    return randomised(InceptionV3(4, folded=False, norm_scale=False), 75)


@pytest.fixture
def arrays(variables):
    """Torchvision's arrays, those of the auxiliary classifier too."""
    auxiliary = {
        "AuxLogits.conv0.conv.weight": np.zeros((8, 48, 1, 1), np.float32),
        "AuxLogits.fc.bias": np.zeros(10, np.float32),
    }
    return torch_arrays(variables, inception.torch_name) | auxiliary


def number_layers(first_conv, first_norm):
    """Returns how Keras names our arrays when it counts from these numbers."""
    return functools.partial(inception.keras_name, first_conv=first_conv, first_norm=first_norm)


@pytest.mark.parametrize("form", FORMS)
def test_torchvisions_names_in_every_kind_of_file(tmp_path, variables, arrays, form):
    loaded = load(written(tmp_path, arrays, form), **NARROW)
    assert equal_trees(loaded.params, fold(variables, EPS))
    assert (loaded.pool, loaded.normalization) == ("counted", "signed")
    assert loaded.source.endswith("(InceptionV3, counted padding, signed normalisation)")


@pytest.mark.parametrize("numbers", [(0, 0), (1, 1), (95, 189)])
def test_keras_layers_are_found_by_number_wherever_it_counts_from(
    tmp_path, keras_variables, numbers
):
    path = tmp_path / "weights.h5"
    write_keras(path, list_layers(keras_variables, number_layers(*numbers)))
    loaded = load(path, **NARROW)
    assert equal_trees(loaded.params, fold(keras_variables, EPS))
    assert (loaded.pool, loaded.normalization) == ("uncounted", "signed")


def test_keras_norms_may_have_a_scale(tmp_path, variables):
    path = tmp_path / "weights.h5"
    write_keras(path, list_layers(variables, number_layers(0, 0)))
    assert equal_trees(load(path, **NARROW).params, fold(variables, EPS))


def test_names_are_those_of_the_libraries():
    paths = list(_model_shapes(InceptionV3(4, folded=False)))
    names = {inception.torch_name(path) for path in paths}
    assert len(names) == len(paths) == 94 * 5
    assert {
        "Conv2d_1a_3x3.conv.weight",
        "Mixed_5d.branch_pool.bn.running_mean",
        "Mixed_6a.branch3x3.conv.weight",
        "Mixed_6e.branch7x7dbl_5.bn.weight",
        "Mixed_7a.branch7x7x3_4.bn.bias",
        "Mixed_7c.branch3x3dbl_3b.bn.running_var",
    } <= names
    paths = list(_model_shapes(InceptionV3(4, folded=False, norm_scale=False)))
    assert {inception.keras_name(path) for path in paths} == {
        *("conv2d/kernel", "batch_normalization/beta"),
        *("batch_normalization/moving_mean", "batch_normalization/moving_variance"),
        *(f"conv2d_{number}/kernel" for number in range(1, 94)),
        *(
            f"batch_normalization_{number}/{role}"
            for number in range(1, 94)
            for role in ("beta", "moving_mean", "moving_variance")
        ),
    }


def test_the_pool_may_be_set_and_changes_the_fingerprint(tmp_path, arrays):
    path = written(tmp_path, arrays)
    counted = load(path, **NARROW)
    uncounted = load(path, **NARROW, pool="uncounted")
    assert uncounted.pool == "uncounted"
    assert load(path, **NARROW, pool="counted").fingerprint == counted.fingerprint
    assert counted.fingerprint != uncounted.fingerprint
    line = mistake(path, **NARROW, pool="ceil")
    assert line.startswith("encoder.pool=ceil: no pool of encoder.backbone=inception")
    assert "encoder.pool=counted" in mistake(path, backbone="resnet", pool="counted")


def test_all_faults_of_a_file_are_reported_at_once(tmp_path, arrays):
    del arrays["Mixed_6b.branch7x7_2.conv.weight"], arrays["Mixed_7c.branch_pool.bn.bias"]
    kernel = arrays["Mixed_6b.branch7x7_3.conv.weight"]
    arrays["Mixed_6b.branch7x7_3.conv.weight"] = kernel.transpose(0, 1, 3, 2)
    arrays["Mixed_5b.branch1x1.bn.running_var"][0] = -1
    arrays["Mixed_8a.branch1x1.conv.weight"] = kernel
    line = mistake(written(tmp_path, arrays), **NARROW)
    assert "not the weights of an InceptionV3 with encoder.width=4" in line
    assert "2 missing (Mixed_6b.branch7x7_2.conv.weight, Mixed_7c.branch_pool.bn.bias)" in line
    assert "1 unexpected (Mixed_8a.branch1x1.conv.weight)" in line
    assert "(Mixed_6b.branch7x7_3.conv.weight 12x8x1x7 instead of 12x8x7x1)" in line
    assert "1 with impossible values (Mixed_5b.branch1x1.bn.running_var)" in line
    assert "with encoder.width=8" in mistake(written(tmp_path, arrays), **NARROW | {"width": 8})


def test_faults_of_a_keras_file_bear_its_own_numbers(tmp_path, keras_variables):
    path = tmp_path / "weights.h5"
    layers = list_layers(keras_variables, number_layers(95, 1))
    del layers["conv2d_150"]
    layers["conv2d_189"] = layers["conv2d_95"]
    write_keras(path, layers)
    line = mistake(path, **NARROW)
    assert "1 missing (conv2d_150/kernel); 1 unexpected (conv2d_189/kernel)" in line


OF_RESNET = "these look like a ResNet's: set encoder.backbone=resnet"
OF_INCEPTION = "these look like an InceptionV3's: set encoder.backbone=inception"


def test_the_other_networks_weights_are_known_by_their_names(tmp_path, arrays):
    assert mistake(written(tmp_path, arrays), backbone="resnet").endswith(OF_INCEPTION)
    arrays = torch_arrays(randomised(ResNet((2, 1), 4, folded=False)))
    assert mistake(written(tmp_path, arrays), **NARROW).endswith(OF_RESNET)


def test_the_other_networks_keras_files_are_known_too(tmp_path, keras_variables):
    path = tmp_path / "weights.h5"
    write_keras(path, list_layers(keras_variables, number_layers(1, 1)))
    for layout in ("v1.5", "v1"):
        assert mistake(path, backbone="resnet", layout=layout).endswith(OF_INCEPTION)
    of_resnet = randomised(ResNet((2, 1), 4, folded=False, conv_bias=True))
    write_keras(path, list_layers(of_resnet, resnet.keras_name))
    assert mistake(path, **NARROW).endswith(OF_RESNET)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serves an InceptionV3 of small constants as if it were Keras's, to a machine with empty
    caches.
    """
    shapes = _model_shapes(InceptionV3(folded=False, norm_scale=False))
    constants = {path: np.full(shape, 0.01, np.float32) for path, shape in shapes.items()}
    layers = list_layers(unflatten_dict(constants), number_layers(1, 1))
    write_keras(tmp_path / "weights.h5", layers, compression="gzip")
    content = (tmp_path / "weights.h5").read_bytes()
    monkeypatch.setattr(inception, "HUB_MD5", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(fetch, "PAUSES", (0.0,))
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with serving(content) as server:
        monkeypatch.setattr(inception, "HUB", f"{server.address}/resolve")
        yield server


def test_the_hubs_weights_are_downloaded_once_and_then_found(hub, tmp_path):
    first = load("hub", backbone="inception")
    assert hub.asked == [None]
    assert (first.pool, first.normalization) == ("uncounted", "signed")
    place = tmp_path / "cache" / "weights" / inception.HUB_FILE
    assert place.read_bytes() == hub.content
    assert load("hub", backbone="inception").fingerprint == first.fingerprint
    assert hub.asked == [None]
    hub.faults.extend([("status", 503)] * 9)
    place.write_bytes(b"damaged")
    line = mistake("hub", backbone="inception", width=64)
    assert line.startswith("ImageNet weights of InceptionV3: cannot download")
    assert f"put the file at {place}" in line


def test_keras_own_copy_is_used_if_it_is_whole(hub, tmp_path):
    copy = tmp_path / "keras" / "models" / inception.HUB_FILE
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"damaged")
    assert inception._find_hub_file().parent == tmp_path / "cache" / "weights"
    copy.write_bytes(hub.content)
    assert inception._find_hub_file() == copy


def test_the_hub_is_refused_before_a_download(monkeypatch):
    monkeypatch.setattr(inception, "HUB", "http://127.0.0.1:9")
    assert "set encoder.width=64" in mistake("hub", **NARROW)
    monkeypatch.setitem(sys.modules, "h5py", None)
    line = mistake("hub", backbone="inception", width=64)
    assert line == "encoder.weights=hub: a .h5 file needs h5py: pip install 'jaxcap[keras]'"


def test_the_hubs_file_is_the_one_that_keras_names():
    assert inception.HUB_MD5 == "bcbd6486424b2319ff4ef7d526e38f63"
    assert inception.HUB_FILE.endswith("tf_kernels_notop.h5")


@pytest.mark.parity
def test_kerass_inceptionv3_has_the_same_features(tmp_path, monkeypatch):
    """Random weights and statistics, in the files that Keras writes, put features where Keras puts
    them.
    """
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("h5py")
    keras = pytest.importorskip("keras")

    def build(**options):
        return keras.applications.InceptionV3(weights=None, **options)

    keras.backend.clear_session()
    build(include_top=False)  # so that the layers of the next one have other numbers
    net = build(include_top=False, input_shape=(299, 299, 3))
    write_keras(tmp_path / "weights.h5", draw_keras(net))
    loaded = load(tmp_path / "weights.h5", backbone="inception")
    net.save(tmp_path / "model.h5")
    assert load(tmp_path / "model.h5", backbone="inception").fingerprint == loaded.fingerprint
    x = images(1, 299) / 2
    expected = np.asarray(net(x, training=False))
    assert float(expected.std()) > 0.01
    apply = jax.jit(InceptionV3(pool=loaded.pool).apply)
    assert largest_difference(apply({"params": loaded.params}, x), expected) < 1e-4
