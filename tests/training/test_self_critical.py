"""Self-critical training: what it rewards grows likelier, and its phase can be stopped anywhere."""

import dataclasses
import functools
import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from jaxcap import decoding, train
from jaxcap.errors import UserError
from jaxcap.experiment.phases import _build_self_critical
from jaxcap.text import END, PAD, SPECIALS, START, UNK, Vocabulary
from jaxcap.training import history, self_critical
from jaxcap.training.loop import Loop
from jaxcap.training.objectives import PolicyGradient
from jaxcap.training.partition import assign_rates, combine, partition
from jaxcap.training.stacking import Stacking
from jaxcap.training.train_step import create_state, train_step
from tests import small_run, tiny

LENGTH = 7
SAMPLES = 16
IMAGES = 8
VOCABULARY = Vocabulary((*SPECIALS, *(f"word{n}" for n in range(len(SPECIALS), tiny.VOCABULARY))))
NO_DROPOUT = {"head__dropout": 0.0, "decoder__word_dropout": 0.0, "regions__dropout": 0.0}
ALL_WORDS = np.ones(tiny.VOCABULARY, bool)


def advantage(rewards, one):
    """The definition, sample by sample."""
    others = [reward for other, reward in enumerate(rewards) if other != one]
    return rewards[one] - sum(others) / len(others)


def test_a_sample_is_judged_against_the_mean_of_the_others():
    rewards = np.random.default_rng(0).random((3, 5))
    wanted = [[advantage(row, one) for one in range(5)] for row in rewards.tolist()]
    advantages = self_critical.compute_advantages(rewards)
    np.testing.assert_allclose(advantages, wanted, atol=1e-6)
    np.testing.assert_allclose(advantages.sum(1), 0, atol=1e-6)


def test_end_is_scored_and_padding_is_not():
    tokens = np.array([START, 5, 6, END, PAD])
    assert self_critical.read_words(VOCABULARY, tokens) == ["word5", "word6", "<end>"]


def test_advantages_multiply_the_captions_cross_entropy():
    """The update is that of the weighted sum of the captions' cross-entropy over all words."""
    state, frozen, step = tiny.training(**NO_DROPOUT)
    step |= {"optimizer": optax.sgd(1.0), "objective": PolicyGradient(ALL_WORDS)}
    batch = tiny.batch(2) | {"advantages": np.array([[1.0, -0.5], [0.0, 2.0]], np.float32)}

    def loss(params):
        logits, _ = step["model"].apply({"params": combine(params, frozen)}, batch)
        targets = batch["tokens"][..., 1:]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0]
        nats = -jnp.where(targets != PAD, chosen, 0).sum(-1)  # [B, C]
        return (nats * batch["advantages"]).sum() / (targets != PAD).sum()

    grads = jax.jit(jax.grad(loss))(state.params)
    state = create_state(state.params, step["optimizer"], ema=False)
    after, _ = jax.jit(functools.partial(train_step, **step))(state, frozen, batch)
    moved = jax.tree.map(lambda p, q: p - q, state.params, after.params)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-5), moved, grads
    )


@pytest.fixture
def critic(request):
    """A phase whose photos all have the same two references, its first state, and a batch."""
    model = tiny.captioner(regions__dropout=getattr(request, "param", 0.0))
    batch = tiny.batch(IMAGES) | {"rows": np.arange(IMAGES)}
    params = tiny.draw(model)
    # Words 5 and 6 are rare among the references, so that they are worth something.
    references = np.full((2 * IMAGES, 2, LENGTH), PAD)
    references[:IMAGES, 0, :3] = (5, 6, END)
    references[:IMAGES, 1, :2] = (6, END)
    references[IMAGES:, 0, :2] = (9, END)
    config = {
        "seed": 1,
        "encoder": {"rates": ("*:0",)},
        "embedding": {"rate": 1.0, "missing_rate": -1.0},
        "text": {"max_length": LENGTH, "end_mark": True},
        "self_critical": {"captions": SAMPLES, "epochs": 1, "learning_rate": 0.02},
        "train": tiny.TRAIN | {"weight_decay": 0.0, "ema_decay": 0.0},
    }
    experiment = SimpleNamespace(
        config=ConfigDict(config),
        model=model,
        params=params,
        rates=assign_rates(params, [("encoder/*", 0), ("*", 1)]),
        row_rates=None,
        vocabulary=VOCABULARY,
        captions={"train": SimpleNamespace(tokens=references)},
    )
    phase = _build_self_critical(experiment, 1, "CIDEr-D")
    trainable, frozen = partition(params, experiment.rates)
    step = phase.build_step(Stacking(1, None, shares_batch=True), (1,))
    return step, phase.create_state(trainable), frozen, batch


def test_the_reward_grows(critic):
    step, state, frozen, batch = critic
    rewards = []
    for _ in range(80):
        state, metrics = step(state, frozen, batch)
        total, images = metrics["reward"]
        assert images == IMAGES
        rewards.append(float(total) / IMAGES)
    assert np.mean(rewards[-5:]) > 3 * np.mean(rewards[:5]) > 0


