"""Self-critical training: what it rewards grows likelier, and a run that turns to it can be stopped
anywhere.
"""

import dataclasses
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
from jaxcap.text import END, PAD, SPECIALS, START, UNK, Vocabulary
from jaxcap.training import history, optim, self_critical
from jaxcap.training import train_step as steps
from jaxcap.training.loop import Loop
from tests import small_run, tiny

LENGTH, DRAWS, IMAGES = 7, 16, 8
VOCABULARY = Vocabulary((*SPECIALS, *(f"word{n}" for n in range(len(SPECIALS), tiny.VOCABULARY))))


def advantage(rewards, one):
    """The definition, draw by draw."""
    others = [reward for other, reward in enumerate(rewards) if other != one]
    return rewards[one] - sum(others) / len(others)


def test_a_draw_is_judged_against_the_mean_of_the_others():
    rewards = np.random.default_rng(0).random((3, 5))
    wanted = [[advantage(row, one) for one in range(5)] for row in rewards.tolist()]
    np.testing.assert_allclose(self_critical.advantages(rewards), wanted, atol=1e-6)
    np.testing.assert_allclose(self_critical.advantages(rewards).sum(1), 0, atol=1e-6)


def test_end_is_scored_and_padding_is_not():
    assert self_critical.written(VOCABULARY, np.array([START, 5, 6, END, PAD])) == [
        "word5",
        "word6",
        "<end>",
    ]


def test_weights_multiply_the_captions_cross_entropy():
    """The update is that of the weighted sum of each caption's cross-entropy, over the words of
    all.
    """
    state, step = tiny.training(hidden_dropout=0.0, word_dropout=0.0, feature_dropout=0.0)
    step |= {"loss": self_critical.PLAIN_LOSS}
    step["optimizer"] = optax.selective_transform(optax.sgd(1.0), freeze_mask=step["frozen"])
    batch = tiny.batch(2) | {"weights": np.array([[1.0, -0.5], [0.0, 2.0]], np.float32)}

    def objective(params):
        logits, _ = step["model"].apply({"params": params}, batch)
        targets = batch["tokens"][..., 1:]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0]
        nats = -jnp.where(targets != PAD, chosen, 0).sum(-1)  # [B, C]
        return (nats * batch["weights"]).sum() / (targets != PAD).sum()

    grads = jax.grad(objective)(state.params)
    state = steps.create(state.params, step["optimizer"], step["frozen"])
    after, _ = steps.train_step(state, batch, jax.random.key(0), **step)
    moved = jax.tree.map(lambda p, q: p - q, state.params, after.params)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-5), moved, grads
    )


@pytest.fixture
def critic(request):
    """A step whose photos all have the same two references, its first state, and a batch."""
    state, step = tiny.training(encoder=False, feature_dropout=getattr(request, "param", 0.0))
    # Words 5 and 6 are rare among the references, so that they are worth something.
    references = np.full((2 * IMAGES, 2, LENGTH), PAD)
    references[:IMAGES, 0, :3], references[:IMAGES, 1, :2], references[IMAGES:, 0, :2] = (
        (5, 6, END),
        (6, END),
        (9, END),
    )
    config = {
        "text": {"max_length": LENGTH},
        "self_critical": {"captions": DRAWS},
        "train": {"average": 0.0},
    }
    run = SimpleNamespace(
        config=ConfigDict(config),
        model=step["model"],
        frozen=step["frozen"],
        vocabulary=VOCABULARY,
        captions={"train": SimpleNamespace(tokens=references)},
    )
    train = tiny.TRAIN | {"learning_rate": 0.02, "schedule": "constant", "weight_decay": 0.0}
    optimizer = optim.optimizer(train, 1, step["frozen"])
    state = steps.create(state.params, optimizer, step["frozen"])
    return (
        self_critical.compile_step(run, optimizer),
        state,
        tiny.batch(IMAGES) | {"rows": np.arange(IMAGES)},
    )


def test_the_reward_grows(critic):
    step, state, batch = critic
    rewards = []
    for n in range(80):
        state, metrics = step(state, batch, jax.random.fold_in(jax.random.key(1), n))
        rewards.append(float(metrics["reward"]) / IMAGES)
    assert np.mean(rewards[-5:]) > 3 * np.mean(rewards[:5]) > 0


