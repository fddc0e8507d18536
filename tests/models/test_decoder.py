"""The decoder: the scan equals the loop, captions do not touch one another, and PyTorch computes
the same.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models import products
from jaxcap.models.decoder import build_decoder
from jaxcap.models.layers import dropout
from jaxcap.models.params import draw_variables
from jaxcap.models.positions import find_positions
from tests import tiny

B = 3
C = 2
T = 6
V = 17
L = 9
D = 10
PLAIN: dict = {}
FULL = {
    "regions__norm": True,
    "regions__embedding": 6,
    "regions__layers": 2,
    "decoder__init_from_mean": True,
    "decoder__context_gate": True,
    "decoder__activation": "tanh",
    "head__deep_output": True,
    "head__tie_weights": True,
    "level_channels": (4, 6),
}
GRU = {"decoder__cell": "gru"}
# As a published captioner had it: a GRU without its state, and two layers before the vocabulary.
STATELESS = {
    "decoder__cell": "gru",
    "decoder__stateless": True,
    "decoder__activation": "tanh",
    "head__hidden": 5,
    "regions__embedding": 6,
}
DROPOUT = {"decoder__word_dropout": 0.3, "head__dropout": 0.3, "regions__dropout": 0.3}
OPTIONS = [
    PLAIN,
    *({name: value} for name, value in FULL.items()),
    FULL,
    {"head__hidden": 5},
    {"decoder__stateless": True},
    GRU,
    GRU | {"decoder__reset_after": False},
    FULL | GRU,
    STATELESS,
]


def make(*, level_channels=(), dtype="float32", **options):
    config = tiny.sections(embedding__dim=7, **options)
    decoder = build_decoder(config, V, level_channels=level_channels, dtype=dtype)
    keys = jax.random.split(jax.random.key(0), 3)
    regions = jax.random.normal(keys[0], (B, L, D))
    tokens = jax.random.randint(keys[1], (B, C, T), 0, V)
    return decoder, draw_variables(decoder, keys[2], regions, tokens), regions, tokens


@functools.partial(jax.jit, static_argnums=0, static_argnames=("captions", "method"))
def apply(decoder, variables, *arguments, **options):
    """Applies it as one program: op by op, every call would compile its scan again."""
    return decoder.apply(variables, *arguments, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_scan_equals_loop(options):
    """Teacher forcing over a sentence and one step after another give the same logits and
    attention.
    """
    decoder, variables, features, tokens = make(**options)
    logits, attention = apply(decoder, variables, features, tokens)
    memory, carry = apply(decoder, variables, features, captions=C, method="start")
    table = apply(decoder, variables, method="project_vocabulary")
    for t in range(T):
        read = apply(decoder, variables, carry, memory, tokens[..., t], table, method="step")
        carry, step_logits, step_attention = apply(
            decoder, variables, carry, memory, tokens[..., t], method="step"
        )
        np.testing.assert_allclose(step_logits, logits[:, :, t], atol=1e-6)
        np.testing.assert_allclose(step_attention, attention[:, :, t], atol=1e-6)
        for ours, theirs in zip(
            jax.tree.leaves(read),
            jax.tree.leaves((carry, step_logits, step_attention)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("options", [PLAIN, FULL, STATELESS], ids=str)
def test_captions_attended_to_at_once_are_the_same(options):
    """In value and gradient: accelerators attend to all captions of a photo in one call."""
    decoder, variables, regions, tokens = make(**options)
    results = []
    for on_processor in (True, False):
        model = decoder.clone(on_processor=on_processor)

        def total(variables, model=model):
            logits, attention = model.apply(variables, regions, tokens)
            return jnp.square(logits).sum() + jnp.square(attention).sum(), (logits, attention)

        gradients, outputs = jax.jit(jax.grad(total, has_aux=True))(variables)
        results.append((outputs, gradients))
    one, other = map(jax.tree.leaves, results)
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "on_processor"),
    [(PLAIN, True), (FULL, True), (FULL, False), (GRU, True), (STATELESS, True)],
    ids=str,
)
def test_logits_at_the_first_positions_are_those_at_all(monkeypatch, options, on_processor):
    """In value and gradient, dropout included; a caption may be empty."""
    monkeypatch.setattr(products, "_LEAST", 1)  # few captions in many sizes
    decoder, variables, regions, tokens = make(**options | DROPOUT)
    decoder = decoder.clone(on_processor=on_processor)
    lengths = np.random.default_rng(0).integers(0, T + 1, (B, C, 1))
    mask = np.arange(T) < lengths
    keys = jax.random.split(jax.random.key(3), B)
    positions = find_positions(jnp.asarray(mask), int(mask.sum()) + 3)

    def total(variables, positions):
        logits, attention = decoder.apply(variables, regions, tokens, keys, positions)
        if positions is None:
            logits = logits[mask]
        logits = logits[: mask.sum()]
        attention = attention[mask]
        return jnp.square(logits).sum() + jnp.square(attention).sum(), (logits, attention)

    some, whole = (
        jax.jit(jax.value_and_grad(total, has_aux=True))(variables, chosen)
        for chosen in (positions, None)
    )
    assert lengths.min() == 0 and lengths.max() > 1
    for ours, theirs in zip(*map(jax.tree.leaves, (some, whole)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def count_branches(jaxpr):
    """How often a program takes one of several branches."""
    count = 0
    for equation in jaxpr.eqns:
        count += equation.primitive.name == "cond"
        for value in jax.tree.leaves(list(equation.params.values())):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                count += count_branches(inner)
    return count


def test_batches_side_by_side_take_one_branch(monkeypatch):
    """Branches that differ from batch to batch would all be computed."""
    monkeypatch.setattr(products, "_LEAST", 1)
    decoder, variables, regions, tokens = make(**FULL)
    masks = jnp.arange(T) < jax.random.randint(jax.random.key(1), (4, B, C, 1), 1, T + 1)

    def total(variables, mask):
        positions = find_positions(mask, mask.size)
        logits, _ = decoder.apply(variables, regions, tokens, None, positions)
        return jnp.square(logits).sum()

    alone = jax.make_jaxpr(jax.grad(total))(variables, masks[0])
    together = jax.make_jaxpr(jax.vmap(jax.grad(total), (None, 0)))(variables, masks)
    assert count_branches(together.jaxpr) == count_branches(alone.jaxpr) > 0
    totals = jax.jit(jax.vmap(total, (None, 0)))(variables, masks)
    for mask, found in zip(masks, totals, strict=True):
        np.testing.assert_allclose(found, jax.jit(total)(variables, mask), rtol=1e-5)


def test_attention_is_a_distribution():
    decoder, variables, features, tokens = make(**FULL)
    _, attention = apply(decoder, variables, features, tokens)
    assert attention.shape == (B, C, T, L)
    assert (np.asarray(attention) >= 0).all()
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("options", [PLAIN, FULL, GRU, STATELESS], ids=str)
def test_a_later_word_changes_no_earlier_logits(options):
    decoder, variables, features, tokens = make(**options)
    changed = tokens.at[:, :, 3].set((tokens[:, :, 3] + 1) % V)
    before, _ = apply(decoder, variables, features, tokens)
    after, _ = apply(decoder, variables, features, changed)
    np.testing.assert_array_equal(before[:, :, :3], after[:, :, :3])
    assert (np.abs(before[:, :, 3] - after[:, :, 3]).max(-1) > 0).all()


def test_captions_of_a_photo_are_independent():
    """Five captions side by side give what each gives alone with its photo."""
    decoder, variables, features, tokens = make(**FULL)
    together, _ = apply(decoder, variables, features, tokens)
    for c in range(C):
        alone, _ = apply(decoder, variables, features, tokens[:, c : c + 1])
        np.testing.assert_allclose(alone[:, 0], together[:, c], atol=1e-6)


def blind_attention(variables):
    """Parameters whose attention does not read the state: it looks at all words' regions alike."""
    params = variables["params"]
    attend = params["attend"] | {"hidden": jax.tree.map(jnp.zeros_like, params["attend"]["hidden"])}
    return {"params": params | {"attend": attend}}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_stateless_cell_knows_earlier_words_by_its_attention_alone(cell):
    decoder, variables, features, tokens = make(decoder__cell=cell, decoder__stateless=True)
    changed = tokens.at[:, :, 1].set((tokens[:, :, 1] + 1) % V)
    blind = blind_attention(variables)
    before, _ = apply(decoder, blind, features, tokens)
    after, _ = apply(decoder, blind, features, changed)
    np.testing.assert_array_equal(before[:, :, 2:], after[:, :, 2:])
    seen, _ = apply(decoder, variables, features, tokens)
    otherwise, _ = apply(decoder, variables, features, changed)
    assert (np.abs(seen[:, :, 2] - otherwise[:, :, 2]).max(-1) > 0).all()
    remembering = make(decoder__cell=cell)[0]
    before, _ = apply(remembering, blind, features, tokens)
    after, _ = apply(remembering, blind, features, changed)
    assert (np.abs(before[:, :, 2:] - after[:, :, 2:]).max(-1) > 0).all()