def test_words_that_are_never_sampled_are_left_alone(critic):
    """Else a bad caption could be unlearnt by making <unk> likelier, which is never sampled."""
    step, state, frozen, batch = critic
    before = jax.device_get(state.params["decoder"]["head"]["output"])  # the step donates its state
    for _ in range(3):
        state, _ = step(state, frozen, batch)
    after = jax.device_get(state.params["decoder"]["head"]["output"])
    never = [PAD, START, UNK]
    np.testing.assert_array_equal(after["kernel"][:, never], before["kernel"][:, never])
    np.testing.assert_array_equal(after["bias"][never], before["bias"][never])
    learned = (after["bias"] != before["bias"]).sum()
    assert learned == tiny.VOCABULARY - len(never)  # all others


def test_all_sentences_that_can_be_sampled_have_probability_1_together():
    """By brute force: cut after two words, that is <end>, a word and <end>, or two words."""
    state, frozen, step = tiny.training(**NO_DROPOUT)
    rules = decoding.Rules(max_length=3)
    step["objective"] = PolicyGradient(rules.token_mask(tiny.VOCABULARY))
    words = [word for word in range(tiny.VOCABULARY) if word not in (PAD, START, UNK, END)]
    sentences = [(END, PAD), *((word, END) for word in words), *itertools.product(words, words)]
    batch = tiny.batch(1) | {"advantages": np.ones((1, 1), np.float32)}

    def log_prob(sentence):
        tokens = jnp.concatenate([jnp.array([START]), sentence])[None, None]
        _, metrics = train_step(state, frozen, batch | {"tokens": tokens}, **step)
        return -metrics["sample_loss"][0]

    log_probs = jax.jit(lambda sentences: jax.lax.map(log_prob, sentences))(jnp.array(sentences))
    assert float(jnp.exp(log_probs).sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("critic", [0.5], indirect=True)
def test_samples_and_update_lose_the_same_channels(critic):
    """The update finds the samples just as probable as they were, and not as with other keys."""
    step, state, frozen, batch = critic
    never = np.array([PAD, START, UNK])
    output = state.params["decoder"]["head"]["output"]
    output["bias"] = output["bias"].at[never].set(-1e9)  # so that the rules change no probability
    sampled = []

    def sample(params, batch):
        sampled.append(step.sample(params, batch))
        sampled.append(step.sample(params, batch | {"keys": batch["keys"] + 1}))
        return sampled[0]

    _, metrics = dataclasses.replace(step, sample=sample)(state, frozen, batch)
    same, other = (-float(found.log_prob.sum()) for found in sampled)
    nats, _ = metrics["sample_loss"]
    assert float(nats) == pytest.approx(same, rel=1e-5)
    assert float(nats) != pytest.approx(other, rel=1e-4)


def test_what_fills_a_batch_up_counts_nowhere(critic):
    step, state, frozen, batch = critic
    seen = {}

    def update(state, frozen, batch):
        seen.update(batch)
        return state, {}

    step = dataclasses.replace(step, update=update)
    batch["tokens"][-2:] = PAD
    _, metrics = step(state, frozen, batch)
    assert (seen["tokens"][-2:, :, 1:] == PAD).all()
    assert (seen["tokens"][:-2, :, 1] != PAD).all()
    rewards = step._score(range(IMAGES - 2), seen["tokens"][:-2, :, 1:])
    total, images = metrics["reward"]
    assert images == IMAGES - 2
    assert total == pytest.approx(rewards.mean(axis=1).sum())


def arguments(folder, **options):
    values = small_run.SHORT | {
        "encoder.rates": "*:0",
        "train.select": "CIDEr-D",
        "self_critical.epochs": 2,
        "self_critical.captions": 3,
    }
    return small_run.arguments(folder, values | options)


@pytest.mark.slow
def test_a_run_of_two_phases_resumes_as_if_never_stopped(tmp_path, monkeypatch):
    """Killed before the second phase, at its start and in it, a run leaves the same numbers."""
    whole = tmp_path / "whole"
    cut = tmp_path / "cut"
    assert train.main(arguments(whole)) == 0
    records = history.read_lines(whole / "metrics.jsonl")
    val = [record for record in records if record["split"] == "val"]
    assert ["train_loss" in record for record in val] == [True, True, False, False]
    assert ["train_reward" in record for record in val] == [False, False, True, True]
    for number in (4, 6, 8):  # of three steps an epoch: the second phase begins after the 6th

        def dies(self, replica, state, *rest, number=number, saved=Loop._save):
            saved(self, replica, state, *rest)
            if int(state.step) >= number:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_save", dies)
            with pytest.raises(KeyboardInterrupt):
                train.main(arguments(cut, **{"train.checkpoint_every": 1}))
        assert train.main(arguments(cut, **{"train.checkpoint_every": 1})) == 0
        assert history.read_lines(cut / "metrics.jsonl") == records
        for left in sorted(cut.rglob("*"), reverse=True):
            left.rmdir() if left.is_dir() else left.unlink()
        cut.rmdir()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"train.select": "loss"}, "set train.select=CIDEr-D"),
        ({"self_critical.captions": 1}, "a whole number from 2 to"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        train.main(arguments(tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()