def test_words_that_are_never_drawn_are_left_alone(critic):
    """Were <unk> no better than others to the update, a bad caption could be unlearnt by making
    <unk> likelier.
    """
    step, state, batch = critic
    before = jax.device_get(
        state.params["decoder"]["output"]
    )  # a step gives its state's memory away
    for n in range(3):
        state, _ = step(state, batch, jax.random.key(n))
    after = jax.device_get(state.params["decoder"]["output"])
    never = [PAD, START, UNK]
    np.testing.assert_array_equal(after["kernel"][:, never], before["kernel"][:, never])
    np.testing.assert_array_equal(after["bias"][never], before["bias"][never])
    assert (after["bias"] != before["bias"]).sum() == tiny.VOCABULARY - len(
        never
    )  # and all others learn


def test_all_sentences_that_can_be_drawn_have_probability_1_together():
    """By brute force: cut after two words, that is <end>, a word and <end>, or two words."""
    state, step = tiny.training(hidden_dropout=0.0, word_dropout=0.0, feature_dropout=0.0)
    rules = decoding.Rules(max_length=3)
    step |= {"loss": self_critical.PLAIN_LOSS, "possible": rules.possible(tiny.VOCABULARY)}
    words = [word for word in range(tiny.VOCABULARY) if word not in (PAD, START, UNK, END)]
    sentences = [(END, PAD), *((word, END) for word in words), *itertools.product(words, words)]
    batch = tiny.batch(1)

    def log_prob(sentence):
        tokens = jnp.concatenate([jnp.array([START]), sentence])[None, None]
        return -steps.train_step(state, batch | {"tokens": tokens}, jax.random.key(0), **step)[1][
            "nats"
        ]

    log_probs = jax.jit(lambda sentences: jax.lax.map(log_prob, sentences))(jnp.array(sentences))
    assert float(jnp.exp(log_probs).sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("critic", [0.5], indirect=True)
def test_draws_and_update_lose_the_same_channels(critic):
    """The update finds the drawn captions just as probable as they were when drawn, and both not as
    without dropout.
    """
    step, state, batch = critic
    never = np.array([PAD, START, UNK])
    output = state.params["decoder"]["output"]
    output["bias"] = output["bias"].at[never].set(-1e9)  # so that the rules change no probability
    drawn = []

    def draw(params, batch):
        drawn.append(step.draw(params, batch))
        drawn.append(step.draw(params, batch | {"keys": batch["keys"] + 1}))
        return drawn[0]

    _, metrics = dataclasses.replace(step, draw=draw)(state, batch, jax.random.key(3))
    same, other = (-float(found.log_prob.sum()) for found in drawn)
    assert float(metrics["nats"]) == pytest.approx(same, rel=1e-5)
    assert float(metrics["nats"]) != pytest.approx(other, rel=1e-3)


def test_what_fills_a_batch_up_counts_nowhere(critic):
    step, state, batch = critic
    seen = {}
    step = self_critical.SelfCriticalStep(
        step.draw,
        lambda state, batch, rng: (seen.update(batch), {})[1:] * 2,
        step.scorer,
        step.vocabulary,
    )
    batch["tokens"][-2:] = PAD
    _, metrics = step(state, batch, jax.random.key(2))
    assert (seen["tokens"][-2:, :, 1:] == PAD).all()
    assert (seen["tokens"][:-2, :, 1] != PAD).all()
    rewards = [step._score(row, seen["tokens"][row, :, 1:]) for row in range(IMAGES - 2)]
    assert metrics["reward"] == pytest.approx(np.mean(rewards, axis=1).sum())


def arguments(folder, **options):
    options = {"train.epochs": 2, "self_critical.epochs": 2, "self_critical.captions": 3, **options}
    values = (
        small_run.SMALL
        | {"train.select": "CIDEr-D", "show.captions": 1, "show.tensorboard_every": 1}
        | options
    )
    config = ["--config", str(small_run.QUICKSTART), "--workdir", str(folder)]
    return [*config, *(f"--config.{key}={value}" for key, value in values.items())]


@pytest.mark.slow
def test_a_run_turns_and_resumes_as_if_never_stopped(tmp_path, monkeypatch):
    """Killed before the turn, at it and after it, a run leaves the same numbers as one that was
    not.
    """
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train.main(arguments(whole)) == 0
    records = history.read_lines(whole / "metrics.jsonl")
    val = [record for record in records if record["split"] == "val"]
    assert ["train_loss" in record for record in val] == [True, True, False, False]
    assert ["train_reward" in record for record in val] == [False, False, True, True]
    for number in (4, 6, 8):  # of three steps an epoch: the turn comes after the 6th

        def dies(self, state, progress, *rest, number=number, saved=Loop._save):
            saved(self, state, progress, *rest)
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
