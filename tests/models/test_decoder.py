"""The decoder: the scan equals the loop, captions do not touch one another, and PyTorch computes
the same.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.models.decoder import Decoder
from jaxcap.models.layers import dropout, product

B, C, T, V, L, D = 3, 2, 6, 17, 9, 10
PLAIN = {}
FULL = {
    "feature_norm": True,
    "level_channels": (4, 6),
    "feature_embedding": 6,
    "feature_layers": 2,
    "init_from_mean": True,
    "context_gate": True,
    "deep_output": True,
    "tie_weights": True,
    "activation": "tanh",
}
OPTIONS = [PLAIN, *({name: value} for name, value in FULL.items()), FULL]


def make(**options):
    decoder = Decoder(V, embedding=7, hidden=8, attention=5, **options)
    keys = jax.random.split(jax.random.key(0), 3)
    features = jax.random.normal(keys[0], (B, L, D))
    tokens = jax.random.randint(keys[1], (B, C, T), 0, V)
    return decoder, jax.jit(decoder.init)(keys[2], features, tokens), features, tokens


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_scan_equals_loop(options):
    """Teacher forcing over a sentence and one step after another give the same logits and
    attention.
    """
    decoder, variables, features, tokens = make(**options)
    logits, attention = decoder.apply(variables, features, tokens)
    memory, carry = decoder.apply(variables, features, C, method="start")
    table = decoder.apply(variables, method="table")
    for t in range(T):
        read = decoder.apply(variables, carry, memory, tokens[..., t], table, method="step")
        carry, step_logits, step_attention = decoder.apply(
            variables, carry, memory, tokens[..., t], method="step"
        )
        np.testing.assert_allclose(step_logits, logits[:, :, t], atol=1e-6)
        np.testing.assert_allclose(step_attention, attention[:, :, t], atol=1e-6)
        for ours, theirs in zip(
            jax.tree.leaves(read),
            jax.tree.leaves((carry, step_logits, step_attention)),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_attention_is_a_distribution():
    decoder, variables, features, tokens = make(**FULL)
    _, attention = decoder.apply(variables, features, tokens)
    assert attention.shape == (B, C, T, L)
    assert (np.asarray(attention) >= 0).all()
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize("options", [PLAIN, FULL], ids=str)
def test_a_later_word_changes_no_earlier_logits(options):
    decoder, variables, features, tokens = make(**options)
    changed = tokens.at[:, :, 3].set((tokens[:, :, 3] + 1) % V)
    before, _ = decoder.apply(variables, features, tokens)
    after, _ = decoder.apply(variables, features, changed)
    np.testing.assert_array_equal(before[:, :, :3], after[:, :, :3])
    assert (np.abs(before[:, :, 3] - after[:, :, 3]).max(-1) > 0).all()


def test_captions_of_a_photo_are_independent():
    """Five captions side by side give what each gives alone with its photo."""
    decoder, variables, features, tokens = make(**FULL)
    together, _ = decoder.apply(variables, features, tokens)
    for c in range(C):
        alone, _ = decoder.apply(variables, features, tokens[:, c : c + 1])
        np.testing.assert_allclose(alone[:, 0], together[:, c], atol=1e-6)


def test_options_add_their_parameters_only():
    names = {frozenset(options): set(make(**options)[1]["params"]) for options in OPTIONS}
    plain = names[frozenset()]
    assert plain == {"words", "attend", "cell", "output"}
    assert names[frozenset(["feature_norm"])] - plain == {"norm_features_0"}
    assert names[frozenset(["feature_embedding"])] - plain == {"embed_features_0"}
    assert names[frozenset(["init_from_mean"])] - plain == {"init_h", "init_c"}
    assert names[frozenset(["context_gate"])] - plain == {"gate"}
    assert names[frozenset(["deep_output"])] - plain == {"output_hidden", "output_context"}
    assert "output" not in names[frozenset(["tie_weights"])]


def test_each_level_is_normalised_by_itself():
    """How large the numbers of a level are changes nothing, also beside another level."""
    decoder, variables, features, tokens = make(feature_norm=True, level_channels=(4, 6))
    scaled = features.at[..., :4].multiply(30.0)
    logits, _ = decoder.apply(variables, features, tokens)
    np.testing.assert_allclose(decoder.apply(variables, scaled, tokens)[0], logits, atol=1e-4)
    together, variables, *_ = make(feature_norm=True)
    before, after = (together.apply(variables, x, tokens)[0] for x in (features, scaled))
    assert np.abs(before - after).max() > 1e-2


@pytest.mark.parametrize("name", ["word_dropout", "hidden_dropout", "feature_dropout"])
def test_dropout_acts_in_training_only(name):
    decoder, variables, features, tokens = make(**{name: 0.5})
    plain, _ = make()[0].apply(variables, features, tokens)
    silent, _ = decoder.apply(variables, features, tokens)
    noisy, _ = decoder.apply(variables, features, tokens, jax.random.split(jax.random.key(1), B))
    np.testing.assert_array_equal(plain, silent)
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


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 5, 6)])
def test_a_bfloat16_product_rounds_its_factors_and_nothing_else(shape, transposed):
    """Value and gradients equal float32 products of rounded factors, bfloat16's 8 bits away from
    unrounded ones.
    """
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel, weights = (
        jax.random.normal(k, s)
        for k, s in zip(keys, (shape, (6, 4), (*shape[:-1], 4)), strict=True)
    )
    kernel = kernel.T if transposed else kernel
    half = lambda a: a.astype(jnp.bfloat16).astype(jnp.float32)  # noqa: E731
    value, pull = jax.vjp(
        lambda x, kernel: product(x, kernel, "bfloat16", transposed=transposed), x, kernel
    )
    wanted, wanted_pull = jax.vjp(
        lambda x, kernel: product(x, kernel, transposed=transposed), half(x), half(kernel)
    )
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(pull(weights), wanted_pull(half(weights)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    exact = product(x, kernel, transposed=transposed)
    assert 0 < np.abs(value - exact).max() < 0.03 * np.abs(exact).max()


def test_a_bfloat16_product_with_a_transposed_kernel_is_differentiated_when_compiled():
    """As tied weights have it."""
    x, kernel = (
        jax.random.normal(jax.random.key(0), (4, 3, 5, 40)),
        jax.random.normal(jax.random.key(1), (70, 40)),
    )
    total = lambda dtype, kernel, x: jnp.square(product(x, kernel, dtype, transposed=True)).sum()  # noqa: E731
    ours, exact = (
        jax.jit(jax.grad(functools.partial(total, dtype)))(kernel, x)
        for dtype in ("bfloat16", "float32")
    )
    assert 0 < np.abs(ours - exact).max() < 0.02 * np.abs(exact).max()


def test_bfloat16_changes_logits_by_its_rounding_only():
    decoder, variables, features, tokens = make(**FULL)
    rounded = decoder.clone(dtype="bfloat16")
    logits, attention = decoder.apply(variables, features, tokens)
    near, looked = rounded.apply(variables, features, tokens)
    assert near.dtype == looked.dtype == jnp.float32
    assert 1e-6 < np.abs(near - logits).max() < 0.02 * np.abs(logits).max()
    assert np.abs(looked - attention).max() < 0.02


def torch_decoder(torch, p, features, tokens, options):
    """The same equations written anew, a word at a time, gates apart, nothing hoisted."""
    linear = lambda layer, x: x @ layer["kernel"] + layer.get("bias", 0)  # noqa: E731
    activation = torch.tanh if options.get("activation") == "tanh" else torch.relu
    hidden = p["cell"]["recurrent"]["kernel"].shape[1] // 4
    word_kernel, bias = p["cell"]["word"]["kernel"], p["cell"]["word"]["bias"]
    recurrent = p["cell"]["recurrent"]["kernel"]
    all_logits, all_attention = [], []
    if options.get("feature_norm"):
        levels = features.split(options.get("level_channels", features.shape[-1]), -1)
        norms = [p[f"norm_features_{number}"] for number in range(len(levels))]
        normalise = functools.partial(torch.nn.functional.layer_norm, eps=1e-6)
        pairs = zip(levels, norms, strict=True)
        features = torch.cat(
            [normalize(x, x.shape[-1:], norm["scale"], norm["bias"]) for x, norm in pairs], -1
        )
    for b, c in itertools.product(range(tokens.shape[0]), range(tokens.shape[1])):
        a = (
            torch.relu(linear(p["embed_features_0"], features[b]))
            if "embed_features_0" in p
            else features[b]
        )
        a = a + torch.relu(linear(p["embed_features_1"], a)) if "embed_features_1" in p else a
        h = linear(p["init_h"], a.mean(0)) if "init_h" in p else torch.zeros(hidden, dtype=a.dtype)
        s = linear(p["init_c"], a.mean(0)) if "init_c" in p else torch.zeros(hidden, dtype=a.dtype)
        for t in range(tokens.shape[2]):
            word = p["words"]["embedding"][tokens[b, c, t]]
            scores = activation(
                linear(p["attend"]["features"], a) + linear(p["attend"]["hidden"], h)
            )
            alpha = torch.softmax((scores @ p["attend"]["score"])[:, 0], 0)
            z = (alpha[:, None] * a).sum(0)
            if "gate" in p:
                z = torch.sigmoid(linear(p["gate"]["gate"], h)) * z
            gate = {}
            for k, name in enumerate("ifgo"):
                part = slice(k * hidden, (k + 1) * hidden)
                gate[name] = word @ word_kernel[:, part] + bias[part]
                gate[name] = (
                    gate[name] + h @ recurrent[:hidden, part] + z @ recurrent[hidden:, part]
                )
            s = torch.sigmoid(gate["f"]) * s + torch.sigmoid(gate["i"]) * torch.tanh(gate["g"])
            h = torch.sigmoid(gate["o"]) * torch.tanh(s)
            x = linear(p["output_hidden"], h) if "output_hidden" in p else h
            if "output_context" in p:
                x = torch.tanh(x + word + linear(p["output_context"], z))
            logits = (
                x @ p["words"]["embedding"].T + p["output_bias"]
                if "output_bias" in p
                else linear(p["output"], x)
            )
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
    params, grid = jax.tree.map(leaf, variables["params"]), leaf(features)
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
