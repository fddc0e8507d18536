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
from jaxcap.models.cells import GRUCell, LSTMCell
from jaxcap.models.decoder import build_decoder
from jaxcap.models.encoder import build_encoder
from jaxcap.models.layers import Dense
from jaxcap.training.train_step import train_step
from tests import tiny
from tests.models.test_encoder import Patches


class LeakyCell(nn.Module):
    """A toy cell: its carry is one array and a counter, and its input is as wide as itself."""

    hidden: int

    def setup(self):
        self.word = Dense(self.hidden)
        self.context = Dense(self.hidden)

    def project(self, words):
        return self.word(words)

    def initial(self, mean, captions):
        shape = (len(mean), captions)
        return {"state": jnp.zeros((*shape, self.hidden)), "words": jnp.zeros((*shape, 1))}

    def __call__(self, carry, projected, context, live=None):
        shift = jnp.tanh(projected + self.context(context, live=live))
        state = 0.9 * carry["state"] + shift
        return {"state": state, "words": carry["words"] + 1}

    def output(self, carry):
        return carry["state"] / (1 + carry["words"])


@pytest.fixture
def toys(monkeypatch):
    """A captioner of two parts that the tables did not have, from a config that names them."""
    monkeypatch.setitem(cells.CELLS, "leaky", lambda section, dtype: LeakyCell(section["hidden"]))
    monkeypatch.setitem(
        encoder.BACKBONES, "patches", encoder.Backbone(lambda section, pool, arithmetic: Patches(5))
    )
    config = tiny.sections(decoder__cell="leaky")
    module = build_encoder({"backbone": "patches"}, pool="padded", normalization="signed")
    decoder = build_decoder(config, tiny.VOCABULARY, level_channels=module.level_channels)
    return Captioner(module, decoder)


def test_the_scan_over_another_cell_equals_its_loop(toys):
    batch = tiny.batch(3)
    variables = jax.jit(toys.init)(jax.random.key(0), batch)
    logits, attention = jax.jit(toys.apply)(variables, batch)
    regions = jax.jit(functools.partial(toys.apply, method="regions"))(variables, batch)
    memory, carry = toys.apply(variables, regions, 2, method="start")
    step = jax.jit(functools.partial(toys.apply, method="step"))
    for t in range(batch["tokens"].shape[-1] - 1):
        tokens = batch["tokens"][..., t]
        carry, step_logits, step_attention = step(variables, carry, memory, tokens)
        np.testing.assert_allclose(step_logits, logits[:, :, t], atol=1e-5)
        np.testing.assert_allclose(step_attention, attention[:, :, t], atol=1e-6)


def test_another_backbone_and_cell_are_trained_and_searched_with(toys):
    state, frozen, step = tiny.training(model=toys)
    batch = tiny.batch(3)
    compiled = jax.jit(functools.partial(train_step, **step))
    state, first = compiled(state, frozen, batch)
    for _ in range(30):
        state, metrics = compiled(state, frozen, batch)
    assert metrics["loss"][0] < 0.9 * first["loss"][0]
    search = captioning.build_beam(toys, Rules(max_length=7), 3)
    found = jax.jit(search)(state.params, {"images": batch["images"]})
    assert found.attention.shape == (3, 6, 16)
    assert (np.asarray(found.length) > 0).all()


@pytest.mark.parametrize("cell", [LSTMCell, GRUCell])
def test_the_first_state_is_zero_or_linear_in_the_mean_region(cell):
    mean = jax.random.normal(jax.random.key(0), (3, 7))
    learning = cell(4, init_from_mean=True)
    variables = learning.init(jax.random.key(1), mean, 2, method="initial")
    states = jax.tree.leaves(learning.apply(variables, mean, 2, method="initial"))
    names = ("init_h", "init_c")[: len(states)]
    assert variables["params"].keys() == set(names)
    for state, name in zip(states, names, strict=True):
        layer = variables["params"][name]
        expected = mean @ layer["kernel"] + layer["bias"]
        assert state.shape == (3, 2, 4)
        np.testing.assert_allclose(state, np.repeat(expected[:, None], 2, 1), rtol=1e-5)
    for state in jax.tree.leaves(cell(4).apply({}, mean, 2, method="initial")):
        assert state.shape == (3, 2, 4)
        assert not state.any()


def read_words(cell, params, carry, words, context):
    """The hidden states [T, B, H] of a cell that reads words [T, B, E] under contexts [T, B, D]."""
    states = []
    for word, looked in zip(words, context, strict=True):
        projected = cell.apply({"params": params}, word[:, None], method="project")
        carry = cell.apply({"params": params}, carry, projected, looked[:, None])
        states.append(cell.apply({}, carry, method="output")[:, 0])
    return jnp.stack(states)


@pytest.mark.parity
@pytest.mark.parametrize("reset_after", [True, False])
def test_the_gru_equals_kerass_in_value_and_gradient(reset_after, monkeypatch):
    """Hidden states over three words, and the gradients of all parameters and inputs."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    hidden = 4
    embedding = 3
    channels = 5
    random = np.random.default_rng(0)
    draw = lambda *shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
    words = draw(3, 2, embedding)
    context = draw(3, 2, channels)
    first = draw(2, 1, hidden)
    weights = draw(3, 2, hidden)
    theirs = keras.layers.GRUCell(hidden, reset_after=reset_after)
    theirs.build((None, embedding + channels))
    arrays = [draw(*variable.shape) for variable in theirs.trainable_variables]
    others = [variable.value for variable in theirs.non_trainable_variables]

    def ours(arrays):
        """The parameters of our cell that are Keras's kernel, recurrent kernel and bias."""
        kernel, recurrent, bias = arrays
        params = {"context": {"kernel": kernel[embedding:]}}
        params["word"] = {"kernel": kernel[:embedding], "bias": bias[0] if reset_after else bias}
        if reset_after:
            params["recurrent"] = {"kernel": recurrent, "bias": bias[1]}
        else:
            params["recurrent"] = {"kernel": recurrent[:, : 2 * hidden]}
            params["candidate"] = {"kernel": recurrent[:, 2 * hidden :]}
        return params

    def our_states(arrays, first, words, context):
        return read_words(GRUCell(hidden, False, reset_after), ours(arrays), first, words, context)

    def their_states(arrays, first, words, context):
        states = []
        state = first[:, 0]
        for word, looked in zip(words, context, strict=True):
            x = jnp.concatenate([word, looked], -1)
            (_, (state,)), _ = theirs.stateless_call(arrays, others, x, [state])
            states.append(state)
        return jnp.stack(states)

    arguments = (arrays, first, words, context)
    np.testing.assert_allclose(our_states(*arguments), their_states(*arguments), atol=1e-6)
    grads = [
        jax.grad(lambda *each, run=run: (run(*each) * weights).sum(), argnums=(0, 1, 2, 3))
        for run in (our_states, their_states)
    ]
    for one, other in zip(*(jax.tree.leaves(grad(*arguments)) for grad in grads), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
