"""The recurrence has the gradient of its scan, and sums no kernel's gradient inside of a loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models import recurrence
from jaxcap.models.cells import CELLS, LSTMCell
from jaxcap.models.decoder import build_decoder
from jaxcap.models.params import draw_variables
from tests import tiny

OPTIONS = {
    "lstm": {},
    "gru": {"decoder__cell": "gru"},
    "gru as in the paper": {"decoder__cell": "gru", "decoder__reset_after": False},
    "all": {
        "decoder__context_gate": True,
        "decoder__init_from_mean": True,
        "decoder__activation": "tanh",
        "head__deep_output": True,
    },
    "stateless": {"decoder__stateless": True},
}


def make(dtype="float32", **options):
    """Returns a decoder, its parameters, and the regions and words that it reads."""
    decoder = build_decoder(tiny.sections(**options), tiny.VOCABULARY, dtype=dtype)
    regions = np.random.default_rng(0).standard_normal((3, 4, 16)).astype(np.float32)
    tokens = tiny.batch(3)["tokens"]
    params = draw_variables(decoder, jax.random.key(0), regions, tokens)["params"]
    return decoder, params, regions, tokens


def compute_loss(params, regions, decoder, tokens):
    logits, attention = decoder.apply({"params": params}, regions, tokens)
    return jnp.square(logits).sum() + 3 * jnp.square(attention).sum()


def run_plainly(module, method, positions, params, *args):
    return module.apply({"params": params}, *args, method=method)


def assert_same_gradient(monkeypatch, dtype, **options):
    """Asserts that a decoder's loss and gradients are those of its scan."""
    decoder, params, regions, tokens = make(dtype, **options)
    loss = functools.partial(compute_loss, decoder=decoder, tokens=tokens)
    found = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, regions)
    with monkeypatch.context() as patch:
        patch.setattr(recurrence, "run", run_plainly)
        expected = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, regions)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_gradient_is_that_of_the_scan(monkeypatch, name, dtype):
    """Of all parameters and of the regions."""
    assert_same_gradient(monkeypatch, dtype, **OPTIONS[name])


class TwiceCell(LSTMCell):
    """An LSTM that calls one of its layers twice a position."""

    def __call__(self, carry, projected, context, live=None):
        carry = super().__call__(carry, projected, context, live)
        return super().__call__(carry, projected, context, live)


def test_a_layer_that_is_called_twice_keeps_the_gradient_of_the_scan(monkeypatch):
    monkeypatch.setitem(CELLS, "lstm", lambda section, dtype: TwiceCell(section["hidden"]))
    assert_same_gradient(monkeypatch, "float32")


def list_results(jaxpr, *, is_loop=False):
    """The sizes of all arrays that the turns of loops result in."""
    sizes = [variable.aval.size for variable in jaxpr.outvars] if is_loop else []
    for equation in jaxpr.eqns:
        for value in jax.tree.leaves(list(equation.params.values())):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                sizes += list_results(inner, is_loop=equation.primitive.name == "scan")
    return sizes


def test_no_loop_adds_up_the_gradient_of_a_kernel(monkeypatch):
    decoder, params, regions, tokens = make()
    loss = functools.partial(compute_loss, decoder=decoder, tokens=tokens)
    size = params["cell"]["recurrent"]["kernel"].size
    assert size not in list_results(jax.make_jaxpr(jax.grad(loss))(params, regions).jaxpr)
    with monkeypatch.context() as patch:
        patch.setattr(recurrence, "run", run_plainly)
        assert size in list_results(jax.make_jaxpr(jax.grad(loss))(params, regions).jaxpr)
