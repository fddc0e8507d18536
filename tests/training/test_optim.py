"""Schedules and the optimizer, against PyTorch's arithmetic where there is one, and its mask."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcap.errors import UserError
from jaxcap.training.optim import build_optimizer, build_schedule
from jaxcap.training.partition import assign_rates, partition

TRAIN = {
    "learning_rate": 0.01,
    "schedule": "constant",
    "decay_factor": 0.5,
    "decay_epochs": 2,
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "decoupled": False,
    "clip_norm": 0.0,
    "epochs": 10,
}
PARAMS = {
    "encoder": {"conv": {"kernel": jnp.full((3, 2), 0.5)}},
    "decoder": {
        "embed": {"embedding": jnp.linspace(-1, 1, 8).reshape(4, 2)},
        "output": {"bias": jnp.ones(4)},
    },
}
RULES = [("encoder/*", 0.0), ("decoder/embed/*", 0.0), ("decoder/*", 1.0)]


def build(train, rates):
    return build_optimizer(train, build_schedule(train, 3), rates)


def run(train, rates, params=PARAMS, steps=5, scale=1.0):
    optimizer = build(train, rates)
    state = optimizer.init(params)
    for step in range(steps):
        grads = jax.tree.map(lambda p, step=step: scale * jnp.cos(p * 3 + step), params)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def test_parameters_of_rate_0_have_no_state_and_no_update():
    """The optimizer holds two moments for each trained number and nothing for a frozen one."""
    params, state = run(TRAIN, assign_rates(PARAMS, RULES))
    for path in (("encoder", "conv", "kernel"), ("decoder", "embed", "embedding")):
        before = PARAMS[path[0]][path[1]][path[2]]
        np.testing.assert_array_equal(params[path[0]][path[1]][path[2]], before)
    assert (params["decoder"]["output"]["bias"] != PARAMS["decoder"]["output"]["bias"]).all()
    assert sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim) == 2 * 4


def test_trainable_parameters_alone_are_updated_as_among_all():
    """The mask freezes the same, whether the frozen parameters are in the tree or not."""
    rates = assign_rates(PARAMS, RULES)
    trainable, _ = partition(PARAMS, rates)
    alone, _ = run(TRAIN, rates, trainable)
    among, _ = run(TRAIN, rates)
    expected, _ = partition(among, rates)
    jax.tree.map(np.testing.assert_array_equal, alone, expected)


@pytest.mark.parametrize("decoupled", [False, True])
def test_a_rate_multiplies_the_updates_of_its_parameters(decoupled):
    """Whatever comes before the learning rate, decoupled decay included."""
    train = {**TRAIN, "weight_decay": 0.1, "decoupled": decoupled}
    rules = [("encoder/*", 0.1), *RULES[1:]]
    rates = assign_rates(PARAMS, rules)
    slow, _ = run(train, rates, steps=1)
    fast, _ = run(train, assign_rates(PARAMS, [("*", 1.0)]), steps=1)

    def update(params, *path):
        before = PARAMS
        for key in path:
            before = before[key]
            params = params[key]
        return params - before

    conv = ("encoder", "conv", "kernel")
    np.testing.assert_allclose(update(slow, *conv), 0.1 * update(fast, *conv), rtol=1e-4)
    bias = ("decoder", "output", "bias")
    np.testing.assert_allclose(update(slow, *bias), update(fast, *bias), rtol=1e-6)


def test_clipping_counts_trained_gradients_only():
    rates = assign_rates(PARAMS, RULES)
    optimizer = build({**TRAIN, "clip_norm": 1.0, "decoupled": True}, rates)
    huge = jax.tree.map(lambda p: jnp.full_like(p, 1e6), PARAMS)
    small = {**huge, "decoder": {**huge["decoder"], "output": {"bias": jnp.full(4, 0.1)}}}
    state = optimizer.init(PARAMS)
    _, state = optimizer.update(small, state, PARAMS)
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (4,)]
    # Adam's first moment is 0.1 times the gradient, here unclipped: its norm 0.2 is below 1.
    np.testing.assert_allclose(moments[0], 0.01, rtol=1e-6)


def run_until(train, rules, first_steps, steps):
    """Returns the parameters before each step and after the last, some beginning to learn later."""
    rates = assign_rates(PARAMS, rules)
    params, _ = partition(PARAMS, rates)
    schedule = build_schedule(train, 3)
    optimizer = build_optimizer(train, schedule, rates, first_steps=first_steps)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    made = [params]
    for step in range(steps):
        grads = jax.tree.map(lambda p, step=step: jnp.cos(p * 3 + step), params)
        updates, state = update(grads, state, params, step=jnp.int32(10 + step))
        params = optax.apply_updates(params, updates)
        made.append(params)
    return made


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_until_its_step_a_parameter_is_as_if_frozen(decoupled, clip):
    """It stays bit for bit, and is missing from the norm, which would shorten the others' steps."""
    train = {**TRAIN, "weight_decay": 0.1, "decoupled": decoupled, "clip_norm": clip}
    rules = [("encoder/*", 0.5), ("*", 1.0)]
    firsts = jax.tree.map(lambda _: 0, PARAMS)
    firsts["encoder"]["conv"]["kernel"] = 13
    waiting = run_until(train, rules, firsts, 5)
    frozen = run_until(train, [("encoder/*", 0.0), ("*", 1.0)], None, 3)
    for one, other in zip(waiting[:4], frozen, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one["encoder"], PARAMS["encoder"])
        jax.tree.map(np.testing.assert_array_equal, one["decoder"], other["decoder"])
    assert (waiting[4]["encoder"]["conv"]["kernel"] != PARAMS["encoder"]["conv"]["kernel"]).all()


