"""Keras's files of weights, for the tests."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict


def write_keras(path, layers, name="{layer}/{role}:0", compression=None):
    """Writes {layer: {role: array}} as the published files are written, empty layers and all."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in ("input_1", *layers)]
        file.create_group("input_1").attrs["weight_names"] = []
        for layer, arrays in layers.items():
            group = file.create_group(layer)
            names = {name.format(layer=layer, role=role): role for role in arrays}
            group.attrs["weight_names"] = [leaf.encode() for leaf in names]
            for leaf, role in names.items():
                group.create_dataset(leaf, data=arrays[role], compression=compression)


def list_layers(variables, name):
    """Lists our variables as Keras's layers {layer: {role: array}}, under names of `name(path)`, in
    an order that is not the alphabet's; a classifier is the last.
    """
    roles = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
    layers = {}
    for path, leaf in flatten_dict(variables).items():
        layer, role = name(path).split("/")
        layers.setdefault(layer, {})[role] = leaf
    layers = {
        layer: {role: layers[layer][role] for role in roles if role in layers[layer]}
        for layer in sorted(layers)[::-1]
    }
    classifier = {"kernel": np.zeros((32, 10), np.float32), "bias": np.zeros(10, np.float32)}
    return {**layers, "predictions": classifier}


def draw_keras(net):
    """Fills a Keras network with random weights and statistics, and returns its layers."""
    rng = np.random.default_rng(0)
    draw = {
        "kernel": lambda shape: rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])),
        "gamma": lambda shape: rng.uniform(0.5, 1.2, shape),
        "beta": lambda shape: rng.normal(size=shape) * 0.3,
        "bias": lambda shape: rng.normal(size=shape) * 0.3,
        "moving_mean": lambda shape: rng.normal(size=shape) * 0.3,
        "moving_variance": lambda shape: rng.uniform(1e-4, 2.0, shape),
    }
    layers = {}
    for layer in net.layers:
        if layer.weights:
            arrays = {
                weight.name: draw[weight.name](weight.shape).astype(np.float32)
                for weight in layer.weights
            }
            layer.set_weights(list(arrays.values()))
            layers[layer.name] = arrays
    return layers
