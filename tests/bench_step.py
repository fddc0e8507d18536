"""Times the training step beside PyTorch and the products that nobody can avoid; run it by hand.

    python tests/bench_step.py --rounds 7

The shape is that of the published Flickr30k systems: 64 captions of at most 20 positions, of which
about two thirds hold a word, V 20,273, E 300, H = A = 512, 49 regions of 2,048 channels, given. All
step the same LSTM with additive attention, by Adam with clipping, from the same batch. They run in
turn, several rounds in one process; printed are medians and their ratios to jaxcap's, as Markdown
and, with --json FILE, as JSON.

    originals      PyTorch as the systems' authors wrote it: a layer a gate, the regions projected
                   again for every word, logits for every position
    hoisted        PyTorch with the projections before the loop and one product for all gates
    words          the same, projecting to the vocabulary where there is a word alone
    all positions  jaxcap's step as it predicts at every position
    products       the matrix products of the step alone, forward and backward, in PyTorch
"""

import argparse
import functools
import json
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from jaxcap import parallel
from jaxcap.experiment.defaults import get_config
from jaxcap.models.decoder import build_decoder
from jaxcap.text import END, SPECIALS, START
from jaxcap.training.capacity import choose_words
from jaxcap.training.objectives import TeacherForcing
from jaxcap.training.optim import build_optimizer, build_schedule
from jaxcap.training.partition import assign_rates, partition
from jaxcap.training.train_step import create_state, train_step

B, T, V, E, H, A, L, D = 64, 19, 20_273, 300, 512, 512, 49, 2048


