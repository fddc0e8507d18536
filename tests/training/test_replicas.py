"""Replicas: models that train side by side are those that train alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap import devices, evaluate, parallel, train
from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import workdir
from jaxcap.experiment.replicas import list_replicas
from jaxcap.training import history
from jaxcap.training.loop import Loop
from jaxcap.training.stacking import (
    Stacking,
    share_frozen,
    stack,
    stack_batches,
    stack_frozen,
    stack_seeds,
    step_each,
    take_frozen,
    unstack,
)
from jaxcap.training.train_step import train_step
from tests import small_run, tiny

SEEDS = (7, 11)
IMAGES = 16  # for eight devices too
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def members(*, words=1.0):
    """States, frozen parameters and step of captioners whose parameters differ from each other."""
    states = []
    frozen = []
    for number, _ in enumerate(SEEDS):
        state, of_one, step = tiny.training(encoder=0, words=words)
        noise = 1 + 0.1 * number
        params = jax.tree.map(lambda x, noise=noise: x * noise, state.params)
        ema = jax.tree.map(jnp.copy, params)
        states.append(state.replace(params=params, ema=ema))
        if not words:
            embed = of_one["decoder"]["embed"]["embedding"] * noise
            of_one["decoder"]["embed"]["embedding"] = embed
        frozen.append(of_one)
    step.pop("seed")
    return states, frozen, functools.partial(train_step, **step)


def train_alone(state, frozen, step, seed, batches):
    compiled = parallel.compile_train_step(functools.partial(step, seed=seed))
    state = jax.tree.map(jnp.copy, state)  # the step donates it
    for batch in batches:
        state, metrics = compiled(state, frozen, batch)
    return state, metrics


@pytest.mark.parametrize(("shares_batch", "words"), [(True, 0.0), (False, 1.0)])
def test_a_stack_trains_as_its_members_alone(shares_batch, words):
    """Dropout, averages and clipping among them, whether batches and frozen words are shared or
    not.
    """
    states, frozen, step = members(words=words)
    of_each = []
    for number, _ in enumerate(SEEDS):
        first = 0 if shares_batch else 10 * number
        of_each.append([tiny.cached(IMAGES, first + n) for n in range(2)])
    expected = [
        train_alone(state, of_one, step, seed, batches)
        for state, of_one, seed, batches in zip(states, frozen, SEEDS, of_each, strict=True)
    ]
    shared = share_frozen(frozen)
    stacked_frozen, axes = stack_frozen(shared)
    assert axes["encoder"]["backbone"]["conv1"]["kernel"] is None  # one encoder for all
    if not words:
        assert axes["decoder"]["embed"]["embedding"] == 0
    stacking = Stacking(len(SEEDS), axes, shares_batch)
    # As training compiles it: without the padding, which its members alone compute.
    compiled = parallel.compile_train_step(
        step_each(step, stacking), tiny.choose_words, lambda name: int(stacking.is_stacked(name))
    )
    state = stack(states)
    for batches in zip(*of_each, strict=True):
        batch = batches[0] if shares_batch else stack_batches(batches)
        state, metrics = compiled(state, (stacked_frozen, stack_seeds(SEEDS)), batch)
    for number, (alone, of_alone) in enumerate(expected):
        together = unstack(state, len(SEEDS))[number]
        jax.tree.map(functools.partial(np.testing.assert_allclose, **CLOSE), together, alone)
        for name, pair in of_alone.items():
            found = [value[number] for value in metrics[name]]
            np.testing.assert_allclose(found, pair, rtol=1e-4)
    first, second = unstack(state.params["decoder"]["head"]["output"]["kernel"], len(SEEDS))
    assert not np.allclose(first, second, atol=1e-3)


def test_what_all_replicas_share_is_held_once():
    _, frozen, _ = members(words=0.0)
    shared = share_frozen(frozen)
    encoders = [of_one["encoder"]["backbone"]["conv1"]["kernel"] for of_one in shared]
    assert all(encoder is encoders[0] for encoder in encoders)
    stacked, axes = stack_frozen(shared)
    for number, of_one in enumerate(frozen):
        taken = take_frozen(stacked, Stacking(len(SEEDS), axes, shares_batch=True), number)
        jax.tree.map(np.testing.assert_array_equal, taken, of_one)


def test_shorter_captions_are_filled_up_in_a_stack():
    batches = [{"tokens": np.ones((2, 1, length), int)} for length in (3, 5)]
    tokens = stack_batches(batches)["tokens"]
    assert tokens.shape == (2, 2, 1, 5)
    assert tokens.sum(axis=(1, 2, 3)).tolist() == [6, 10]


def arguments(folder, **overrides):
    values = small_run.SHORT | {
        "head.dropout": 0.2,
        "train.captions": "random",
        "train.checkpoint_every": 2,
    }
    return small_run.arguments(folder, values, **overrides)


def records(folder):
    return history.read_lines(folder / history.METRICS)


def assert_close(found, expected):
    assert [record["step"] for record in found] == [record["step"] for record in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if not isinstance(value, str):
                assert value == pytest.approx(other[name], rel=1e-3, abs=1e-5), name


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    """The workdir of two replicas, with an order of batches each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        folder = tmp_path_factory.mktemp("replicas") / "run"
        options = {"train__replicas": 2, "train__shared_order": False}
        assert train.main(arguments(folder, **options)) == 0
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
class TestRuns:
    def test_replicas_are_runs_of_their_own(self, replicas, tmp_path, capsys):
        """Each leaves what a run of its seed leaves, and is evaluated as one."""
        assert list_replicas(replicas) == [replicas / "seed_5", replicas / "seed_6"]
        for seed in (5, 6):
            alone = tmp_path / str(seed)
            assert train.main(arguments(alone, seed=seed)) == 0
            replica = replicas / f"seed_{seed}"
            assert_close(records(replica), records(alone))
            left = {path.name for path in alone.iterdir()}
            assert {path.name for path in replica.iterdir()} == left
            old = workdir.load_config(replica)
            assert configs.differences(old, workdir.load_config(alone)) == []
            assert list_replicas(alone) == [alone]
        capsys.readouterr()
        command = ["--workdir", str(replicas / "seed_6"), "--split", "val", "--json"]
        assert evaluate.main(command) == 0

    def test_a_shared_order_is_that_of_order_seed(self, tmp_path):
        together = tmp_path / "together"
        alone = tmp_path / "alone"
        assert train.main(arguments(together, train__replicas=2)) == 0
        assert train.main(arguments(alone, seed=6, train__order_seed=5)) == 0
        assert_close(records(together / "seed_6"), records(alone))
        old = workdir.load_config(together / "seed_6")
        assert configs.differences(old, workdir.load_config(alone)) == []

    def test_replicas_that_were_cut_off_resume_to_the_same_numbers(
        self, replicas, tmp_path, monkeypatch
    ):
        """Killed between two saves of one step, the replica that is behind makes up for it."""
        folder = tmp_path / "run"
        options = {"train__replicas": 2, "train__shared_order": False}
        save = Loop._save

        def dies(self, replica, state, *rest):
            if replica.name == "seed 6" and int(state.step) == 5:
                raise KeyboardInterrupt
            save(self, replica, state, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_save", dies)
            with pytest.raises(KeyboardInterrupt):
                train.main(arguments(folder, **options | {"train__checkpoint_every": 5}))
        assert train.main(arguments(folder, **options | {"train__checkpoint_every": 5})) == 0
        for seed in (5, 6):
            assert_close(records(folder / f"seed_{seed}"), records(replicas / f"seed_{seed}"))

    def test_a_replica_that_stops_early_leaves_the_others_to_train_on(self, tmp_path, monkeypatch):
        """The stack shrinks to those that go on, and each keeps its own best epoch."""
        folder = tmp_path / "run"
        sizes = []
        save = Loop._run_epoch

        def note(self, group, stop):
            sizes.append([replica.seed for replica in group])
            # As if no epoch of the first replica were better than the one before.
            if group[0].seed == 5 and group[0].progress.best_value is not None:
                group[0].progress.best_value = -1.0
            save(self, group, stop)

        monkeypatch.setattr(Loop, "_run_epoch", note)
        options = {"train__epochs": 3, "train__patience": 1, "train__replicas": 3}
        assert train.main(arguments(folder, **options)) == 0
        assert sizes == [[5, 6, 7], [5, 6, 7], [6, 7]]
        epochs = {}
        for seed in (5, 6, 7):
            val = [one for one in records(folder / f"seed_{seed}") if one["split"] == "val"]
            epochs[seed] = [one["epoch"] for one in val]
        assert epochs == {5: [1, 2], 6: [1, 2, 3], 7: [1, 2, 3]}

    def test_replicas_pass_through_self_critical_epochs(self, tmp_path):
        """Each samples with its own parameters and keys, and is rewarded for its own captions."""
        options = {
            "train__epochs": 1,
            "train__select": "CIDEr-D",
            "self_critical__epochs": 1,
            "self_critical__captions": 2,
        }
        together = tmp_path / "together"
        assert train.main(arguments(together, train__replicas=2, **options)) == 0
        alone = tmp_path / "alone"
        one = arguments(alone, seed=6, train__order_seed=5, **options)
        assert train.main(one) == 0
        assert_close(records(together / "seed_6"), records(alone))


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"train__replicas": 0}, "train.replicas=0: must be a whole number from 1 to 1,000"),
        ({"train__replicas": 2, "seed": 2**31 - 1}, "the last replica's would be 2147483648"),
        ({"train__replicas": 2, "encoder__rates": "*:0"}, "encoder.weights=random gives each"),
        (
            {"train__replicas": 2, "train__order_seed": 1, "train__shared_order": False},
            "set order_seed to -1",
        ),
        ({"train__replicas": 1000, "decoder__hidden": 512}, "are free: take fewer"),
    ],
)
def test_wrong_numbers_of_replicas_are_told_before_anything_is_written(
    tmp_path, monkeypatch, overrides, said
):
    monkeypatch.setattr(devices, "free_memory", lambda: 10**9)
    with pytest.raises(UserError, match=said):
        train.main(arguments(tmp_path / "run", **overrides))
    assert not (tmp_path / "run" / "config.json").exists()
