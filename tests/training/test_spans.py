"""Spans: many steps as one program come to what single steps come to, wherever they are cut."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap import evaluate, parallel, train
from jaxcap.errors import UserError
from jaxcap.inputs.batches import CachedInputs, Captions, TrainingBatches
from jaxcap.text import PAD
from jaxcap.training import history
from jaxcap.training.capacity import choose_words
from jaxcap.training.spans import cut_spans, plan_spans, scan_steps
from jaxcap.training.stacking import (
    Stacking,
    share_frozen,
    stack,
    stack_batches,
    stack_frozen,
    stack_seeds,
    step_each,
    unstack,
)
from jaxcap.training.train_step import train_step
from tests import small_run, tiny

PHOTOS = 19
BATCH = 8
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


def order(choice, seed):
    """The batches of random features in two views, with up to three captions a photo."""
    rng = np.random.default_rng(0)
    cache = rng.standard_normal((PHOTOS, 2, 4, 16)).astype(np.float16)
    counts = rng.integers(1, 4, PHOTOS)
    tokens = rng.integers(4, tiny.VOCABULARY, (PHOTOS, 3, 9)).astype(np.int32)
    ends = rng.integers(2, 7, (PHOTOS, 3))
    tokens[np.arange(9) >= ends[..., None]] = PAD
    tokens[np.arange(3) >= counts[:, None]] = PAD
    captions = Captions(tokens, counts, 0)
    return TrainingBatches(CachedInputs(cache), captions, 2, BATCH, choice, seed)


def compile_steps(step, stacking):
    """The step of a batch that the host reads, and that of a span."""
    one = parallel.compile_train_step(
        step_each(step, stacking), choose_words, lambda name: int(stacking.is_stacked(name))
    )
    many = parallel.compile_train_step(
        scan_steps(step_each(step, stacking), "features"),
        image_axis=lambda name: 1 + int(stacking.is_stacked(name)),
    )
    return one, many


def hold(order):
    arrays = {"features": order.inputs.cache, "tokens": order.captions.tokens}
    return parallel.replicate(arrays)


def copy(tree):
    return jax.tree.map(jnp.copy, tree)  # a step donates its state


def run_spans(many, state, constants, orders, size, first=0, every=1000):
    """Trains from a step to the epoch's end: the state and the losses, step by step."""
    losses = []
    state = copy(state)
    for span in plan_spans(orders, 1, first, size, every):
        state, metrics = many(state, constants, span.batch, **span.chosen)
        losses += list(metrics["loss"][0])
    return state, np.array(losses)


@pytest.fixture(scope="module")
def model():
    state, frozen, step = tiny.training(encoder=0)
    seed = step.pop("seed")
    stacking = Stacking(1, None, shares_batch=True)
    one, many = compile_steps(functools.partial(train_step, **step), stacking)
    return state, (frozen, stack_seeds([seed])), one, many


@pytest.mark.parametrize("choice", ["all", "random", "pairs"])
def test_a_span_comes_to_what_its_steps_come_to(model, choice):
    """Dropout, decay, clipping and padding among them."""
    state, frozen, one, many = model
    batches = order(choice, 3)
    expected = copy(state)
    losses = []
    for batch in batches.iterate_epoch(1):
        expected, metrics = one(expected, frozen, batch)
        losses.append(metrics["loss"][0])
    found, of_spans = run_spans(many, state, (frozen, hold(batches)), [batches], size=2)
    np.testing.assert_allclose(of_spans, losses, rtol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, **CLOSE), found, expected)
    assert int(found.step) == len(batches)


def test_a_run_that_goes_on_behind_a_span_changes_no_bit(model):
    """The spans of an epoch are the same for a run that was stopped or killed."""
    state, frozen, _, many = model
    batches = order("pairs", 3)
    constants = (frozen, hold(batches))
    whole, losses = run_spans(many, state, constants, [batches], size=2, every=3)
    middle = copy(state)
    done = 0
    for span in plan_spans([batches], 1, 0, 2, 3):
        middle, _ = many(middle, constants, span.batch, **span.chosen)
        done += len(span)
        rest, others = run_spans(many, middle, constants, [batches], 2, done, every=3)
        np.testing.assert_array_equal(others, losses[done:])
        jax.tree.map(np.testing.assert_array_equal, rest, whole)
    assert done == len(batches) >= 5


