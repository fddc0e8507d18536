"""The training step: frozen stays frozen, padding is invisible, a resumed run draws the same.

That one device equals eight, and several processes one, is in tests/test_processes.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcap import parallel
from jaxcap.memoize import memoize
from jaxcap.training.capacity import choose_words
from jaxcap.training.objectives import PolicyGradient, TeacherForcing
from jaxcap.training.partition import combine
from jaxcap.training.train_step import create_state, eval_step, per_image_keys, train_step
from tests import tiny
from tests.tiny import leaves


def assert_close(ours, theirs):
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def plain_training(objective):
    """By plain gradient descent, for Adam makes much of the rounding of small gradients."""
    state, frozen, step = tiny.training()
    step |= {"optimizer": optax.sgd(0.1), "objective": objective, "ema_decay": 0.0}
    return create_state(state.params, step["optimizer"], ema=False), frozen, step


@memoize
def compile_step(step):
    return jax.jit(functools.partial(train_step, **step))


def run(state, frozen, step, count=3, images=4):
    compiled = compile_step(step)
    for n in range(count):
        state, metrics = compiled(state, frozen, tiny.batch(images, seed=n))
    return state, metrics


def test_the_state_holds_what_is_trained_and_nothing_else():
    """A frozen leaf gets no gradient, no optimizer state and no update; every other leaf moves."""
    state, frozen, step = tiny.training(encoder=0, words=0)
    after, _ = run(state, frozen, step)
    before = leaves(state.params)
    assert not any("encoder" in name or "embed'" in name for name in before)
    assert all("encoder" in name or "embed'" in name for name in leaves(frozen))
    for name, now in leaves(after.params).items():
        assert not np.array_equal(now, before[name]), name
    trained = sum(p.size for p in before.values())
    assert sum(x.size for x in jax.tree.leaves(after.opt_state) if x.ndim) == 2 * trained
    assert sum(x.size for x in jax.tree.leaves(after.ema)) == trained


def test_frozen_parameters_take_no_part_in_the_gradient():
    """A gradient through the encoder would need transposed convolutions; forward there are six."""
    state, frozen, step = tiny.training(encoder=0, words=0)
    whole = jax.make_jaxpr(functools.partial(train_step, **step))(state, frozen, tiny.batch(4))
    params = combine(state.params, frozen)
    forward = jax.make_jaxpr(lambda p: step["model"].apply({"params": p}, tiny.batch(4)))(params)
    convolution = "conv_general_dilated["
    assert str(whole).count(convolution) == str(forward).count(convolution) > 0


def test_everything_learns_when_nothing_is_frozen():
    state, frozen, step = tiny.training()
    assert not jax.tree.leaves(frozen)
    after, _ = run(state, frozen, step, count=4)
    before = leaves(state.params)
    for name, now in leaves(after.params).items():
        assert not np.array_equal(now, before[name]), name


def fill(batch):
    """The batch with photos more, whose captions are padding."""
    filled = {name: np.concatenate([x, x[:2]]) for name, x in batch.items()}
    filled["tokens"][4:] = 0
    return filled


def lengthen(batch):
    """The batch with a caption more of each photo, which is not there."""
    return {**batch, "tokens": np.pad(batch["tokens"], ((0, 0), (0, 1), (0, 0)))}


def test_padding_is_invisible():
    """Photos whose captions are padding change neither the update nor the sums."""
    # Dropout masks have the shape of the captions, so the comparison of shapes goes without.
    no_dropout = {"head__dropout": 0.0, "decoder__word_dropout": 0.0}
    gru = no_dropout | {"decoder__cell": "gru", "decoder__stateless": True, "head__hidden": 6}
    photos = tiny.batch(4)
    features = tiny.cached(4)
    cases = [
        (photos, fill(photos), {}),
        (features, lengthen(features), no_dropout),
        (features, fill(features), gru),
        (features, lengthen(features), gru),
    ]
    for batch, other, options in cases:
        learns_encoder = "images" in batch
        state, frozen, step = tiny.training(encoder=int(learns_encoder), **options)
        # Plain gradient descent: Adam would blow the rounding of a vanishing gradient up to a
        # whole step.
        step["optimizer"] = optax.sgd(1.0)
        state = create_state(state.params, step["optimizer"], ema=False)
        compiled = compile_step(step)
        one = leaves(compiled(state, frozen, batch))
        two = leaves(compiled(state, frozen, other))
        for name, value in one.items():
            np.testing.assert_allclose(value, two[name], atol=1e-6, rtol=1e-4, err_msg=name)


def test_metrics_are_sums_and_counts():
    state, frozen, step = tiny.training()
    batch = tiny.batch(4)
    batch["tokens"][3] = 0
    _, metrics = compile_step(step)(state, frozen, batch)
    words = (batch["tokens"][..., 1:] > 0).sum()
    assert metrics["loss"][1] == words
    assert metrics["gradient_norm"][1] == 1
    params = combine(state.params, frozen)
    metrics = jax.jit(functools.partial(eval_step, model=step["model"]))(params, batch)
    assert metrics["loss"][1] == words
    # An untrained captioner knows nothing: about log V nats a word.
    nats, words = metrics["loss"]
    assert abs(nats / words - np.log(tiny.VOCABULARY)) < 0.5


@pytest.mark.parametrize("averaged", [0, 9])
def test_positions_without_a_word_need_not_be_predicted(averaged):
    """Neither the update nor the sums change where the step predicts at the words' positions."""
    objective = TeacherForcing(averaged, label_smoothing=0.1, doubly_stochastic=0.5)
    state, frozen, step = plain_training(objective)
    batch = tiny.batch(4)
    batch["tokens"][3, 1] = 0
    words = int((batch["tokens"][..., 1:] > 0).sum())
    assert words < batch["tokens"][..., 1:].size
    whole, expected = compile_step(step)(state, frozen, batch)
    for size in (words, words + 2):
        after, metrics = compile_step(step | {"words": size})(state, frozen, batch)
        assert_close(after.params, whole.params)
        assert_close(metrics, expected)
    params = combine(state.params, frozen)
    measure = functools.partial(eval_step, model=step["model"], positions=averaged)
    found, expected = (
        jax.jit(functools.partial(measure, words=size))(params, batch) for size in (words, None)
    )
    assert_close(found, expected)