def test_options_add_their_parameters_only():
    names = {}
    for options in OPTIONS:
        paths = jax.tree_util.tree_leaves_with_path(make(**options)[1]["params"])
        names[frozenset(options)] = {
            jax.tree_util.keystr(path[:2], simple=True, separator="/") for path, _ in paths
        }
    plain = names[frozenset()]
    assert {name.partition("/")[0] for name in plain} == {"embed", "attend", "cell", "head"}

    def added(option):
        return names[frozenset([option])] - plain

    assert added("regions__norm") == {"regions/norms_0"}
    assert added("regions__embedding") == {"regions/embed_0"}
    assert added("decoder__stateless") == set()
    assert added("decoder__cell") == {"cell/context"}  # beside a word and a recurrent layer
    assert added("head__hidden") == {"head/hidden"}
    assert added("decoder__init_from_mean") == {"cell/init_h", "cell/init_c"}
    assert added("decoder__context_gate") == {"gate/gate"}
    assert added("head__deep_output") == {"head/hidden", "head/context"}
    assert "head/output" not in names[frozenset(["head__tie_weights"])]


def test_each_level_is_normalised_by_itself():
    """How large the numbers of a level are changes nothing, also beside another level."""
    decoder, variables, regions, tokens = make(regions__norm=True, level_channels=(4, 6))
    scaled = regions.at[..., :4].multiply(30.0)
    logits, _ = apply(decoder, variables, regions, tokens)
    np.testing.assert_allclose(apply(decoder, variables, scaled, tokens)[0], logits, atol=1e-4)
    together, variables, *_ = make(regions__norm=True)
    before, _ = apply(together, variables, regions, tokens)
    after, _ = apply(together, variables, scaled, tokens)
    assert np.abs(before - after).max() > 1e-2