@pytest.mark.parametrize("shares_batch", [True, False])
def test_replicas_take_spans_together(shares_batch):
    seeds = (3, 4)
    states = []
    frozen = []
    for _ in seeds:
        state, of_one, step = tiny.training(encoder=0)
        states.append(state)
        frozen.append(of_one)
    step.pop("seed")
    stacked, axes = stack_frozen(share_frozen(frozen))
    constants = (stacked, stack_seeds(seeds))
    one, many = compile_steps(
        functools.partial(train_step, **step), Stacking(len(seeds), axes, shares_batch)
    )
    orders = [order("random", 3)] if shares_batch else [order("random", seed) for seed in seeds]
    expected = stack(states)
    for batches in zip(*(batches.iterate_epoch(1) for batches in orders), strict=True):
        batch = batches[0] if shares_batch else stack_batches(batches)
        expected, _ = one(expected, constants, batch)
    found = stack(states)
    for span in plan_spans(orders, 1, 0, 2, 1000):
        assert span.rows.shape[:-1] == ((len(span),) if shares_batch else (len(span), 2))
        found, _ = many(found, (constants, hold(orders[0])), span.batch, **span.chosen)
    for of_one, other in zip(unstack(found, 2), unstack(expected, 2), strict=True):
        jax.tree.map(functools.partial(np.testing.assert_allclose, **CLOSE), of_one, other)


@pytest.mark.parametrize(
    ("steps", "before", "size", "every"),
    [(1, 0, 50, 500), (403, 0, 50, 500), (403, 403, 50, 500), (7, 5, 3, 2), (100, 900, 50, 500)],
)
def test_spans_cover_an_epoch_and_end_where_a_save_is_due(steps, before, size, every):
    spans = cut_spans(steps, before, size, every)
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == steps
    lengths = [end - start for start, end in spans]
    assert 0 < min(lengths) <= max(lengths) <= size
    ends = {before + end for _, end in spans}
    assert ends >= {step for step in range(before + 1, before + steps) if step % every == 0}


def arguments(folder, **overrides):
    values = small_run.SHORT | {"head.dropout": 0.2, "train.checkpoint_every": 2}
    return small_run.arguments(folder, values, **overrides)


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_a_run_in_spans_leaves_what_a_run_of_single_steps_leaves(tmp_path, capsys):
    """The same records for the same steps, self-critical ones too, and a run to evaluate."""
    folders = []
    for span in (0, 3):
        folder = tmp_path / str(span)
        options = {"train__span": span, "encoder__rates": "*:0"}
        options |= {"train__select": "CIDEr-D", "self_critical__epochs": 1}
        assert train.main(arguments(folder, **options)) == 0
        assert ("3 steps a call" in capsys.readouterr().out) == (span == 3)
        folders.append(folder)
    expected, found = (history.read_lines(folder / history.METRICS) for folder in folders)
    assert [one["step"] for one in found] == [one["step"] for one in expected]
    for one, other in zip(found, expected, strict=True):
        if one["epoch"] <= 2:  # what is sampled then may differ by one rounded probability
            for name, value in one.items():
                if not isinstance(value, str):
                    assert value == pytest.approx(other[name], rel=1e-3, abs=1e-5), name
    assert evaluate.main(["--workdir", str(folders[1]), "--split", "val", "--json"]) == 0


def test_spans_need_cached_features(tmp_path):
    """The encoder of this run learns."""
    with pytest.raises(UserError, match=r"train\.span=3 needs cached features"):
        train.main(arguments(tmp_path / "run", train__span=3))
    assert not (tmp_path / "run" / "config.json").exists()