def main() -> None:
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")  # on a GPU, TF32 as in JAX; on a CPU, float32
    features, tokens = draw_batch()
    contestants = {
        "jaxcap": jaxcap_step(features, tokens, options.dtype, choose_words),
        "all positions": jaxcap_step(features, tokens, options.dtype, None),
        "originals": torch_step(Originals(), features, tokens, words_alone=False),
        "hoisted": torch_step(Hoisted(), features, tokens, words_alone=False),
        "words": torch_step(Hoisted(), features, tokens, words_alone=True),
        "products": products_step(int((tokens[:, 1:] > 0).sum())),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(options.rounds + 1):
        for name, step in contestants.items():
            start = time.perf_counter()
            step()
            if number:  # the first round compiles
                seconds[name].append(time.perf_counter() - start)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, torch {torch.__version__}")
    print("| step | seconds | jaxcap takes |\n|---|---|---|")
    rows = {}
    for name, of_one in seconds.items():
        ratios = sorted(a / b for a, b in zip(seconds["jaxcap"], of_one, strict=True))
        rows[name] = {"seconds": of_one, "ratio": statistics.median(ratios)}
        print(
            f"| {name} | {statistics.median(of_one):.3f} | {statistics.median(ratios):.2f} of it "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: its own choice")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def draw_batch() -> tuple[np.ndarray, np.ndarray]:
    """Returns random features [B, L, D] and captions [B, T + 1] of the lengths of real ones."""
    rng = np.random.default_rng(0)
    features = np.maximum(rng.standard_normal((B, L, D)), 0).astype(np.float32)
    tokens = rng.integers(len(SPECIALS), V, (B, T + 1))
    tokens[:, 0] = START
    ends = np.clip(np.rint(rng.normal(12.7, 4, (B, 1))), 5, T).astype(int)
    place = np.arange(T + 1)
    tokens = np.where(place == ends, END, np.where(place > ends, 0, tokens))
    return features, tokens.astype(np.int32)


def jaxcap_step(features, tokens, dtype, choose):
    """Returns a call that makes one update, its state kept between calls."""
    config = get_config()
    config.decoder.hidden = H
    config.decoder.attention = A
    config.embedding.dim = E
    decoder = build_decoder(config, V, dtype=dtype, one_by_one=parallel.is_processor())
    model = Given(decoder)
    batch = {"features": features, "tokens": tokens[:, None]}
    params = jax.jit(decoder.init)(jax.random.key(0), features[:1], tokens[:1, None, :2])["params"]
    rates = assign_rates(params, [("*", 1)])
    optimizer = build_optimizer(config.train, build_schedule(config.train, 400), rates)
    step = functools.partial(
        train_step, model=model, optimizer=optimizer, objective=TeacherForcing(), seed=0
    )
    compiled = parallel.compile_train_step(step, choose)
    trainable, frozen = partition(params, rates)
    holder = [create_state(trainable, optimizer, ema=False)]

    def call():
        holder[0], metrics = compiled(holder[0], frozen, batch)
        jax.block_until_ready((holder[0], metrics))

    return call


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


class Originals(nn.Module):
    """As the systems' authors wrote it."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, E)
        self.features, self.hidden, self.score = nn.Linear(D, A), nn.Linear(H, A), nn.Linear(A, 1)
        self.gates = nn.ModuleList(nn.Linear(E + H + D, H) for _ in range(4))
        self.output = nn.Linear(H, V)

    def forward(self, features, tokens):
        h = c = features.new_zeros(len(features), H)
        states = []
        for word in self.embed(tokens).unbind(1):
            scores = self.score(torch.relu(self.features(features) + self.hidden(h)[:, None]))
            context = (torch.softmax(scores, 1) * features).sum(1)
            joined = torch.cat([word, h, context], 1)
            i, f, g, o = (gate(joined) for gate in self.gates)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states, 1)


class Hoisted(nn.Module):
    """With what needs no recurrence before the loop, and one product for all gates."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, E)
        self.features, self.hidden, self.score = nn.Linear(D, A), nn.Linear(H, A), nn.Linear(A, 1)
        self.word, self.state = nn.Linear(E, 4 * H), nn.Linear(H + D, 4 * H, bias=False)
        self.output = nn.Linear(H, V)

    def forward(self, features, tokens):
        h = c = features.new_zeros(len(features), H)
        projected = self.features(features)
        states = []
        for word in self.word(self.embed(tokens)).unbind(1):
            scores = self.score(torch.relu(projected + self.hidden(h)[:, None]))[..., 0]
            context = torch.bmm(torch.softmax(scores, 1)[:, None], features)[:, 0]
            i, f, g, o = (word + self.state(torch.cat([h, context], 1))).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        return torch.stack(states, 1)


def torch_step(model, features, tokens, *, words_alone):
    """Returns a call that makes one update."""
    device = "cuda" if jax.devices()[0].platform == "gpu" else "cpu"
    model = model.to(device)
    features = torch.from_numpy(features).to(device)
    tokens = torch.from_numpy(tokens.astype(np.int64)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-4, fused=True)

    def call():
        optimizer.zero_grad(set_to_none=True)
        states = model(features, tokens[:, :-1])
        targets = tokens[:, 1:]
        if words_alone:
            real = targets > 0
            states, targets = states[real], targets[real]
        logits = model.output(states).flatten(0, -2)
        functional.cross_entropy(logits, targets.flatten(), ignore_index=0).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return call


def products_step(words):
    """Returns a call that multiplies what a step must multiply, each product and its gradients."""
    device = "cuda" if jax.devices()[0].platform == "gpu" else "cpu"
    once = [(B * L, D, A), (B * T, E, 4 * H), (words, H, V)]
    each = [(B, H, A), (B, H + D, 4 * H)]
    shapes = [(shape, 1) for shape in once] + [(shape, T) for shape in each]
    matrices = []
    for (rows, inner, columns), times in shapes:
        x = torch.randn(times * rows, inner, device=device)
        w = torch.randn(inner, columns, device=device)
        y = torch.randn(times * rows, columns, device=device)
        matrices.append((x, w, y, rows))

    def call():
        for number, (x, w, y, rows) in enumerate(matrices):
            for first in range(0, len(x), rows):
                x[first : first + rows] @ w
                if number:  # the regions need no gradient
                    y[first : first + rows] @ w.T
            # The gradients of a recurrence's weights can be summed in one product.
            x.T @ y
        if device == "cuda":
            torch.cuda.synchronize()

    return call


if __name__ == "__main__":
    main()
