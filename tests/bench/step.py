"""Times the training step beside PyTorch and the products that nobody can avoid.

    python -m tests.bench step --rounds 7

The shape is that of the published Flickr30k systems: 64 captions of at most 20 positions, of which
about two thirds hold a word, V 20,273, E 300, H = A = 512, 49 regions of 2,048 channels, given. All
step the same LSTM with additive attention, by Adam with clipping, from the same batch. They run in
turn, several rounds in one process; shown are medians, and what jaxcap takes of each.

    originals      PyTorch as the systems' authors wrote it: a layer a gate, the regions projected
                   again for every word, logits for every position
    hoisted        PyTorch with the projections before the loop and one product for all gates
    words          the same, projecting to the vocabulary where there is a word alone
    shrinking      the same, and captions that have ended leave the loop
    compiled       "words" by torch.compile, with --compile
    all positions  jaxcap's step as it computes at the positions without a word too
    products       the matrix products of the step alone, forward and backward, in PyTorch, at each
                   position those of captions that have not ended
"""

import argparse
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from jaxcap import devices, parallel
from jaxcap.experiment.defaults import get_config
from jaxcap.models.decoder import build_decoder
from jaxcap.models.params import draw_variables
from jaxcap.text import END, SPECIALS, START
from jaxcap.training.capacity import choose_words
from jaxcap.training.objectives import TeacherForcing
from jaxcap.training.optim import build_optimizer, build_schedule
from jaxcap.training.partition import assign_rates, partition
from jaxcap.training.train_step import create_state, train_step
from tests.bench.report import Row, compare, time_in_turn

T, L = 19, 49


class Sizes(NamedTuple):
    """B, V, E, H (and A, which is the same) and D."""

    images: int = 64
    vocabulary: int = 20_273
    words: int = 300
    hidden: int = 512
    channels: int = 2048


SMALL = Sizes(4, 50, 8, 8, 16)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler, and minutes")


def run(options: argparse.Namespace) -> list[Row]:
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # on a GPU, TF32 as in JAX; on a CPU, float32
    sizes = SMALL if options.small else Sizes()
    features, tokens = draw_batch(sizes)
    contestants = {
        "jaxcap": jaxcap_step(sizes, features, tokens, options.dtype, choose_words),
        "all positions": jaxcap_step(sizes, features, tokens, options.dtype, None),
        "originals": torch_step(Originals(sizes), features, tokens),
        "hoisted": torch_step(Hoisted(sizes), features, tokens),
        "words": torch_step(Hoisted(sizes), features, tokens, words_alone=True),
        "shrinking": torch_step(Hoisted(sizes), features, tokens, shrinking=True),
        "products": products_step(sizes, count_live(tokens)),
    }
    if options.compile:
        model = Hoisted(sizes)
        model.compile()
        contestants["compiled"] = torch_step(model, features, tokens, words_alone=True)
    seconds = time_in_turn(contestants, options.rounds)
    return compare(seconds, "step", ["jaxcap"])


def draw_batch(sizes) -> tuple[np.ndarray, np.ndarray]:
    """Returns random features [B, L, D] and captions [B, T + 1] of the lengths of real ones."""
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((sizes.images, L, sizes.channels)), 0).astype(
        np.float32
    )
    return features, draw_captions(rng, sizes.images, sizes.vocabulary)


def draw_captions(rng: np.random.Generator, captions: int, vocabulary: int) -> np.ndarray:
    """Returns captions [N, T + 1] of the lengths of real ones."""
    tokens = rng.integers(len(SPECIALS), vocabulary, (captions, T + 1))
    tokens[:, 0] = START
    ends = np.clip(np.rint(rng.normal(12.7, 4, (captions, 1))), 5, T).astype(int)
    place = np.arange(T + 1)
    tokens = np.where(place == ends, END, np.where(place > ends, 0, tokens))
    return tokens.astype(np.int32)


def jaxcap_step(sizes, features, tokens, dtype, choose):
    """Returns a call that makes one update, of other features if any; its state is kept."""
    built = build_step(sizes, dtype)
    call = step_call(*built, {"features": features, "tokens": tokens[:, None]}, choose)
    return lambda features=features: call(features=features)


def step_call(step, frozen, state, batch, choose):
    """Returns a call that makes one update, of other arrays if any; its state is kept."""
    compiled = parallel.compile_train_step(step, choose)
    holder = [state]

    def call(**others):
        holder[0], metrics = compiled(holder[0], frozen, {**batch, **others})
        jax.block_until_ready((holder[0], metrics))

    return call


def build_step(sizes, dtype):
    """Returns the step of the decoder, its frozen parameters and the state to begin with."""
    config = get_config()
    config.decoder.hidden = sizes.hidden
    config.decoder.attention = sizes.hidden
    config.embedding.dim = sizes.words
    decoder = build_decoder(
        config,
        sizes.vocabulary,
        level_channels=(sizes.channels,),
        dtype=dtype,
        on_processor=devices.is_processor(),
    )
    return build_step_of(decoder, config, sizes.channels)


def build_step_of(decoder, config, channels):
    """Returns what `build_step` does, of a decoder that a config describes."""
    regions = jnp.zeros((1, L, channels))
    tokens = jnp.ones((1, 1, 2), jnp.int32)
    params = draw_variables(decoder, jax.random.key(0), regions, tokens)["params"]
    rates = assign_rates(params, [("*", 1)])
    optimizer = build_optimizer(config.train, build_schedule(config.train, 400), rates)
    objective = TeacherForcing(doubly_stochastic=config.loss.doubly_stochastic)
    step = functools.partial(
        train_step,
        model=Given(decoder),
        optimizer=optimizer,
        objective=objective,
        seed=0,
        ema_decay=config.train.ema_decay,
    )
    trainable, frozen = partition(params, rates)
    return step, frozen, create_state(trainable, optimizer, ema=config.train.ema_decay > 0)


