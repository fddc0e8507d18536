"""Times beam search against a batched beam search in eager PyTorch over the same decoder.

    python -m tests.bench search --images 1000 --beam 5 --vocabulary 2600 8000

The decoder is the plain one of 2,048 channels a region or, with `--decoder recipe`, that of
experiments/flickr8k.py. Both take the same weights and features and, in float32, must find the same
sentences; the products of both are also taken in bfloat16 (jaxcap's `decoder.dtype`, PyTorch's
autocast), which finds others where two words are nearly even. They run in turn, several rounds in
one process; shown are medians, and what jaxcap takes of each. Weights that
were never trained do not end a sentence, so the logit of <end> rises from a length drawn for each
image (mean 11 tokens, as real captions have); `--full` leaves that out, and every sentence runs to
the maximum length.

PyTorch has two forms: `shared` keeps one copy of an image's features for all of its beams, `copied`
repeats them for every beam, as generation libraries do. Both project the features once, keep back
pointers, drop no precision, stop when the last image of the batch is done, and never loop over
images.
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional

from jaxcap.decoding import Rules, beam_search, map_groups
from jaxcap.experiment.defaults import get_config
from jaxcap.models.decoder import build_decoder
from jaxcap.text import END, PAD, START, UNK
from tests.bench.report import Row, compare, time_in_turn

L = 49
H = 512
# Sections of a config, over its defaults, and the encoder's channels.
DECODERS = {
    "plain": {"level_channels": (2048,)},
    "recipe": {
        "level_channels": (1024, 2048),
        "regions": {"norm": True, "embedding": 512, "layers": 2},
        "decoder": {"attention": 256, "init_from_mean": True, "context_gate": True},
        "head": {"deep_output": True},
    },
}
RULES = Rules()
T = RULES.positions


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[2600, 8000])
    parser.add_argument("--decoder", choices=DECODERS, default="plain")
    parser.add_argument("--batch", type=int, default=50, help="images a PyTorch call")
    parser.add_argument("--call", type=int, default=1000, help="images a jaxcap call")
    parser.add_argument("--slots", type=int, default=64, help="of them side by side; 0: all")
    parser.add_argument(
        "--full", action="store_true", help="no sentence ends before the maximum length"
    )
    parser.add_argument(
        "--cpu-time", action="store_true", help="count processor seconds, for a busy machine"
    )


def run(options: argparse.Namespace) -> list[Row]:
    torch.set_float32_matmul_precision("high")  # on a GPU, TF32 as in JAX; on a CPU, float32
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.small:
        options.images = 4
        options.vocabulary = [30]
    rows = []
    for vocabulary in options.vocabulary:
        rows += run_contestants(options, vocabulary)
    return rows


def run_contestants(flags: argparse.Namespace, vocabulary: int) -> list[Row]:
    """Returns a row for each contestant with a vocabulary of this size."""
    random = np.random.RandomState(0)
    channels = sum(DECODERS[flags.decoder]["level_channels"])
    features = np.maximum(random.normal(size=(flags.images, L, channels)), 0).astype(np.float32)
    lengths = (
        np.full(flags.images, 1e6)
        if flags.full
        else np.clip(random.normal(10, 3, flags.images), 4, 30)
    )
    lengths = lengths.astype(np.float32)
    decoder = build(flags.decoder, vocabulary, "float32")
    rounded = build(flags.decoder, vocabulary, "bfloat16")
    params = decoder.init(jax.random.key(0), features[:1], jnp.ones((1, 1, 1), jnp.int32))
    params["params"]["head"]["output"]["kernel"] *= 8  # as sure of its words as a trained decoder
    clock = time.process_time if flags.cpu_time else time.perf_counter

    cuda = jax.devices()[0].platform == "gpu"
    here = [jnp.asarray(x) for x in (features, lengths)]
    there = [torch.from_numpy(x).to("cuda" if cuda else "cpu") for x in (features, lengths)]
    weights = torch_weights(params["params"], there[0].device)

    def ours(decoder):
        mine = jax.jit(
            functools.partial(jaxcap_search, decoder, beam=flags.beam, slots=flags.slots or None)
        )
        return lambda: in_calls(lambda *x: jax.device_get(mine(params, *x)), here, flags.call)

    def theirs(copied, half):
        def run():
            with torch.autocast(there[0].device.type, torch.bfloat16, enabled=half):
                return in_calls(
                    functools.partial(torch_search, weights, flags.beam, copied), there, flags.batch
                )

        return run

    contestants = {
        "jaxcap": ours(decoder),
        "jaxcap bfloat16": ours(rounded),
        "shared": theirs(False, False),
        "shared bfloat16": theirs(False, True),
        "copied": theirs(True, False),
    }
    found = {name: search() for name, search in contestants.items()}
    tokens = found["jaxcap"][0]
    length = float(np.mean((tokens != PAD).sum(1)))
    seconds = time_in_turn(contestants, flags.rounds, clock)
    rows = []
    for row in compare(seconds, "search", ["jaxcap", "jaxcap bfloat16"]):
        same = np.mean((found[row["search"]][0] == tokens).all(axis=1))
        start = {"decoder": flags.decoder, "V": vocabulary, "images": flags.images}
        end = {"sentences as jaxcap's": f"{same:.1%}", "tokens a sentence": length}
        rows.append({**start, **row, **end})
    return rows


def in_calls(search, arrays, size):
    """Searches all images, `size` of them a call, and joins the answers."""
    parts = [search(*(x[i : i + size] for x in arrays)) for i in range(0, len(arrays[0]), size)]
    return [np.concatenate(x) for x in zip(*parts, strict=True)]


def build(name, vocabulary, dtype):
    """Builds one of the `DECODERS`."""
    config = get_config()
    for section in ("regions", "decoder", "head"):
        config[section].update(DECODERS[name].get(section, {}))
    config.decoder.hidden = H
    channels = DECODERS[name]["level_channels"]
    return build_decoder(config, vocabulary, level_channels=channels, dtype=dtype)


def jaxcap_search(decoder, params, features, lengths, *, beam, slots):
    """Beam search over the decoder, whose <end> rises from `lengths` [B] on."""

    def step(carry, memory, tokens):
        carry, position = carry
        memory, lengths = memory
        carry, logits, attention = decoder.apply(
            params, carry, memory, tokens, table, method="step"
        )
        logits = logits.at[..., END].add(3.0 * (position - lengths[:, None]))
        return (carry, position + 1), logits, attention

    start = functools.partial(decoder.apply, params, captions=1, method="start")
    memory, carry = map_groups(start, (features,), slots)
    table = decoder.apply(params, method="project_vocabulary")
    found = beam_search(
        step, (carry, jnp.zeros((len(features), 1))), (memory, lengths), beam, RULES, slots=slots
    )
    return found.tokens, found.score, found.word_log_probs, found.attention


def torch_weights(params, device):
    """The decoder's parameters as PyTorch wants them: weights [out, in]."""

    def linear(layer):
        bias = torch.from_numpy(np.array(layer["bias"])).to(device) if "bias" in layer else None
        return torch.from_numpy(np.array(layer["kernel"]).T.copy()).to(device), bias

    attend = params["attend"]
    cell = params["cell"]
    layers = {
        "features": attend["features"],
        "hidden": attend["hidden"],
        "score": {"kernel": attend["score"]},
        "word": cell["word"],
        "recurrent": cell["recurrent"],
        "gate": params.get("gate", {}).get("gate"),
        "init_h": cell.get("init_h"),
        "init_c": cell.get("init_c"),
        "output_hidden": params["head"].get("hidden"),
        "output_context": params["head"].get("context"),
        "output": params["head"]["output"],
    }
    norms = []
    embeds = []
    for name, layer in sorted(params.get("regions", {}).items()):
        if name.startswith("norms"):
            leaves = [torch.from_numpy(np.array(layer[leaf])) for leaf in ("scale", "bias")]
            norms.append([leaf.to(device) for leaf in leaves])
        else:
            embeds.append(linear(layer))
    return {
        "words": torch.from_numpy(np.array(params["embed"]["embedding"])).to(device),
        "norms": norms,
        "embeds": embeds,
        **{name: layer and linear(layer) for name, layer in layers.items()},
    }


