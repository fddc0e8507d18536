"""Compiled steps: runs that take the same ones share them, whatever their seeds are."""

import functools

import jax
import numpy as np
import pytest

from jaxcap import parallel
from jaxcap.training.compiling import bind, compile_step
from jaxcap.training.stacking import Stacking
from jaxcap.training.train_step import train_step
from tests import tiny

ONE = Stacking(1, None, shares_batch=True)


def build(**options):
    """The parts of a step, made anew, with its first state."""
    state, frozen, step = tiny.training(encoder=0, **options)
    names = ("model", "objective", "optimizer", "ema_decay")
    return state, frozen, [step[name] for name in names]


def take_step(seed):
    state, frozen, parts = build()
    step = bind(compile_step(*parts, ONE), (seed,))
    return step(parallel.replicate(state), parallel.replicate(frozen), tiny.cached(8))


def test_equal_steps_are_one_and_others_are_not():
    _, _, parts = build()
    step = compile_step(*parts, ONE)
    assert compile_step(*build()[2], ONE) is step
    others = [
        compile_step(*build(decoder__hidden=9)[2], ONE),
        compile_step(*parts[:3], 0.5, ONE),
        compile_step(*parts, Stacking(2, None, shares_batch=True)),
        compile_step(*parts, Stacking(2, None, shares_batch=False)),
        compile_step(*parts, Stacking(2, {"encoder": 0}, shares_batch=True)),
        compile_step(*parts, ONE, choose=None),
    ]
    assert len({id(one) for one in [step, *others]}) == 1 + len(others)


def test_another_seed_compiles_nothing(caplog):
    _, first = take_step(1)
    jax.block_until_ready(first)
    with jax.log_compiles():
        _, second = take_step(2)
        jax.block_until_ready(second)
    assert not [record for record in caplog.messages if "Compiling" in record]
    assert first["loss"][0] != second["loss"][0]  # by their dropout


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_a_seed_that_is_given_is_one_that_is_compiled_in(seed):
    state, frozen, step = tiny.training(encoder=0)
    compiled = jax.jit(functools.partial(train_step, **step | {"seed": seed}))
    expected, _ = compiled(state, frozen, tiny.cached(8))
    found, _ = take_step(seed)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), found, expected
    )
