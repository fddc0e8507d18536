"""Keras's files: both generations of names, and what does not fit."""

import re
import sys

import jax
import numpy as np
import pytest

from jaxcap.models.convolutions import fold
from jaxcap.models.resnet import ResNet
from jaxcap.pretrained import resnet
from tests.encoders import images, largest_difference, randomised
from tests.pretrained.keras_files import draw_keras, list_layers, write_keras
from tests.pretrained.weight_files import SMALL, equal_trees, load, mistake

OLD_LEAVES = {
    "gamma": "gamma_1",
    "beta": "beta_1",
    "moving_mean": "running_mean_1",
    "moving_variance": "running_std_1",
    "kernel": "W_1",
    "bias": "b_1",
}


def old_name(layer):
    """Turns Keras's present name of a layer into that of the files of 2016."""
    if layer in ("conv1_conv", "conv1_bn", "predictions"):
        return {"conv1_conv": "conv1", "conv1_bn": "bn_conv1", "predictions": "fc1000"}[layer]
    stage, block, part, kind = re.fullmatch(r"conv(\d)_block(\d)_(\d)_(conv|bn)", layer).groups()
    branch = "1" if part == "0" else "2" + " abc"[int(part)]
    return f"{'res' if kind == 'conv' else 'bn'}{stage}{'abcdef'[int(block) - 1]}_branch{branch}"


def write(path, layers, old=False):
    """Writes {layer: {role: array}} under the names of today or of 2016."""
    if old:
        layers = {
            old_name(layer): {OLD_LEAVES[role]: array for role, array in arrays.items()}
            for layer, arrays in layers.items()
        }
    write_keras(path, layers, "{layer}_{role}:0" if old else "{layer}/{role}:0")


def keras_layers(variables):
    return list_layers(variables, resnet.keras_name)


@pytest.fixture(scope="module")
def keras_variables():
    return randomised(ResNet(**SMALL, folded=False, conv_bias=True))


@pytest.mark.parametrize("old", [False, True])
def test_keras_files_are_read_under_both_generations_of_names(tmp_path, keras_variables, old):
    write(tmp_path / "weights.h5", keras_layers(keras_variables), old)
    loaded = load(tmp_path / "weights.h5", layout="v1", **SMALL)
    assert equal_trees(loaded.params, fold(keras_variables, 1.001e-5))
    assert (loaded.pool, loaded.normalization) == ("padded", "caffe")


def test_keras_files_that_do_not_fit_are_refused(tmp_path, keras_variables, monkeypatch):
    path = tmp_path / "weights.h5"
    layers = keras_layers(keras_variables)
    write(path, layers)
    assert "set encoder.layout=v1" in mistake(path)
    content = path.read_bytes()
    for end in (0, 10, 5000, len(content) // 2):
        path.write_bytes(content[:end])
        assert "truncated" in mistake(path, layout="v1")
    del layers["conv2_block1_0_bn"]
    layers["conv9_block1_1_conv"] = layers["conv1_conv"]
    write(path, layers)
    line = mistake(path, layout="v1")
    assert (
        "4 missing (conv2_block1_0_bn/" in line
        and "2 unexpected (conv9_block1_1_conv/kernel" in line
    )
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install 'jaxcap[keras]'" in mistake(path, layout="v1")


@pytest.mark.parity
def test_kerass_resnet50_has_the_same_features(tmp_path, monkeypatch):
    """Random weights and statistics, written as the published files are, put features where Keras
    puts them.
    """
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("h5py")
    keras = pytest.importorskip("keras")
    net = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(224, 224, 3))
    write(tmp_path / "weights.h5", draw_keras(net))
    loaded = load(tmp_path / "weights.h5", layout="v1")
    net.save(tmp_path / "model.h5")
    assert load(tmp_path / "model.h5", layout="v1").fingerprint == loaded.fingerprint
    net.save_weights(tmp_path / "new.weights.h5")
    assert "no layer_names in it" in mistake(tmp_path / "new.weights.h5", layout="v1")
    x = images(1, 224) * 60
    ours = jax.jit(ResNet(layout="v1", pool=loaded.pool).apply)({"params": loaded.params}, x)
    assert largest_difference(ours, np.asarray(net(x, training=False))) < 1e-4