def torch_start(weights, features, beam, copied):
    """What is done once an image: regions [B, L, D], their projections [B, L, A] and the first
    state, [BK, H] each.
    """
    if weights["norms"]:
        levels = features.split([len(scale) for scale, _ in weights["norms"]], -1)
        pairs = zip(levels, weights["norms"], strict=True)
        features = torch.cat(
            [functional.layer_norm(x, x.shape[-1:], *norm, eps=1e-6) for x, norm in pairs], -1
        )
    for number, embed in enumerate(weights["embeds"]):
        embedded = functional.linear(features, *embed).relu_()
        features = features + embedded if number else embedded
    projected = functional.linear(features, *weights["features"])
    if weights["init_h"]:
        mean = features.mean(1)
        state = tuple(
            functional.linear(mean, *weights[name]).repeat_interleave(beam, 0)
            for name in ("init_h", "init_c")
        )
    else:
        state = tuple(
            torch.zeros(len(features) * beam, H, device=features.device) for _ in range(2)
        )
    if copied:
        features, projected = (x.repeat_interleave(beam, 0) for x in (features, projected))
    return features, projected, state


def torch_step(weights, state, words, features, projected, beam, copied):
    """One word of B x K hypotheses: words [BK], state two of [BK, H] -> state, logits [BK, V],
    attention [BK, L].
    """
    h, c = state
    query = functional.linear(h, *weights["hidden"])  # [BK, A]
    if copied:
        joined = (projected + query[:, None]).relu_()  # [BK, L, A]
        attention = torch.softmax(functional.linear(joined, *weights["score"])[..., 0], -1)
        context = torch.bmm(attention[:, None], features)[:, 0]  # [BK, D]
    else:
        joined = (
            projected[:, None] + query.unflatten(0, (-1, beam))[:, :, None]
        ).relu_()  # [B, K, L, A]
        attention = torch.softmax(functional.linear(joined, *weights["score"])[..., 0], -1)
        context = torch.bmm(attention, features).flatten(0, 1)
        attention = attention.flatten(0, 1)
    if weights["gate"]:
        context = torch.sigmoid(functional.linear(h, *weights["gate"])) * context
    words = functional.embedding(words, weights["words"])
    gates = functional.linear(words, *weights["word"])
    gates = gates + functional.linear(torch.cat([h, context], -1), *weights["recurrent"])
    i, f, g, o = gates.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    x = h
    if weights["output_hidden"]:
        x = (
            functional.linear(h, *weights["output_hidden"])
            + words
            + functional.linear(context, *weights["output_context"])
        )
        x = x.tanh_()
    return (h, c), functional.linear(x, *weights["output"]), attention