def test_samples_too_are_predicted_at_their_words_alone():
    state, frozen, step = plain_training(PolicyGradient(np.arange(tiny.VOCABULARY) > 3))
    advantages = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    batch = tiny.batch(4) | {"advantages": advantages}
    words = int((batch["tokens"][..., 1:] > 0).sum())
    whole, expected = compile_step(step)(state, frozen, batch)
    after, metrics = compile_step(step | {"words": words})(state, frozen, batch)
    assert_close(after.params, whole.params)
    assert_close(metrics, expected)


def test_enough_positions_are_predicted_on_every_device_in_few_sizes():
    rng = np.random.default_rng(0)
    sizes = set()
    for seed in range(40):
        tokens = tiny.batch(8, captions=5, length=12, seed=seed)["tokens"]
        halves = {"tokens": tokens.reshape(2, 4, 5, 12)}
        (words,) = choose_words(halves).values()
        fullest = (halves["tokens"][..., 1:] > 0).sum((1, 2, 3)).max()
        assert fullest <= words <= 4 * 5 * 11
        sizes.add(words)
    assert len(sizes) <= 2
    none = {"tokens": np.zeros((1, 4, 5, 12), np.int32)}
    every = {"tokens": rng.integers(4, 9, (1, 4, 5, 12))}
    assert choose_words(none) == {"words": 128}
    assert choose_words(every) == {"words": 220}


def test_ema_follows_its_recursion():
    state, frozen, step = tiny.training(ema_decay=0.5)
    expected = leaves(state.ema)
    compiled = compile_step(step)
    for n in range(4):
        state, _ = compiled(state, frozen, tiny.batch(4, seed=n))
        decay = min(0.5, (1 + n) / (10 + n))
        now = leaves(state.params)
        expected = {name: e + (1 - decay) * (now[name] - e) for name, e in expected.items()}
    for name, ema in leaves(state.ema).items():
        np.testing.assert_allclose(ema, expected[name], atol=1e-6)
        np.testing.assert_array_equal(leaves(state.eval_params)[name], ema)


def test_step_compiles_once():
    state, frozen, step = tiny.training()
    compiled = jax.jit(functools.partial(train_step, **step))
    for n in range(3):
        state, _ = compiled(state, frozen, tiny.batch(4, seed=n))
    assert compiled._cache_size() == 1


def test_each_step_has_a_key_of_its_own_that_a_resumed_run_makes_again():
    """Dropout follows from the seed and the state's step, whatever steps ran before."""
    state, frozen, step = tiny.training()
    compiled = compile_step(step)
    batch = tiny.batch(4)
    first = compiled(state, frozen, batch)[1]["loss"][0]
    later = compiled(state.replace(step=jnp.int32(5)), frozen, batch)[1]["loss"][0]
    again = compiled(state.replace(step=jnp.int32(5)), frozen, batch)[1]["loss"][0]
    assert first != later
    assert later == again
    key = jax.random.fold_in(jax.random.key(tiny.SEED), 5)
    keys = per_image_keys(key, 4)
    params = {"params": combine(state.params, frozen)}
    logits, _ = jax.jit(step["model"].apply)(params, batch, keys)
    terms, _ = tiny.OBJECTIVE(logits, jnp.zeros((4, 2, 6, 16)), batch)
    nats = TeacherForcing()(logits, jnp.zeros((4, 2, 6, 16)), batch)[1]["loss"][0]
    assert len(terms) == 2
    np.testing.assert_allclose(nats, later, rtol=1e-5)


def test_training_lowers_the_loss():
    """A hundred steps on one batch, without dropout, teach it by heart."""
    state, frozen, step = tiny.training(
        embedding__dim=16,
        decoder__hidden=32,  # with 8 some batches and processors take many times the steps
        decoder__word_dropout=0.0,
        regions__dropout=0.0,
        head__dropout=0.0,
    )
    step |= {"optimizer": optax.adam(0.03), "objective": TeacherForcing()}
    state = create_state(state.params, step["optimizer"], ema=False)
    compiled = compile_step({**step, "ema_decay": 0.0})
    batch = tiny.batch(2, captions=1)
    losses = []
    for _ in range(100):
        state, metrics = compiled(state, frozen, batch)
        nats, words = metrics["loss"]
        losses.append(float(nats / words))
    assert losses[-1] < 0.2 < 2.5 < losses[0]


def test_the_step_is_compiled_once_for_a_state_that_is_replicated(caplog):
    """Not once for where the first state lies, and once for where a step leaves its own."""
    state, frozen, step = tiny.training(encoder=0)
    compiled = parallel.compile_train_step(functools.partial(train_step, **step))
    batch = tiny.batch(8)
    state, _ = compiled(parallel.replicate(state), frozen, batch)
    jax.block_until_ready(state)
    with jax.log_compiles():
        jax.block_until_ready(compiled(state, frozen, batch))
    assert not [record for record in caplog.messages if "Compiling" in record]
