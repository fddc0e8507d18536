"""The training step: frozen stays frozen, padding is invisible, one device equals eight."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcap import parallel
from jaxcap.training import train_step as steps
from tests import tiny
from tests.devices import virtual_devices

KEY = jax.random.key(7)


def leaves(tree) -> dict[str, np.ndarray]:
    return {
        jax.tree_util.keystr(path): np.asarray(x)
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


def run(state, step, count=3, images=4):
    step = jax.jit(functools.partial(steps.train_step, **step))
    for n in range(count):
        state, metrics = step(state, tiny.batch(images, seed=n), jax.random.fold_in(KEY, n))
    return state, metrics


def test_frozen_parameters_are_equal_bit_for_bit_and_the_others_move():
    """A frozen leaf gets no gradient, no optimiser state and no update; every trained leaf
    moves.
    """
    state, step = tiny.training(encoder=False, words=False)
    after, _ = run(state, step)
    frozen, before = leaves(step["frozen"]), leaves(state.params)
    for name, now in leaves(after.params).items():
        assert np.array_equal(now, before[name]) == bool(frozen[name]), name
    trained = sum(p.size for name, p in before.items() if not frozen[name])
    assert sum(x.size for x in jax.tree.leaves(after.opt_state) if x.ndim) == 2 * trained
    assert sum(x.size for x in jax.tree.leaves(after.average)) == trained


def test_frozen_parameters_take_no_part_in_the_gradient():
    """The update is the same whether the frozen part is a constant of the program or an input of
    it.
    """
    state, step = tiny.training(encoder=False, words=False)
    text = jax.make_jaxpr(functools.partial(steps.train_step, **step))(state, tiny.batch(4), KEY)
    # A gradient through the encoder would need the transposed convolutions; forward there are six.
    assert str(text).count("conv_general_dilated[") == str(
        jax.make_jaxpr(lambda p: step["model"].apply({"params": p}, tiny.batch(4)))(state.params)
    ).count("conv_general_dilated[")


def test_everything_learns_when_nothing_is_frozen():
    state, step = tiny.training()
    after, _ = run(state, step, count=4)
    before = leaves(state.params)
    unmoved = [
        name for name, now in leaves(after.params).items() if np.array_equal(now, before[name])
    ]
    assert unmoved == []


def test_padding_is_invisible():
    """Filling a batch up with photos whose captions are padding changes neither the update nor the
    sums.
    """
    batch = tiny.batch(4)
    filled = {name: np.concatenate([x, x[:2]]) for name, x in batch.items()}
    filled["tokens"][4:] = 0
    longer = {
        **batch,
        "tokens": np.pad(batch["tokens"], ((0, 0), (0, 1), (0, 0))),
    }  # a caption that is not there
    # Dropout masks have the shape of the captions, so the comparison of shapes goes without.
    for other, keywords in (
        (filled, {}),
        (longer, dict.fromkeys(("hidden_dropout", "word_dropout"), 0.0)),
    ):
        state, step = tiny.training(**keywords)
        # Plain gradient descent: Adam would blow the rounding of a vanishing gradient up to a whole
        # step.
        step["optimizer"] = optax.selective_transform(optax.sgd(1.0), freeze_mask=step["frozen"])
        state = steps.create(state.params, step["optimizer"], step["frozen"])
        compiled = jax.jit(functools.partial(steps.train_step, **step))
        one, two = leaves(compiled(state, batch, KEY)), leaves(compiled(state, other, KEY))
        for name, value in one.items():
            np.testing.assert_allclose(value, two[name], atol=1e-6, rtol=1e-4, err_msg=name)


def test_sums_are_what_they_are_called():
    state, step = tiny.training()
    batch = tiny.batch(4)
    batch["tokens"][3] = 0
    _, metrics = jax.jit(functools.partial(steps.train_step, **step))(state, batch, KEY)
    assert metrics["images"] == 3
    assert metrics["words"] == (batch["tokens"][..., 1:] > 0).sum()
    metrics = jax.jit(functools.partial(steps.eval_step, model=step["model"]))(state.params, batch)
    # An untrained captioner knows nothing: about log V nats a word.
    assert abs(metrics["nats"] / metrics["words"] - np.log(tiny.VOCABULARY)) < 0.5


def test_average_follows_its_recursion():
    state, step = tiny.training(average=0.5)
    expected = leaves(state.average)
    compiled = jax.jit(functools.partial(steps.train_step, **step))
    for n in range(4):
        state, _ = compiled(state, tiny.batch(4, seed=n), KEY)
        decay = min(0.5, (1 + n) / (10 + n))
        now = leaves(state.params)
        expected = {name: a + (1 - decay) * (now[name] - a) for name, a in expected.items()}
    for name, a in leaves(state.average).items():
        np.testing.assert_allclose(a, expected[name], atol=1e-6)
        np.testing.assert_array_equal(leaves(state.best_params)[name], a)


def test_step_compiles_once():
    state, step = tiny.training()
    compiled = jax.jit(functools.partial(steps.train_step, **step))
    for n in range(3):
        state, _ = compiled(state, tiny.batch(4, seed=n), jax.random.fold_in(KEY, n))
    assert compiled._cache_size() == 1


def test_training_lowers_the_loss():
    """A hundred and fifty steps on one batch, without dropout, teach it by heart."""
    state, step = tiny.training(hidden_dropout=0.0, word_dropout=0.0, feature_dropout=0.0)
    step["optimizer"] = optax.selective_transform(optax.adam(0.03), freeze_mask=step["frozen"])
    state = steps.create(state.params, step["optimizer"], step["frozen"])
    compiled = jax.jit(
        functools.partial(steps.train_step, **{**step, "loss": dict.fromkeys(tiny.LOSS, 0.0)})
    )
    batch = tiny.batch(2, captions=1)
    losses = []
    for n in range(150):
        state, metrics = compiled(state, batch, jax.random.fold_in(KEY, n))
        losses.append(float(metrics["nats"] / metrics["words"]))
    assert losses[-1] < 0.2 < 2.5 < losses[0]


def devices_run(folder: Path) -> None:
    """Three steps, one validation and a per-image call on all devices; what came of them is
    saved.
    """
    state, step = tiny.training(encoder=True, words=False)
    # Momentum, for Adam would blow the rounding of a vanishing gradient up to a share of a whole
    # step.
    step["optimizer"] = optax.selective_transform(
        optax.sgd(0.1, momentum=0.9), freeze_mask=step["frozen"]
    )
    state = steps.create(state.params, step["optimizer"], step["frozen"], average=True)
    compiled = parallel.compile_train_step(functools.partial(steps.train_step, **step))
    for n in range(3):
        state, metrics = compiled(state, tiny.batch(16, seed=n), jax.random.fold_in(KEY, n))
    evaluate = parallel.compile_eval_step(functools.partial(steps.eval_step, model=step["model"]))
    model = step["model"]
    encode = parallel.compile_per_image(lambda p, x: model.apply({"params": p}, x, method="encode"))
    results = {
        "state": state,
        "metrics": metrics,
        "validation": evaluate(state.params, tiny.batch(16, seed=9)),
        "features": encode(state.params, tiny.batch(5, seed=9)["images"]),
        "devices": jnp.array(parallel.device_count()),
    }
    np.savez(folder / "results.npz", **leaves(results))


@pytest.mark.slow
def test_one_device_equals_eight(tmp_path):
    """State, sums, validation and features, dropout and all, agree to float32 rounding."""
    results = []
    for devices in (1, 8):
        folder = tmp_path / str(devices)
        folder.mkdir()
        environment = os.environ | virtual_devices(devices)
        code = f"from pathlib import Path; from tests.training.test_train_step import devices_run; devices_run(Path({str(folder)!r}))"
        subprocess.run(
            [sys.executable, "-c", code], check=True, env=environment, cwd=Path(__file__).parents[2]
        )
        results.append(dict(np.load(folder / "results.npz")))
    one, eight = results
    assert one.pop("['devices']") == 1
    assert eight.pop("['devices']") == 8
    assert one.keys() == eight.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, eight[name], atol=2e-5, rtol=2e-4, err_msg=name)