@torch.inference_mode()
def torch_search(weights, beam, copied, features, lengths):
    """The same search: tokens [B, T], score [B], word log-probabilities [B, T], attention [B, T,
    L].
    """
    size = len(features)
    device = features.device
    images = torch.arange(size, device=device)
    features, projected, state = torch_start(weights, features, beam, copied)
    words = torch.full((size * beam,), START, device=device)
    log_prob = torch.full((size, beam), -torch.inf, device=device)
    log_prob[:, 0] = 0
    best = torch.full((size,), -torch.inf, device=device)
    finished, end_row, end_step = (
        torch.zeros(size, dtype=torch.long, device=device) for _ in range(3)
    )
    end_log_prob = torch.zeros(size, device=device)
    done = torch.zeros(size, dtype=torch.bool, device=device)
    history = []
    for t in range(T):
        state, logits, attention = torch_step(
            weights, state, words, features, projected, beam, copied
        )
        logits = logits.view(size, beam, -1)
        logits[..., END] += 3.0 * (t - lengths[:, None])
        word_log_probs = torch.log_softmax(logits, -1)
        log_probs = word_log_probs + log_prob[..., None]  # [B, K, V]
        ends = log_probs[..., END].clone()
        log_probs[..., : UNK + 1] = -torch.inf  # <pad>, <start>, <end>, <unk> stand first
        most, places = log_probs.flatten(1).topk(beam)
        parents = places // logits.shape[-1]
        words = (places % logits.shape[-1]).flatten()

        more_probable = (torch.cat([most, ends], 1)[:, None] > ends[..., None]).sum(-1)
        visited = (more_probable < beam) & ~done[:, None]
        score, row = torch.where(visited, ends, -torch.inf).max(1)
        better = score > best
        best = torch.where(better, score, best)
        end_row = torch.where(better, row, end_row)
        end_step = torch.where(better, t, end_step)
        end_log_prob = torch.where(better, word_log_probs[images, row, END], end_log_prob)
        finished += visited.sum(1)
        done |= (finished >= beam) | (best >= most[:, 0])

        history.append(
            (parents, words.view(size, beam), most - log_prob.gather(1, parents), attention)
        )
        rows = (images[:, None] * beam + parents).flatten()
        state = tuple(x[rows] for x in state)
        log_prob = most
        if done.all():
            break
    cut = best == -torch.inf
    end_step = torch.where(cut, T, end_step)
    best = torch.where(cut, log_prob[:, 0], best)
    answer = walk_back(history, end_step, end_row, end_log_prob, size, beam)
    return [x.cpu().numpy() for x in (answer[0], best, *answer[1:])]


def walk_back(history, end_step, row, end_log_prob, size, beam):
    """Follows the back pointers from the end of each image's sentence to its first word."""
    device = row.device
    images = torch.arange(size, device=row.device)
    tokens = torch.full((size, T), PAD, device=device)
    word_log_probs = torch.zeros(size, T, device=device)
    maps = torch.zeros(size, T, L, device=device)
    for t in reversed(range(len(history))):
        parents, words, log_probs, attention = history[t]
        inside = t < end_step
        end = t == end_step
        tokens[:, t] = torch.where(inside, words[images, row], torch.where(end, END, PAD))
        word_log_probs[:, t] = torch.where(
            inside, log_probs[images, row], torch.where(end, end_log_prob, 0.0)
        )
        row = torch.where(inside, parents[images, row], row)
        maps[:, t] = torch.where(
            (inside | end)[:, None], attention.view(size, beam, -1)[images, row], 0.0
        )
    return tokens, word_log_probs, maps
