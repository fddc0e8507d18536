"""Parameters: their shapes are known without drawing them, and given ones are checked."""

import flax.errors
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.captioner import Captioner
from jaxcap.models.encoder import build_encoder
from jaxcap.models.layers import Dense
from jaxcap.models.params import trace_variables
from jaxcap.models.resnet import ResNet
from tests import tiny

MODELS = {
    "plain": {},
    "gru": {"decoder__cell": "gru", "decoder__init_from_mean": True},
    "all layers": {
        "regions__norm": True,
        "regions__embedding": 6,
        "regions__layers": 2,
        "head__deep_output": True,
        "decoder__init_from_mean": True,
    },
    "tied": {"head__tie_weights": True},
}


def assert_traced_as_drawn(module, batch):
    drawn = jax.eval_shape(module.init, jax.random.key(0), batch)
    traced = trace_variables(module, batch)
    assert jax.tree.structure(traced) == jax.tree.structure(drawn)
    for one, other in zip(jax.tree.leaves(traced), jax.tree.leaves(drawn), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


@pytest.mark.parametrize("name", MODELS)
def test_shapes_are_traced_as_they_are_drawn(name):
    assert_traced_as_drawn(tiny.captioner(**MODELS[name]), tiny.batch(1))


def test_shapes_of_an_inception_behind_a_denoiser_are_traced_as_they_are_drawn():
    section = {"backbone": "inception", "width": 2, "levels": 1}
    encoder = build_encoder(
        section, pool="uncounted", normalization="signed", denoiser={"widths": (2, 3)}
    )
    decoder = tiny.captioner().decoder
    batch = tiny.batch(1) | {"images": np.zeros((1, 80, 80, 3), np.uint8)}
    assert_traced_as_drawn(Captioner(encoder, decoder), batch)


@pytest.mark.parametrize("conv_bias", [False, True])
def test_shapes_of_unfolded_batch_norms_are_traced_as_they_are_drawn(conv_bias):
    model = ResNet(stage_sizes=(1, 1), width=2, folded=False, conv_bias=conv_bias)
    assert_traced_as_drawn(model, np.zeros((1, 32, 32, 3), np.float32))


def test_a_given_parameter_of_another_shape_is_an_error():
    layer = Dense(3)
    params = layer.init(jax.random.key(0), jnp.ones((1, 2)))
    assert layer.apply(params, jnp.ones((1, 2))).shape == (1, 3)
    with pytest.raises(flax.errors.ScopeParamShapeError):
        Dense(4).apply(params, jnp.ones((1, 2)))
    with pytest.raises(flax.errors.FlaxError):
        layer.apply({"params": {"kernel": jnp.ones((2, 3))}}, jnp.ones((1, 2)))