@pytest.mark.parametrize("name", DROPOUT)
def test_dropout_acts_in_training_only(name):
    decoder, variables, regions, tokens = make(**{name: 0.5})
    plain, _ = apply(make()[0], variables, regions, tokens)
    without, _ = apply(decoder, variables, regions, tokens)
    noisy, _ = apply(decoder, variables, regions, tokens, jax.random.split(jax.random.key(1), B))
    np.testing.assert_array_equal(plain, without)
    assert np.abs(noisy - plain).max() > 1e-3


def test_dropout_belongs_to_the_image():
    """A photo's mask depends on its key alone, not on the photos beside it; the mean is kept."""
    keys = jax.random.split(jax.random.key(3), 4)
    x = jnp.ones((4, 50, 40))
    all_of_them = dropout(keys, x, 0.3)
    np.testing.assert_array_equal(all_of_them[2:3], dropout(keys[2:3], x[2:3], 0.3))
    assert set(np.unique(all_of_them)) == {0.0, np.float32(1 / 0.7)}
    np.testing.assert_allclose(all_of_them.mean(), 1, atol=0.03)


def test_shared_dropout_takes_a_channel_from_all_regions_or_from_none():
    dropped = np.asarray(
        dropout(jax.random.split(jax.random.key(3), 4), jnp.ones((4, 50, 40)), 0.3, shared=1)
    )
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1], dropped.shape))
    assert len(np.unique(dropped[:, 0], axis=0)) == 4  # each photo loses channels of its own


