"""Search: against every sentence that exists, against plain Python, and against the decoder's own
teacher forcing.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.decoding import Rules, beam_search, captioning, greedy, map_groups, sample
from jaxcap.decoding.beam import _most_probable
from jaxcap.decoding.sampling import truncate
from jaxcap.errors import UserError
from jaxcap.models.decoder import build_decoder
from jaxcap.text import END, PAD, START, UNK
from tests import tiny

B = 3
V = 7
T = 5  # words 4, 5, 6 and <unk>
RULES = {
    "plain": Rules(max_length=T + 1),
    "normalised": Rules(max_length=T + 1, length_normalization=0.8),
    "minimum": Rules(max_length=T + 1, min_length=3),
    "unk": Rules(max_length=T + 1, unk=True, length_normalization=0.5),
    "bigram": Rules(max_length=T + 1, no_repeat_ngram=2, length_normalization=2.0),
    "all": Rules(
        max_length=T + 1, min_length=2, no_repeat_ngram=1, length_normalization=1.0, unk=True
    ),
}


def table_step(carry, memory, tokens):
    """A Markov decoder: logits by image, position and previous word. Its attention is the history
    of words it read.
    """
    position, history = carry  # [B, K], [B, K, T]
    history = jnp.where(jnp.arange(T) == position[..., None], tokens[..., None], history)
    images = jnp.arange(memory.shape[0])[:, None]
    return (
        (position + 1, history),
        memory[images, position % T, tokens],
        history.astype(jnp.float32),
    )


def table_start(seed, size=B):
    """Random tables of `size` images, peaked enough that beams disagree with greedy search."""
    tables = np.random.RandomState(seed).normal(scale=2.0, size=(size, T, V, V)).astype(np.float32)
    return (jnp.zeros((size, 1), jnp.int32), jnp.zeros((size, 1, T), jnp.int32)), jnp.asarray(
        tables
    )


def cell_step(carry, memory, tokens):
    """A recurrent decoder, whose state depends on all words read so far."""
    weights = jnp.asarray(np.random.RandomState(0).normal(size=(3, 16, 16)).astype(np.float32))
    hidden = jnp.tanh(carry["h"] @ weights[0] + memory[:, None] + weights[1][tokens])
    logits = 2.0 * hidden @ weights[2][:, :V]
    return {"h": hidden}, logits, jax.nn.softmax(hidden[..., :4])


def cell_start(seed, size=B):
    memory = np.random.RandomState(seed + 100).normal(size=(size, 16)).astype(np.float32)
    return {"h": jnp.zeros((size, 1, 16))}, jnp.asarray(memory)


DECODERS = {"table": (table_step, table_start), "cell": (cell_step, cell_start)}


def log_softmax(logits):
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def rescore(step, carry, memory, tokens):
    """Teacher forcing through `step`: the log-probabilities [B, N, T, V] and attention of sentences
    [B, N, T].
    """
    carry = jax.tree.map(lambda x: jnp.repeat(x, tokens.shape[1], axis=1), carry)
    previous = np.concatenate([np.full_like(tokens[..., :1], START), tokens[..., :-1]], axis=-1)
    log_probs = []
    attention = []
    for t in range(tokens.shape[-1]):
        carry, logits, weights = jax.jit(step)(carry, memory, previous[..., t])
        log_probs.append(log_softmax(logits))
        attention.append(weights)
    return np.stack(log_probs, 2), np.stack(attention, 2)


def is_legal(words, ended, rules):
    """The rules of a sentence, word by word as they are written down; `words` without <end>."""
    n = rules.no_repeat_ngram
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)] if n else []
    return (
        (rules.unk or UNK not in words)
        and len(runs) == len(set(runs))
        and (not ended or len(words) >= rules.min_length)
    )


@functools.cache
def every_sentence(rules):
    """All legal sentences as padded rows [N, T], and which of them have ended."""
    rows = []
    ended = []
    for length in range(T + 1):
        for words in itertools.product(range(UNK, V), repeat=length):
            if is_legal(words, length < T, rules):
                rows.append([*words, *([END] if length < T else []), *[PAD] * (T - length - 1)])
                ended.append(length < T)
    return np.array(rows, np.int32), np.array(ended)


def normaliser(length, rules):
    return ((5 + length) / 6) ** rules.length_normalization


def best_of_all(step, carry, memory, rules):
    """The best-scoring ended sentence of each image, by scoring every sentence there is."""
    rows, ended = every_sentence(rules)
    tokens = np.broadcast_to(rows, (B, *rows.shape))
    log_probs, _ = rescore(step, carry, memory, tokens)
    chosen = np.take_along_axis(log_probs, tokens[..., None], -1)[..., 0] * (tokens != PAD)
    scores = chosen.sum(-1) / normaliser((rows != PAD).sum(-1), rules)
    scores = np.where(ended, scores, -np.inf)
    return rows[scores.argmax(1)], scores.max(1)


def plain_beam(table, beam, rules):
    """Beam search over one image in plain Python lists: no bound, no arrays, every step walked.

    Args:
      table: the Markov decoder's log-probabilities by position and previous word, [T, V, V].
      beam: K.
      rules: as in the search.

    Returns:
      The tokens without padding, and the score.
    """
    live = [(0.0, ())]
    finished = []
    for _ in range(rules.max_length - 1):
        continuations = []
        for log_prob, words in live:
            legal = [w for w in range(UNK, V) if is_legal((*words, w), False, rules)]
            if len(words) >= rules.min_length or not legal:
                legal.append(END)
            log_probs = table[len(words), words[-1] if words else START]
            continuations += [(log_prob + log_probs[w], (*words, w)) for w in legal]
        continuations.sort(key=lambda x: -x[0])
        finished += [x for x in continuations[:beam] if x[1][-1] == END]
        live = [x for x in continuations if x[1][-1] != END][:beam]
        if len(finished) >= beam or not live:
            break
    scored = [(p / normaliser(len(words), rules), words) for p, words in finished or live[:1]]
    return max(scored, key=lambda x: x[0])


@functools.partial(jax.jit, static_argnames=("step", "beam", "rules", "slots"))
def search(step, carry, memory, beam, rules, slots=None):
    return beam_search(step, carry, memory, beam, rules, slots=slots)


@functools.partial(jax.jit, static_argnames=("step", "rules"))
def search_greedily(step, carry, memory, rules):
    return greedy(step, carry, memory, rules)


@functools.partial(jax.jit, static_argnames=("step", "rules", "temperature", "top_k", "top_p"))
def search_by_lot(step, carry, memory, keys, rules, **options):
    return sample(step, carry, memory, keys, rules, **options)


def strip(tokens):
    return tuple(int(token) for token in tokens if token != PAD)


def assert_same(found, expected, tolerance=0.0):
    for a, b in zip(found, expected, strict=True):
        # Log-probabilities are sums over words, as exact as they are large.
        np.testing.assert_allclose(a, b, rtol=tolerance / 10, atol=tolerance)


@pytest.mark.parametrize(
    ("decoder", "name"), [*(("table", name) for name in RULES), ("cell", "plain"), ("cell", "all")]
)
def test_a_beam_that_holds_everything_finds_the_best_of_all_sentences(name, decoder):
    step, start = DECODERS[decoder]
    for seed in range(4):
        carry, memory = start(seed)
        found = search(step, carry, memory, (V - 3) ** T, RULES[name])
        tokens, scores = best_of_all(step, carry, memory, RULES[name])
        np.testing.assert_array_equal(found.tokens, tokens)
        np.testing.assert_allclose(found.score, scores, rtol=1e-5)


@pytest.mark.parametrize(("beam", "name"), [*((3, name) for name in RULES), (2, "normalised")])
def test_beam_search_equals_plain_python_that_never_stops_early(name, beam):
    rules = RULES[name]
    for seed in range(8):
        carry, memory = table_start(seed)
        found = search(table_step, carry, memory, beam, rules)
        log_probs = log_softmax(memory)
        for image in range(B):
            score, words = plain_beam(log_probs[image], beam, rules)
            assert strip(found.tokens[image]) == words
            np.testing.assert_allclose(found.score[image], score, rtol=1e-5)


@pytest.mark.parametrize("name", RULES)
def test_a_beam_of_one_is_greedy_search(name):
    carry, memory = cell_start(0, size=30)
    one = search(cell_step, carry, memory, 1, RULES[name])
    assert_same(one, search_greedily(cell_step, carry, memory, RULES[name]), 1e-5)


def test_greedy_takes_the_most_probable_legal_word_each_time():
    carry, memory = table_start(3)
    found = search_greedily(table_step, carry, memory, RULES["plain"])
    for image in range(B):
        word = START
        words = []
        while word != END and len(words) < T:
            row = np.array(memory[image, len(words), word])
            row[[PAD, START, UNK]] = -np.inf
            word = int(row.argmax())
            words.append(word)
        assert list(strip(found.tokens[image])) == words


METHODS = {
    "greedy": search_greedily,
    "sample": functools.partial(
        search_by_lot, keys=jax.random.split(jax.random.key(0), 16), temperature=2.0
    ),
    "beam": functools.partial(search, beam=4, slots=5),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_the_answer_is_what_teacher_forcing_says_of_its_words(decoder, method):
    """Probabilities and attention belong to the words, through every reordering of the beam."""
    step, start = DECODERS[decoder]
    carry, memory = start(seed=5, size=16)
    rules = RULES["unk"]
    found = METHODS[method](step, carry, memory, rules=rules)
    tokens = np.asarray(found.tokens)
    real = tokens != PAD
    log_probs, attention = rescore(step, carry, memory, tokens[:, None])
    expected = np.take_along_axis(log_probs[:, 0], tokens[..., None], -1)[..., 0] * real
    np.testing.assert_allclose(found.word_log_probs, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.log_prob, expected.sum(-1), rtol=1e-5)
    np.testing.assert_allclose(
        found.attention, attention[:, 0] * real[..., None], rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(found.length, real.sum(-1))
    np.testing.assert_allclose(
        found.score, expected.sum(-1) / normaliser(real.sum(-1), rules), rtol=1e-5
    )
    assert (
        len({strip(row) for row in tokens}) > 4
    )  # the images' sentences differ, so that a mix-up would show


def test_the_decoder_of_jaxcap_agrees_with_its_own_teacher_forcing():
    config = tiny.sections(
        decoder__init_from_mean=True, decoder__context_gate=True, head__deep_output=True
    )
    decoder = build_decoder(config, 11)
    features = jax.random.normal(jax.random.key(1), (6, 9, 7))
    starts = jnp.full((6, 1, 1), START, jnp.int32)

    @jax.jit
    def caption_and_check(features):
        params = decoder.init(jax.random.key(0), features, starts)
        params = jax.tree.map(lambda x: 5 * x, params)  # far from uniform
        memory, carry = decoder.apply(params, features, 1, method="start")
        step = functools.partial(decoder.apply, params, method="step")
        found = beam_search(step, carry, memory, 3, Rules(max_length=9), slots=4)
        read = jnp.concatenate([starts, found.tokens[:, None, :-1]], axis=-1)
        return found, decoder.apply(params, features, read)

    found, (logits, attention) = caption_and_check(features)
    real = found.tokens != PAD
    expected = (
        np.take_along_axis(log_softmax(logits[:, 0]), np.asarray(found.tokens)[..., None], -1)[
            ..., 0
        ]
        * real
    )
    np.testing.assert_allclose(found.word_log_probs, expected, rtol=0, atol=2e-5)
    np.testing.assert_allclose(
        found.attention, attention[:, 0] * real[..., None], rtol=0, atol=1e-5
    )
    assert len({strip(row) for row in found.tokens}) > 2


def test_batch_size_padding_and_slots_change_nothing():
    rules = RULES["normalised"]
    carry, memory = cell_start(seed=7, size=11)
    together = search(cell_step, carry, memory, 3, rules)
    alone = [
        search(cell_step, *jax.tree.map(lambda x, i=i: x[i : i + 1], (carry, memory)), 3, rules)
        for i in range(11)
    ]
    assert_same(together, jax.tree.map(lambda *x: np.concatenate(x), *alone), 1e-5)
    padded = jax.tree.map(lambda x: np.concatenate([x, x[:1].repeat(5, axis=0)]), (carry, memory))
    assert_same(
        together, jax.tree.map(lambda x: x[:11], search(cell_step, *padded, 3, rules)), 1e-5
    )
    for slots in (1, 4, 10):
        assert_same(together, search(cell_step, carry, memory, 3, rules, slots), 1e-5)


@pytest.mark.parametrize("size", [None, 1, 4, 5, 10, 11])
def test_groups_of_images_get_what_all_together_get(size):
    """Also where the last group overlaps the one before it, and with a leaf that is absent."""
    groups = []

    def function(batch, keys):
        groups.append(batch["x"].shape[0])
        return batch["x"] * 2 + keys, {"number": batch["number"] ** 2, "absent": None}

    number = jnp.arange(10)
    batch = {"x": jax.random.normal(jax.random.key(0), (10, 3)), "number": number, "absent": None}
    arguments = batch, number[:, None] * 0.5
    found = jax.jit(lambda *x: map_groups(function, x, size))(*arguments)
    assert set(groups) == {min(size or 10, 10)}
    jax.tree.map(np.testing.assert_array_equal, found, function(*arguments))
    assert found[1]["number"].dtype == number.dtype


def test_a_captioner_writes_the_same_in_slots_from_photos_on():
    """Slots also bound how many photos are encoded and prepared at a time."""
    model = tiny.captioner(decoder__init_from_mean=True)
    colours = jax.random.randint(jax.random.key(0), (8, 1, 1, 3), 0, 256).astype(jnp.uint8)
    batch = {"images": jnp.broadcast_to(colours, (8, tiny.SIZE, tiny.SIZE, 3))}
    params = tiny.draw(model, 1)
    decoder = params["decoder"]
    for layer in (
        decoder["cell"]["init_h"],
        decoder["cell"]["init_c"],
        decoder["head"]["output"],
    ):
        layer["kernel"] *= 20
    together, found = (
        jax.jit(captioning.build_beam(model, RULES["normalised"], 3, n))(params, batch)
        for n in (None, 3)
    )
    assert_same(found, together, 1e-5)
    assert len({strip(row) for row in found.tokens}) > 2


@pytest.mark.parametrize(
    ("rows", "words", "beam"), [(1, 9, 4), (5, 40, 5), (3, 4, 8), (2, 3, 8), (1, 1, 1)]
)
@pytest.mark.parametrize("ties", [False, True])
def test_the_most_probable_continuations_are_the_largest_of_all(rows, words, beam, ties):
    """Also where few words are allowed, many are equally probable, or fewer exist than the beam is
    wide.
    """
    draws = np.random.RandomState(rows).normal(size=(50, rows, words)).astype(np.float32)
    log_probs = np.where(draws < -0.5, -np.inf, np.round(draws) if ties else draws).astype(
        np.float32
    )
    best, parents, chosen = map(
        np.asarray, jax.jit(_most_probable, static_argnums=1)(jnp.asarray(log_probs), beam)
    )
    expected = -np.sort(-log_probs.reshape(50, -1))[:, :beam]
    np.testing.assert_array_equal(best[:, : expected.shape[1]], expected)
    assert (best[:, expected.shape[1] :] == -np.inf).all()
    for scores, *places, table in zip(best, parents, chosen, log_probs, strict=True):
        found = [
            place
            for place, score in zip(zip(*places, strict=True), scores, strict=True)
            if score > -np.inf
        ]
        assert len(set(found)) == len(found)
        assert [table[place] for place in found] == [score for score in scores if score > -np.inf]


def test_every_device_searches_its_share():
    devices = jax.local_device_count()
    carry, memory = table_start(2, size=4 * devices)
    split = jax.tree.map(lambda x: x.reshape(devices, 4, *x.shape[1:]), (carry, memory))
    found = jax.pmap(lambda carry, memory: search(table_step, carry, memory, 2, RULES["plain"], 3))(
        *split
    )
    joined = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)
    assert_same(joined, search(table_step, carry, memory, 2, RULES["plain"]))


def test_a_sentence_that_never_ends_is_cut_at_the_maximum_length():
    carry, memory = table_start(0)
    memory = memory.at[..., END].set(-50.0)
    greedily = search_greedily(table_step, carry, memory, RULES["plain"])
    for found in (
        greedily,
        *(search(table_step, carry, memory, 3, RULES["plain"], slots) for slots in (None, 2)),
    ):
        tokens = np.asarray(found.tokens)
        assert (tokens > UNK).all()
        np.testing.assert_array_equal(found.length, T)
        log_probs, _ = rescore(table_step, carry, memory, tokens[:, None])
        expected = np.take_along_axis(log_probs[:, 0], tokens[..., None], -1).sum((1, 2))
        np.testing.assert_allclose(found.log_prob, expected, rtol=1e-5)


def test_a_minimum_length_gives_way_where_no_word_is_left():
    carry, memory = table_start(0)
    rules = Rules(max_length=T + 1, min_length=4, no_repeat_ngram=1)
    for found in (
        search_greedily(table_step, carry, memory, rules),
        search(table_step, carry, memory, 4, rules),
    ):
        np.testing.assert_array_equal(found.length, 4)  # three words, each once, and <end>
        assert (found.tokens[:, 3] == END).all()
        np.testing.assert_array_equal(np.sort(found.tokens[:, :3], axis=1), [[4, 5, 6]] * B)


def test_no_step_is_taken_for_images_that_are_done():
    """Counts the decoder's calls: the loop ends with the last image, and slots hand over without
    idling.
    """
    calls = []

    def counted(carry, memory, tokens):
        jax.debug.callback(lambda: calls.append(tokens.shape[0]))
        return table_step(carry, memory, tokens)

    def calls_of(search, *options):
        calls.clear()
        jax.block_until_ready(search(counted, carry, memory, *options))
        jax.effects_barrier()
        return calls

    carry, memory = table_start(0, size=8)
    memory = (
        memory.at[:, 0, START, END].set(-50.0).at[:, 1:, :, END].set(50.0)
    )  # one word, then <end>
    assert calls_of(search_greedily, RULES["plain"]) == [8] * 2
    assert calls_of(search, 2, RULES["plain"]) == [8] * 2
    memory = memory.at[0, :, :, END].set(-50.0)  # but the first image goes on until it is cut
    assert calls_of(search, 2, RULES["plain"]) == [8] * T
    # One slot is busy with the first image for four steps, while four images pass the other; three
    # images remain.
    assert calls_of(search, 2, RULES["plain"], 2) == [8] + [2] * 6


def draws(count, **options):
    """Samples `count` sentences of one image, and its table of probabilities."""
    carry, memory = table_start(4, size=1)
    carry, tables = jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), (carry, memory))
    keys = jax.random.split(jax.random.key(7), count)
    found = search_by_lot(table_step, carry, tables, keys, RULES["unk"], **options)
    return np.asarray(found.tokens), np.asarray(memory[0], np.float64)


def chi_square(counts, probs):
    expected = counts.sum() * probs
    assert (counts[probs == 0] == 0).all()
    return np.sum((counts - expected)[probs > 0] ** 2 / expected[probs > 0])


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.5}, {"temperature": 3.0}, {"top_k": 2}, {"top_p": 0.8}]
)
def test_sampled_words_come_as_often_as_their_probability_says(options):
    """Chi-square with at most four degrees of freedom: above 18.5 once in a thousand."""
    tokens, table = draws(4000, **options)
    temperature = options.get("temperature", 1.0)
    for position, word in ((0, START), (1, 4), (1, 5), (1, 6)):
        rows = tokens if position == 0 else tokens[tokens[:, 0] == word]
        if len(rows) < 100:
            continue
        logits = table[position, word] / temperature
        logits[[PAD, START]] = -np.inf
        probs = np.exp(logits - logits.max())
        probs /= probs.sum()
        kept = nucleus(probs, options.get("top_k", V), options.get("top_p", 1.0))
        probs = np.where(kept, probs, 0) / probs[kept].sum()
        assert chi_square(np.bincount(rows[:, position], minlength=V), probs) < 18.5


def nucleus(probs, top_k, top_p):
    """Which words top_k and then top_p keep, by trying sets of growing size."""
    order = np.argsort(-probs)[: min(top_k, (probs > 0).sum())]
    mass = probs[order].sum()
    size = next(
        n for n in range(1, len(order) + 1) if probs[order[:n]].sum() >= top_p * mass - 1e-9
    )
    return np.isin(np.arange(len(probs)), order[:size])


@pytest.mark.parametrize(
    ("top_k", "top_p"), [(0, 1.0), (1, 1.0), (50, 1.0), (0, 0.05), (0, 0.9), (4, 0.7)]
)
def test_the_two_cuts_keep_the_fewest_words_that_reach_them(top_k, top_p):
    logits = np.random.RandomState(0).normal(scale=2, size=(20, 12)).astype(np.float32)
    logits[:, 3] = -np.inf
    kept = np.asarray(truncate(jnp.asarray(logits), top_k, top_p))
    for row, found in zip(logits, kept, strict=True):
        probs = np.exp(row.astype(np.float64))
        expected = nucleus(probs / probs.sum(), top_k or 12, top_p)
        np.testing.assert_array_equal(found, np.where(expected, row, -np.inf))


def test_a_sampled_sentence_belongs_to_its_key():
    carry, memory = cell_start(0, size=6)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.arange(6))
    together = search_by_lot(cell_step, carry, memory, keys, RULES["plain"])
    for some in (np.arange(6), np.arange(6)[::-1], np.array([2, 3])):
        found = search_by_lot(
            cell_step,
            *jax.tree.map(lambda x, some=some: x[some], (carry, memory, keys)),
            RULES["plain"],
        )
        assert_same(found, jax.tree.map(lambda x, some=some: x[some], together), 1e-5)
    other = search_by_lot(
        cell_step, carry, memory, jax.random.split(jax.random.key(4), 6), RULES["plain"]
    )
    assert (other.tokens != together.tokens).any()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_length": 2}, "max_length"),
        ({"min_length": 19}, "min_length"),
        ({"min_length": -1}, "min_length"),
        ({"length_normalization": -0.1}, "length_normalization"),
        ({"no_repeat_ngram": -2}, "no_repeat_ngram"),
    ],
)
def test_rules_that_no_sentence_can_meet_are_refused(options, named):
    with pytest.raises(UserError, match=named):
        Rules(**options)


def test_searches_that_make_no_sense_are_refused():
    carry, memory = table_start(0)
    keys = jax.random.split(jax.random.key(0), B)
    for options in ({"temperature": 0.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(UserError):
            sample(table_step, carry, memory, keys, Rules(), **options)
    for beam, slots in ((0, None), (2, 0)):
        with pytest.raises(UserError):
            beam_search(table_step, carry, memory, beam, Rules(), slots=slots)


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_without_an_end_mark_every_sentence_begins_with_padding_and_runs_on(method):
    rules = Rules(max_length=T + 1, end_mark=False)
    carry, tables = table_start(0)
    tables = tables.at[..., END].add(100.0)  # would end every sentence at once
    match method:
        case "greedy":
            found = search_greedily(table_step, carry, tables, rules)
        case "beam":
            found = search(table_step, carry, tables, 3, rules)
        case "sample":
            keys = jax.vmap(jax.random.key)(jnp.arange(B))
            found = search_by_lot(table_step, carry, tables, keys, rules)
    assert not np.isin(found.tokens, (PAD, START, END, UNK)).any()
    assert (found.length == T).all()
    # The attention of `table_step` is the words it has read: the first is <pad> and not <start>.
    assert (found.attention[:, 0, 0] == PAD).all()
    if method == "beam":
        scores = []
        for image in range(B):
            log_probs = np.asarray(jax.nn.log_softmax(tables[image]))  # [T, V, V]
            of_sentences = []
            for words in itertools.product((4, 5, 6), repeat=T):
                pairs = zip((PAD, *words[:-1]), words, strict=True)
                of_sentences.append(sum(log_probs[t][pair] for t, pair in enumerate(pairs)))
            scores.append(max(of_sentences))
        wide = search(table_step, carry, tables, 3**T, rules)
        np.testing.assert_allclose(wide.log_prob, scores, rtol=1e-5)
