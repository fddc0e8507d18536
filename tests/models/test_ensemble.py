"""An ensemble writes by the mean of its members' probabilities, against the members one by one."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.decoding import Rules, captioning
from jaxcap.decoding.strategy import Sampling
from jaxcap.memoize import memoize
from jaxcap.models.captioner import Captioner
from jaxcap.models.decoder import build_decoder
from jaxcap.models.encoder import Encoder
from jaxcap.models.ensemble import Ensemble
from jaxcap.models.params import draw_variables
from jaxcap.models.resnet import ResNet
from jaxcap.text import END, PAD, START, UNK
from tests import tiny

B = 3
V = 7  # <pad>, <start>, <end>, <unk> and three words
T = 4
L = 9
RULES = Rules(max_length=T + 1, unk=True)
# They differ in cell, width and head.
OPTIONS: tuple[dict, ...] = (
    {"decoder__init_from_mean": True},
    {"decoder__cell": "gru", "decoder__hidden": 12, "embedding__dim": 5, "head__hidden": 6},
    {"decoder__context_gate": True, "head__deep_output": True},
)
SEARCHES = {
    "greedy": lambda model: captioning.build_greedy(model, RULES),
    "beam": lambda model: captioning.build_beam(model, RULES, 3),
    "slots": lambda model: captioning.build_beam(model, RULES, 3, 2),
    "sample": lambda model: captioning.build_sampling(model, RULES, Sampling(0.7, top_p=0.9)),
}


def make_member(seed, options, vocabulary=V):
    """Returns a captioner, and its decoder's parameters, far from uniform."""
    encoder = Encoder(ResNet(stage_sizes=(1, 1), width=2))
    channels = encoder.level_channels
    decoder = build_decoder(tiny.sections(**options), vocabulary, level_channels=channels)
    model = Captioner(encoder, decoder)
    regions = jnp.zeros((1, L, sum(channels)))
    batch = {"features": regions, "tokens": jnp.ones((1, 1, 2), jnp.int32)}
    params = draw_variables(model, jax.random.key(seed), batch)["params"]
    return model, jax.tree.map(lambda x: 5 * x, params)


def join(members):
    model = Ensemble(tuple(model for model, _ in members), shares_encoder=True)
    return model, {f"members_{index}": params for index, (_, params) in enumerate(members)}


@pytest.fixture(scope="module")
def members():
    return [make_member(seed, options) for seed, options in enumerate(OPTIONS)]


def make_batch(images=B):
    width = sum(ResNet(stage_sizes=(1, 1), width=2).level_channels)
    features = jax.random.normal(jax.random.key(9), (images, L, width))
    return {"features": features, "draw": jnp.arange(images, dtype=jnp.int32)}


@functools.partial(jax.jit, static_argnums=0)
def apply(model, variables, batch):
    return model.apply(variables, batch)


def average_by_hand(members, batch, tokens):
    """Returns the mean probabilities [B, C, T, V] and attention of sentences [B, C, T].

    By teacher forcing, member by member, in float64.
    """
    start = np.full_like(tokens[..., :1], START)
    read = np.concatenate([start, tokens], axis=-1)
    probabilities = []
    attention = []
    for model, params in members:
        logits, attended = apply(model, {"params": params}, {**batch, "tokens": read})
        odds = np.exp(np.asarray(logits, np.float64))
        probabilities.append(odds / odds.sum(-1, keepdims=True))
        attention.append(np.asarray(attended, np.float64))
    return np.mean(probabilities, axis=0), np.mean(attention, axis=0)


def take(table, tokens):
    return np.take_along_axis(table, np.asarray(tokens)[..., None], -1)[..., 0]


@memoize
def compile_search(name, model):
    return jax.jit(SEARCHES[name](model))


def run(model, params, name, batch):
    return compile_search(name, model)(params, batch)


@pytest.mark.parametrize(
    ("name", "count"), [("greedy", 3), ("beam", 1), ("slots", 3), ("sample", 1)]
)
def test_copies_of_a_captioner_write_what_it_writes(name, count):
    model, params = make_member(0, OPTIONS[0])
    batch = make_batch(5)
    copies = [(model.clone(), params) for _ in range(count)]
    expected = run(model, params, name, batch)
    found = run(*join(copies), name, batch)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert len({tuple(row) for row in expected.tokens.tolist()}) > 1


