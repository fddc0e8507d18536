"""Checkpoints: what goes in comes out, the latest and the best stay, damage is found and walked past."""

import functools
import os

import jax
import numpy as np
import pytest

from jaxcap import step as steps
from jaxcap.checkpoint import Checkpoints
from jaxcap.errors import UserError
from tests import tiny


@pytest.fixture(scope="module")
def states():
    """A fresh state, its mask, and the states after one to four steps; encoder and words are frozen."""
    fresh, step = tiny.training(encoder=False, words=False)
    compiled = jax.jit(functools.partial(steps.train_step, **step))
    after, state = [], fresh
    for n in range(4):
        state, _ = compiled(state, tiny.batch(4, seed=n), jax.random.key(n))
        after.append(state)
    return fresh, step["frozen"], after


def assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def corrupt(folder):
    """Flips a byte in the middle of every data file: orbax keeps some arrays twice and reads one of the copies."""
    files = [path for path in folder.rglob("d/*") if path.is_file()]
    assert files
    for path in files:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)


def test_round_trip_is_exact_with_frozen_parameters(states, tmp_path):
    fresh, frozen, (state, *_) = states
    saved = Checkpoints(tmp_path / "c")
    assert saved.restore_latest(fresh, frozen) is None
    saved.save(state, frozen, {"stale": 3, "best_cost": 0.1 + 0.2})
    saved.close()
    restored, progress = Checkpoints(tmp_path / "c").restore_latest(fresh, frozen)
    assert_same(restored, state)
    assert progress == {"stale": 3, "best_cost": 0.1 + 0.2}


def test_frozen_parameters_are_written_once(states, tmp_path):
    fresh, frozen, after = states
    saved = Checkpoints(tmp_path)
    saved.save(after[0], frozen, {})
    saved.wait()
    written = (tmp_path / "frozen.json").stat().st_mtime_ns
    saved.save(after[1], frozen, {})
    saved.close()
    assert (tmp_path / "frozen.json").stat().st_mtime_ns == written
    names = (tmp_path / "steps" / "2" / "arrays" / "_METADATA").read_text()
    assert "params.decoder.output" in names
    assert "params.encoder" not in names


def test_the_two_latest_and_the_best_are_kept(states, tmp_path):
    fresh, frozen, after = states
    saved = Checkpoints(tmp_path)
    for state, loss in zip(after, (2.0, None, 3.0, 4.0), strict=True):
        saved.save(state, frozen, {}, loss)
    saved.wait()
    assert saved.steps() == [4, 3, 1]
    assert saved.best_step() == 1
    assert_same(saved.restore(1, fresh, frozen)[0], after[0])


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_step_is_walked_past(states, tmp_path, damage):
    """A flipped bit or a cut file in the newest step brings back the one before, and the step can be saved again."""
    fresh, frozen, after = states
    saved = Checkpoints(tmp_path)
    saved.save(after[0], frozen, {"n": 1})
    saved.save(after[1], frozen, {"n": 2})
    saved.close()
    if damage == "flip":
        corrupt(tmp_path / "steps" / "2" / "arrays")
    else:
        for path in (tmp_path / "steps" / "2" / "arrays").rglob("*"):
            if path.is_file():
                os.truncate(path, path.stat().st_size // 2)
    again = Checkpoints(tmp_path)
    restored, progress = again.restore_latest(fresh, frozen)
    assert progress == {"n": 1}
    assert_same(restored, after[0])
    again.save(after[1], frozen, {"n": 2})
    again.close()
    assert Checkpoints(tmp_path).restore_latest(fresh, frozen)[1] == {"n": 2}


def test_damaged_frozen_parameters_are_an_error(states, tmp_path):
    """They are in every step: there is nothing to walk back to."""
    fresh, frozen, after = states
    saved = Checkpoints(tmp_path)
    saved.save(after[0], frozen, {})
    saved.close()
    corrupt(tmp_path / "frozen")
    with pytest.raises(UserError, match="frozen"):
        Checkpoints(tmp_path).restore(1, fresh, frozen)
    with pytest.raises(UserError, match="frozen"):
        Checkpoints(tmp_path).restore_latest(fresh, frozen)


def test_another_model_is_an_error(states, tmp_path):
    fresh, frozen, after = states
    saved = Checkpoints(tmp_path)
    saved.save(after[0], frozen, {})
    saved.close()
    other, step = tiny.training(encoder=False, words=False, deep_output=True)
    with pytest.raises(UserError, match="cannot be read|damaged"):
        Checkpoints(tmp_path).restore(1, other, step["frozen"])