def test_a_parameter_begins_with_adams_first_step():
    """Its moments count from there: however long it has waited, the step is the learning rate."""
    firsts = jax.tree.map(lambda _: 0, PARAMS)
    firsts["encoder"]["conv"]["kernel"] = 40
    made = run_until(TRAIN, [("encoder/*", 0.5), ("*", 1.0)], firsts, 32)
    kernels = [params["encoder"]["conv"]["kernel"] for params in made]
    np.testing.assert_array_equal(kernels[30], kernels[0])
    moved = abs(kernels[31] - kernels[30])
    np.testing.assert_allclose(moved, 0.5 * TRAIN["learning_rate"], rtol=1e-3)


def test_step_decay_changes_at_whole_epochs():
    rate = build_schedule({**TRAIN, "schedule": "step"}, steps_per_epoch=3)
    assert [round(float(rate(step)), 6) for step in (0, 5, 6, 11, 12)] == [
        0.01,
        0.01,
        0.005,
        0.005,
        0.0025,
    ]


def test_cosine_ends_at_zero_after_a_linear_warmup():
    rate = build_schedule({**TRAIN, "schedule": "cosine", "warmup_steps": 10}, steps_per_epoch=3)
    np.testing.assert_allclose(
        [rate(0), rate(5), rate(10), rate(20), rate(30)], [0, 0.005, 0.01, 0.005, 0], atol=1e-9
    )


def test_unknown_schedule_is_named():
    with pytest.raises(UserError, match="linear.*cosine"):
        build_schedule({**TRAIN, "schedule": "linear"}, 3)


@pytest.mark.parity
@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("clip", [0.0, 1.5])
def test_equals_pytorchs_adam(decoupled, clip):
    """Coupled decay equals torch's Adam(weight_decay), decoupled AdamW, with torch's clipping by
    global norm.
    """
    torch = pytest.importorskip("torch")
    rates = jax.tree.map(lambda p: 1.0, PARAMS)
    ours, _ = run(
        {**TRAIN, "weight_decay": 0.1, "decoupled": decoupled, "clip_norm": clip},
        rates,
        steps=12,
        scale=2.0,
    )
    theirs = [torch.tensor(np.asarray(p), requires_grad=True) for p in jax.tree.leaves(PARAMS)]
    # optax's decoupled decay is multiplied by the learning rate, as torch's is.
    adam = (torch.optim.AdamW if decoupled else torch.optim.Adam)(theirs, lr=0.01, weight_decay=0.1)
    for step in range(12):
        for p in theirs:
            p.grad = 2.0 * torch.cos(p.detach() * 3 + step)
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs, clip)
        adam.step()
    for mine, p in zip(jax.tree.leaves(ours), theirs, strict=True):
        np.testing.assert_allclose(mine, p.detach().numpy(), atol=2e-6)
