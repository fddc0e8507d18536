"""Rows of the word embedding with learning rates of their own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcap import train
from jaxcap.experiment.defaults import get_config
from jaxcap.experiment.restore import restore_best
from jaxcap.text import PAD
from jaxcap.training.optim import build_optimizer, build_schedule
from jaxcap.training.partition import (
    assign_rates,
    assign_row_rates,
    combine,
    count_frozen_rows,
    count_parameters,
    partition,
    read_rules,
)
from jaxcap.training.train_step import create_state, train_step
from tests import small_run, tiny

FOUND = np.arange(tiny.VOCABULARY) % 3 == 1
EMBED = ("decoder", "embed", "embedding")


def config_of(**embedding):
    config = get_config()
    config.encoder.rates = ("*:0",)
    config.embedding.update(embedding)
    return config


def take(params, *path):
    return functools.reduce(lambda tree, key: tree[key], path, params)


def rates_of(config, params):
    rates = assign_rates(params, read_rules(config))
    return rates, assign_row_rates(rates, config.embedding, FOUND)


@pytest.mark.parametrize("decoupled", [False, True])
def test_rows_of_rate_0_stay_bit_for_bit_and_the_others_learn(decoupled):
    """Through decay of either kind, clipping and the moving average."""
    state, frozen, step = tiny.training(encoder=0)
    params = combine(state.params, frozen)
    rates, row_rates = rates_of(config_of(rate=0.0, missing_rate=1.0), params)
    settings = {**tiny.TRAIN, "decoupled": decoupled, "weight_decay": 0.1}
    optimizer = build_optimizer(settings, build_schedule(settings, 3), rates, row_rates)
    compiled = jax.jit(functools.partial(train_step, **step | {"optimizer": optimizer}))
    before = np.asarray(take(params, *EMBED))
    state = create_state(state.params, optimizer, ema=True)
    for seed in range(4):
        state, _ = compiled(state, frozen, tiny.batch(4, seed=seed))
    for after in (state.params, state.ema):
        rows = np.asarray(take(after, *EMBED))
        assert rows[FOUND].tobytes() == before[FOUND].tobytes()
        used = ~FOUND & (np.arange(tiny.VOCABULARY) != PAD)
        assert (rows[used] != before[used]).any(axis=1).all()


def updates_of(rates, row_rates, params, grads, **settings):
    settings = {**tiny.TRAIN, "schedule": "constant", **settings}
    optimizer = build_optimizer(settings, build_schedule(settings, 1), rates, row_rates)
    return optimizer.update(grads, optimizer.init(params), params)


def small_params():
    rows = jnp.linspace(-1.0, 1.0, tiny.VOCABULARY * 2).reshape(-1, 2)
    return {"decoder": {"embed": {"embedding": rows}, "head": {"bias": jnp.ones(3)}}}


@pytest.mark.parametrize(("rate", "missing"), [(0.0, 1.0), (0.5, 2.0), (1.0, 0.1), (1.0, 0.0)])
def test_a_row_is_updated_as_in_a_run_where_all_have_its_rate(rate, missing):
    params = small_params()
    grads = jax.tree.map(jnp.cos, params)
    rates, row_rates = rates_of(config_of(rate=rate, missing_rate=missing), params)
    together, _ = updates_of(rates, row_rates, params, grads, clip_norm=0.0)
    for rows, value in ((FOUND, rate), (~FOUND, missing)):
        all_equal, nothing = rates_of(config_of(rate=value), params)
        assert nothing is None
        alone, _ = updates_of(all_equal, None, params, grads, clip_norm=0.0)
        expected = take(alone, *EMBED)[rows] if value else 0.0
        np.testing.assert_allclose(take(together, *EMBED)[rows], expected, rtol=1e-6)


def test_clipping_and_moments_count_trained_rows_only():
    """Huge gradients of the frozen rows clip nothing and leave no moments."""
    params = small_params()
    grads = jax.tree.map(lambda p: jnp.full_like(p, 0.01), params)
    grads["decoder"]["embed"]["embedding"] = jnp.where(FOUND[:, None], 1e6, 0.01)
    rates, row_rates = rates_of(config_of(rate=0.0, missing_rate=1.0), params)
    _, state = updates_of(rates, row_rates, params, grads, weight_decay=0.0, clip_norm=1.0)
    (moments,) = [
        leaf.mu
        for leaf in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, optax.ScaleByAdamState))
        if isinstance(leaf, optax.ScaleByAdamState)
    ]
    # Adam's first moment is 0.1 times the gradient.
    expected = np.where(FOUND[:, None], 0.0, 0.001) * np.ones(2)
    np.testing.assert_allclose(take(moments, *EMBED), expected, rtol=1e-6)


def test_the_state_has_the_shape_that_it_has_without_the_vectors():
    """So that a run is restored without them."""
    params = small_params()
    rates, row_rates = rates_of(config_of(rate=0.0, missing_rate=1.0), params)
    trainable, _ = partition(params, rates)
    states = []
    for rows in (None, row_rates):
        optimizer = build_optimizer(tiny.TRAIN, build_schedule(tiny.TRAIN, 1), rates, rows)
        states.append(jax.eval_shape(optimizer.init, trainable))
    assert jax.tree.leaves_with_path(states[0]) == jax.tree.leaves_with_path(states[1])


def test_frozen_rows_are_counted_as_frozen():
    params = small_params()
    rates, row_rates = rates_of(config_of(rate=0.0, missing_rate=1.0), params)
    frozen = 2 * FOUND.sum()
    counts = {"trained": 2 * tiny.VOCABULARY + 3 - frozen, "frozen": frozen}
    assert count_parameters(params, rates, row_rates) == counts


@pytest.mark.parametrize("embedding", [{}, {"rate": 0.5}, {"rate": 0.5, "missing_rate": 0.5}])
def test_rows_of_one_rate_need_no_multipliers(embedding):
    rates, row_rates = rates_of(config_of(**embedding), small_params())
    assert take(rates, *EMBED) == embedding.get("rate", 1.0)
    assert row_rates is None


@pytest.mark.slow
def test_a_run_trains_missing_words_alone_resumes_and_is_restored_without_the_file(tmp_path, cache):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text(f"2 6\nred {'0.5 ' * 5}0.5\ncircle {'-0.25 ' * 5}-0.25\n", encoding="utf-8")
    values = small_run.SMALL | {
        "embedding.kind": "word2vec",
        "embedding.path": vectors,
        "embedding.rate": 0,
        "embedding.missing_rate": 1,
        "train.weight_decay": 0.1,
        "train.epochs": 1,
    }
    arguments = small_run.arguments(tmp_path / "run", values)
    assert train.main(arguments) == 0
    assert train.main(arguments) == 0
    vectors.unlink()
    run = restore_best(tmp_path / "run")
    rows = np.asarray(take(run.params, *EMBED))
    np.testing.assert_array_equal(rows[run.vocabulary.index("red")], np.float32(0.5))
    np.testing.assert_array_equal(rows[run.vocabulary.index("circle")], np.float32(-0.25))
    drawn = rows[run.vocabulary.index("a")]
    assert not np.isin(drawn, rows[run.vocabulary.index("red")]).any()


@pytest.mark.parametrize(
    ("rate", "missing", "expected"),
    [(0.0, 1.0, 8), (1.0, 0.0, tiny.VOCABULARY - 8), (0.5, 1.0, 0), (0.0, -1.0, 0)],
)
def test_rows_that_stay_are_counted_where_only_their_number_is_known(rate, missing, expected):
    """A run that is restored knows no more than how many words were found."""
    assert FOUND.sum() == 8
    embedding = config_of(rate=rate, missing_rate=missing).embedding
    assert count_frozen_rows(embedding, tiny.VOCABULARY, 8) == expected
    state, frozen, _ = tiny.training(encoder=0)
    rates = assign_rates(combine(state.params, frozen), [("encoder/*", 0), ("decoder/*", 1)])
    row_rates = assign_row_rates(rates, embedding, FOUND)
    if row_rates is not None:
        assert (take(row_rates, *EMBED) == 0).sum() == expected