def test_bfloat16_changes_logits_by_its_rounding_only():
    decoder, variables, features, tokens = make(**FULL)
    rounded = make(**FULL, dtype="bfloat16")[0]
    logits, attention = apply(decoder, variables, features, tokens)
    near, looked = apply(rounded, variables, features, tokens)
    assert near.dtype == looked.dtype == jnp.float32
    assert 1e-6 < np.abs(near - logits).max() < 0.02 * np.abs(logits).max()
    assert np.abs(looked - attention).max() < 0.02


def torch_lstm(torch, p, word, z, h, s):
    """A step of an LSTM, gates apart."""
    hidden = len(h)
    recurrent = p["recurrent"]["kernel"]
    gate = {}
    for k, name in enumerate("ifgo"):
        part = slice(k * hidden, (k + 1) * hidden)
        gate[name] = word @ p["word"]["kernel"][:, part] + p["word"]["bias"][part]
        gate[name] = gate[name] + h @ recurrent[:hidden, part] + z @ recurrent[hidden:, part]
    s = torch.sigmoid(gate["f"]) * s + torch.sigmoid(gate["i"]) * torch.tanh(gate["g"])
    return torch.sigmoid(gate["o"]) * torch.tanh(s), s


def torch_gru(torch, p, word, z, h, s):
    """A step of PyTorch's own GRU or, where it has none, of the paper's, gates apart."""
    kernel = torch.cat([p["word"]["kernel"], p["context"]["kernel"]])
    x = torch.cat([word, z])
    if "candidate" not in p:

        def reordered(array):  # as PyTorch has the gates: reset, update, candidate
            update, reset, candidate = array.chunk(3, -1)
            return torch.cat([reset, update, candidate], -1)

        weights = (reordered(layer).T for layer in (kernel, p["recurrent"]["kernel"]))
        biases = (reordered(p[name]["bias"]) for name in ("word", "recurrent"))
        return torch.gru_cell(x[None], h[None], *weights, *biases)[0], s
    update, reset, candidate = (x @ kernel + p["word"]["bias"]).chunk(3)
    of_update, of_reset = (h @ p["recurrent"]["kernel"]).chunk(2)
    update = torch.sigmoid(update + of_update)
    reset = torch.sigmoid(reset + of_reset)
    candidate = torch.tanh(candidate + (reset * h) @ p["candidate"]["kernel"])
    return update * h + (1 - update) * candidate, s