@pytest.mark.parametrize("name", SEARCHES)
def test_probabilities_and_attention_are_the_members_means(members, name):
    batch = make_batch()
    found = run(*join(members), name, batch)
    real = np.asarray(found.tokens) != PAD
    probabilities, attention = average_by_hand(members, batch, np.asarray(found.tokens)[:, None])
    log_probs = np.log(take(probabilities[:, 0, :T], found.tokens))
    np.testing.assert_allclose(found.word_log_probs, log_probs * real, atol=1e-4)
    np.testing.assert_allclose(found.attention, attention[:, 0, :T] * real[..., None], atol=1e-5)


def test_greedy_search_takes_the_word_of_the_highest_mean_probability(members):
    batch = make_batch()
    found = run(*join(members), "greedy", batch)
    tokens = np.full((B, 1, T), PAD, np.int32)
    ended = np.zeros(B, bool)
    for position in range(T):
        probabilities, _ = average_by_hand(members, batch, tokens)
        now = probabilities[:, 0, position]
        now[:, [PAD, START]] = 0
        tokens[:, 0, position] = np.where(ended, PAD, now.argmax(-1))
        ended |= tokens[:, 0, position] == END
    np.testing.assert_array_equal(found.tokens, tokens[:, 0])


def test_a_wide_beam_finds_the_sentence_of_the_highest_mean_probability(members):
    """Against every sentence that exists; no member alone would write all of the same ones."""
    batch = make_batch()
    rows = []
    for length in range(T):
        for words in itertools.product(range(UNK, V), repeat=length):
            rows.append([*words, END, *[PAD] * (T - length - 1)])
    tokens = np.broadcast_to(np.array(rows, np.int32), (B, len(rows), T))

    def find_best(some):
        probabilities, _ = average_by_hand(some, batch, tokens)
        log_probs = np.log(take(probabilities[:, :, :T], tokens)) * (tokens != PAD)
        return np.array(rows)[log_probs.sum(-1).argmax(1)]

    search = captioning.build_beam(join(members)[0], RULES, (V - UNK) ** T)
    found = jax.jit(search)(join(members)[1], batch)
    np.testing.assert_array_equal(found.tokens, find_best(members))
    assert any((find_best([member]) != found.tokens).any() for member in members)


def test_samples_are_drawn_from_the_mean(members):
    """The first words of many samples of a photo are as frequent as they are probable."""
    count = 4000
    one = make_batch(1)
    batch = {
        "features": jnp.broadcast_to(one["features"], (count, *one["features"].shape[1:])),
        "draw": jnp.arange(count, dtype=jnp.int32),
    }
    model, params = join(members)
    found = jax.jit(captioning.build_sampling(model, RULES, Sampling()))(params, batch)
    frequencies = np.bincount(np.asarray(found.tokens)[:, 0], minlength=V) / count

    def expect(some):
        mean, _ = average_by_hand(some, one, np.full((1, 1, T), PAD, np.int32))
        mean = mean[0, 0, 0]
        mean[[PAD, START]] = 0
        return mean / mean.sum()

    # Three standard deviations are at most 0.024.
    np.testing.assert_allclose(frequencies, expect(members), atol=0.03)
    for member in members:
        assert np.abs(frequencies - expect([member])).max() > 0.06


def test_each_learned_encoder_encodes_for_its_own_member():
    models = (tiny.captioner(), tiny.captioner(decoder__cell="gru"))
    batch = jax.tree.map(jnp.asarray, tiny.batch(2))
    members = []
    for seed, model in enumerate(models):
        members.append((model, tiny.draw(model, seed)))
    _, params = join(members)
    regions = Ensemble(models).apply({"params": params}, batch, method="regions")
    for (model, of_member), found in zip(members, regions, strict=True):
        expected = model.apply({"params": of_member}, batch, method="regions")
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(regions[0] - regions[1]).max() > 1e-3


def test_a_shared_encoder_encodes_once_and_is_there_once():
    models = (tiny.captioner(), tiny.captioner())
    batch = jax.tree.map(jnp.asarray, tiny.batch(2))
    first = tiny.draw(models[0])
    second = tiny.draw(models[1], 1)
    params = {"members_0": first, "members_1": {"decoder": second["decoder"]}}
    model = Ensemble(models, shares_encoder=True)
    program = jax.make_jaxpr(SEARCHES["greedy"](model))(params, batch)
    alone = jax.make_jaxpr(SEARCHES["greedy"](models[0]))(first, batch)
    convolution = "conv_general_dilated["
    assert str(program).count(convolution) == str(alone).count(convolution) > 0