class Given:
    """The decoder over regions that are given, called as a captioner is."""

    def __init__(self, decoder):
        self.decoder = decoder

    def apply(self, variables, batch, keys=None):
        read = batch["tokens"][..., :-1]
        positions = batch.get("positions")
        return self.decoder.apply(
            variables, batch["features"].astype(jnp.float32), read, keys, positions
        )


class Rival(nn.Module):
    """The layers of every PyTorch decoder here but those of the gates."""

    def __init__(self, sizes):
        super().__init__()
        hidden = sizes.hidden
        self.embed = nn.Embedding(sizes.vocabulary, sizes.words)
        self.features = nn.Linear(sizes.channels, hidden)
        self.hidden = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        self.output = nn.Linear(hidden, sizes.vocabulary)


class Originals(Rival):
    """As the systems' authors wrote it."""

    def __init__(self, sizes):
        super().__init__(sizes)
        joined = sizes.words + sizes.hidden + sizes.channels
        self.gates = nn.ModuleList(nn.Linear(joined, sizes.hidden) for _ in range(4))

    def forward(self, features, tokens, counts):
        """Returns the states [sum of counts, H], position by position."""
        del counts
        h = c = features.new_zeros(len(features), self.hidden.in_features)
        states = []
        for word in self.embed(tokens).unbind(1):
            scores = self.score(torch.relu(self.features(features) + self.hidden(h)[:, None]))
            context = (torch.softmax(scores, 1) * features).sum(1)
            joined = torch.cat([word, h, context], 1)
            i, f, g, o = (gate(joined) for gate in self.gates)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.cat(states)


class Hoisted(Rival):
    """With what needs no recurrence before the loop, and one product for all gates."""

    def __init__(self, sizes):
        super().__init__(sizes)
        gates = 4 * sizes.hidden
        self.word = nn.Linear(sizes.words, gates)
        self.state = nn.Linear(sizes.hidden + sizes.channels, gates, bias=False)

    def forward(self, features, tokens, counts):
        """Runs at each position for the first so many captions; returns as `Originals`."""
        h = c = features.new_zeros(len(features), self.hidden.in_features)
        projected = self.features(features)
        states = []
        for word, count in zip(self.word(self.embed(tokens)).unbind(1), counts, strict=True):
            h, c, features, projected = (x[:count] for x in (h, c, features, projected))
            scores = self.score(torch.relu(projected + self.hidden(h)[:, None]))[..., 0]
            context = torch.bmm(torch.softmax(scores, 1)[:, None], features)[:, 0]
            i, f, g, o = (word[:count] + self.state(torch.cat([h, context], 1))).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.cat(states)


def torch_step(model, features, tokens, *, words_alone=False, shrinking=False):
    """Returns a call that makes one update."""
    device = "cuda" if jax.devices()[0].platform == "gpu" else "cpu"
    counts = [len(tokens)] * T
    if shrinking:
        order = np.argsort(-(tokens[:, 1:] > 0).sum(1))
        features = features[order]
        tokens = tokens[order]
        counts = count_live(tokens)
    model = model.to(device)
    features = torch.from_numpy(features).to(device)
    tokens = torch.from_numpy(tokens.astype(np.int64)).to(device)
    all_targets = torch.cat([tokens[:count, 1 + place] for place, count in enumerate(counts)])
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-4, fused=True)

    def call(features=features):
        optimizer.zero_grad(set_to_none=True)
        states = model(features, tokens[:, :-1], counts)
        targets = all_targets
        if words_alone:
            real = targets > 0
            states = states[real]
            targets = targets[real]
        functional.cross_entropy(model.output(states), targets, ignore_index=0).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return call


def count_live(tokens):
    """Counts the captions that have a word at each position of tokens [..., T + 1]."""
    return (tokens[..., 1:].reshape(-1, T) > 0).sum(0).tolist()


def products_step(sizes, live):
    """Returns a call that multiplies what a step must multiply, each product and its gradients."""
    hidden = sizes.hidden
    channels = sizes.channels
    words = sum(live)
    regions = [(sizes.images * L, channels, hidden)]
    once = [(words, sizes.words, 4 * hidden), (words, hidden, sizes.vocabulary)]
    each = [(hidden, hidden), (hidden + channels, 4 * hidden)]
    return products_call(regions, once, each, live)


def products_call(given, once, each, live):
    """Returns a call that makes products [N, X] x [X, Y] with their gradients, in PyTorch.

    Args:
      given: (N, X, Y) of those whose rows need no gradient.
      once: of those of all positions.
      each: (X, Y) of those of a position; the gradient of their [X, Y] is that of all positions at
        once.
      live: how many rows those of each position have.
    """
    device = "cuda" if jax.devices()[0].platform == "gpu" else "cpu"
    shapes = [((rows,), inner, columns, False) for rows, inner, columns in given]
    shapes += [((rows,), inner, columns, True) for rows, inner, columns in once]
    shapes += [(live, inner, columns, True) for inner, columns in each]
    matrices = []
    for counts, inner, columns, has_gradient in shapes:
        x = torch.randn(sum(counts), inner, device=device)
        w = torch.randn(inner, columns, device=device)
        y = torch.randn(sum(counts), columns, device=device)
        matrices.append((x, w, y, counts, has_gradient))

    def call():
        for x, w, y, counts, has_gradient in matrices:
            for rows, grads in zip(x.split(counts), y.split(counts), strict=True):
                rows @ w
                if has_gradient:
                    grads @ w.T
            x.T @ y
        if device == "cuda":
            torch.cuda.synchronize()

    return call
