"""Cells: the first state, and a second cell from a line in the table, trained and searched with."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.decoding import Rules, captioning
from jaxcap.models import cells, encoder
from jaxcap.models.captioner import Captioner
from jaxcap.models.cells import LSTMCell
from jaxcap.models.decoder import build_decoder
from jaxcap.models.encoder import build_encoder
from jaxcap.models.layers import dense
from jaxcap.training.train_step import train_step
from tests import tiny
from tests.models.test_encoder import Patches


class LeakyCell(nn.Module):
    """A toy cell: its carry is one array and a counter, and its input is as wide as itself."""

    hidden: int
    init_from_mean: bool
    dtype: str

    def setup(self):
        self.word = dense(self.hidden)
        self.context = dense(self.hidden)

    def project(self, words):
        return self.word(words)

    def initial(self, mean, captions):
        shape = (len(mean), captions)
        return {"state": jnp.zeros((*shape, self.hidden)), "words": jnp.zeros((*shape, 1))}

    def __call__(self, carry, projected, context):
        state = 0.9 * carry["state"] + jnp.tanh(projected + self.context(context))
        return {"state": state, "words": carry["words"] + 1}

    def output(self, carry):
        return carry["state"] / (1 + carry["words"])


@pytest.fixture
def toys(monkeypatch):
    """A captioner of two parts that the tables did not have, from a config that names them."""
    monkeypatch.setitem(cells.CELLS, "leaky", LeakyCell)
    monkeypatch.setitem(
        encoder.BACKBONES, "patches", encoder.Backbone(lambda section, pool: Patches(5))
    )
    config = tiny.sections(decoder__cell="leaky")
    module = build_encoder({"backbone": "patches"}, pool="padded", normalization="signed")
    decoder = build_decoder(config, tiny.VOCABULARY, level_channels=module.level_channels)
    return Captioner(module, decoder)


def test_the_scan_over_another_cell_equals_its_loop(toys):
    batch = tiny.batch(3)
    variables = toys.init(jax.random.key(0), batch)
    logits, attention = toys.apply(variables, batch)
    regions = toys.apply(variables, batch, method="regions")
    memory, carry = toys.apply(variables, regions, 2, method="start")
    for t in range(batch["tokens"].shape[-1] - 1):
        tokens = batch["tokens"][..., t]
        carry, step_logits, step_attention = toys.apply(
            variables, carry, memory, tokens, method="step"
        )
        np.testing.assert_allclose(step_logits, logits[:, :, t], atol=1e-5)
        np.testing.assert_allclose(step_attention, attention[:, :, t], atol=1e-6)


def test_another_backbone_and_cell_are_trained_and_searched_with(toys):
    state, frozen, step = tiny.training(model=toys)
    batch = tiny.batch(3)
    state, first = train_step(state, frozen, batch, **step)
    compiled = jax.jit(functools.partial(train_step, **step))
    for _ in range(30):
        state, metrics = compiled(state, frozen, batch)
    assert metrics["loss"][0] < 0.9 * first["loss"][0]
    search = captioning.build_beam(toys, Rules(max_length=7), 3)
    found = search(state.params, {"images": batch["images"]})
    assert found.attention.shape == (3, 6, 16)
    assert (np.asarray(found.length) > 0).all()


def test_the_first_state_is_zero_or_linear_in_the_mean_region():
    mean = jax.random.normal(jax.random.key(0), (3, 7))
    cell = LSTMCell(4, init_from_mean=True)
    variables = cell.init(jax.random.key(1), mean, 2, method="initial")
    h, c = cell.apply(variables, mean, 2, method="initial")
    for state, name in ((h, "init_h"), (c, "init_c")):
        layer = variables["params"][name]
        expected = mean @ layer["kernel"] + layer["bias"]
        assert state.shape == (3, 2, 4)
        np.testing.assert_allclose(state, np.repeat(expected[:, None], 2, 1), rtol=1e-5)
    zeros = LSTMCell(4)
    h, c = zeros.apply({}, mean, 2, method="initial")
    assert not h.any()
    assert not c.any()