def torch_decoder(torch, p, features, tokens, options):
    """The same equations written anew, a word at a time, gates apart, nothing hoisted."""
    linear = lambda layer, x: x @ layer["kernel"] + layer.get("bias", 0)  # noqa: E731
    activation = torch.tanh if options.get("decoder__activation") == "tanh" else torch.relu
    hidden = p["attend"]["hidden"]["kernel"].shape[0]
    cell = torch_gru if options.get("decoder__cell") == "gru" else torch_lstm
    all_logits = []
    all_attention = []
    if options.get("regions__norm"):
        levels = features.split(options.get("level_channels", features.shape[-1]), -1)
        norms = [p["regions"][f"norms_{number}"] for number in range(len(levels))]
        normalize = functools.partial(torch.nn.functional.layer_norm, eps=1e-6)
        pairs = zip(levels, norms, strict=True)
        features = torch.cat(
            [normalize(x, x.shape[-1:], norm["scale"], norm["bias"]) for x, norm in pairs], -1
        )
    layers = [layer for name, layer in sorted(p.get("regions", {}).items()) if "embed" in name]
    for b, c in itertools.product(range(tokens.shape[0]), range(tokens.shape[1])):
        a = features[b]
        for number, layer in enumerate(layers):
            a = (a if number else 0) + torch.relu(linear(layer, a))
        h = torch.zeros(hidden, dtype=a.dtype)
        s = torch.zeros(hidden, dtype=a.dtype)
        if "init_h" in p["cell"]:
            h = linear(p["cell"]["init_h"], a.mean(0))
        if "init_c" in p["cell"]:
            s = linear(p["cell"]["init_c"], a.mean(0))
        for t in range(tokens.shape[2]):
            word = p["embed"]["embedding"][tokens[b, c, t]]
            scores = activation(
                linear(p["attend"]["features"], a) + linear(p["attend"]["hidden"], h)
            )
            alpha = torch.softmax((scores @ p["attend"]["score"])[:, 0], 0)
            z = (alpha[:, None] * a).sum(0)
            if "gate" in p:
                z = torch.sigmoid(linear(p["gate"]["gate"], h)) * z
            if options.get("decoder__stateless"):
                h = torch.zeros_like(h)
                s = torch.zeros_like(s)
            h, s = cell(torch, p["cell"], word, z, h, s)
            head = p["head"]
            x = linear(head["hidden"], h) if "hidden" in head else h
            if "context" in head:
                x = torch.tanh(x + word + linear(head["context"], z))
            if "bias" in head:
                logits = x @ p["embed"]["embedding"].T + head["bias"]
            else:
                logits = linear(head["output"], x)
            all_logits.append(logits)
            all_attention.append(alpha)
    shape = tuple(tokens.shape)
    return torch.stack(all_logits).reshape(*shape, -1), torch.stack(all_attention).reshape(
        *shape, -1
    )


@pytest.mark.parity
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_pytorch_in_value_and_gradient(options):
    """Logits, attention and every gradient equal an independent PyTorch version of the same
    equations.
    """
    torch = pytest.importorskip("torch")
    decoder, variables, features, tokens = make(**options)
    weights = jax.random.normal(jax.random.key(5), (B, C, T, V))

    def value(params, features):
        logits, attention = decoder.apply({"params": params}, features, tokens)
        return (logits * weights).sum() + jnp.square(attention).sum()

    ours = decoder.apply(variables, features, tokens)
    our_grads = jax.grad(value, argnums=(0, 1))(variables["params"], features)

    leaf = lambda x: torch.tensor(np.asarray(x), requires_grad=True)  # noqa: E731
    params = jax.tree.map(leaf, variables["params"])
    grid = leaf(features)
    logits, attention = torch_decoder(
        torch, params, grid, torch.tensor(np.asarray(tokens)).long(), options
    )
    ((logits * torch.tensor(np.asarray(weights))).sum() + attention.square().sum()).backward()

    np.testing.assert_allclose(ours[0], logits.detach().numpy(), atol=2e-6)
    np.testing.assert_allclose(ours[1], attention.detach().numpy(), atol=2e-6)
    np.testing.assert_allclose(our_grads[1], grid.grad.numpy(), atol=2e-5)
    for path, grad in jax.tree_util.tree_leaves_with_path(our_grads[0]):
        theirs = params
        for key in path:
            theirs = theirs[key.key]
        np.testing.assert_allclose(
            grad, theirs.grad.numpy(), atol=5e-5, rtol=1e-4, err_msg=str(path)
        )
