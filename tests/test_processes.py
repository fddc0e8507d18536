"""Several devices, and processes that train together, train what one trains."""

import functools
import json
import signal
import socket
import time

import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from jaxcap import devices, parallel, process_flags, processes, train
from jaxcap.errors import UserError
from jaxcap.training.partition import combine
from jaxcap.training.train_step import create_state, eval_step, train_step
from tests import several, small_run, tiny

STEPS = 20
IMAGES = 16
OPTIONS = small_run.SMALL | {
    "doctor": "off",
    "encoder.rates": "*:0",
    "head.dropout": 0.2,
    "regions.dropout": 0.2,
    "train.epochs": 1,
    "train.captions": "random",
    "train.select": "CIDEr-D",
    "train.warmup_steps": 0,
    "train.checkpoint_every": 2,
    "self_critical.epochs": 1,
    "self_critical.captions": 2,
    "show.tensorboard_every": 1,
}


def arguments(folder, **changed):
    return small_run.arguments(folder, OPTIONS, **changed)


def compute() -> dict[str, np.ndarray]:
    """What comes of steps with dropout, a validation and features, by names."""
    state, frozen, step = tiny.training(gate=0)
    # Adam would blow the rounding of a vanishing gradient up to a share of a whole step.
    step["optimizer"] = optax.sgd(0.1, momentum=0.9)
    state = create_state(state.params, step["optimizer"], ema=True)
    frozen = parallel.replicate(frozen)
    compiled = parallel.compile_train_step(functools.partial(train_step, **step), tiny.choose_words)
    for number in range(STEPS):
        state, metrics = compiled(state, frozen, take_batch(number % 2))
    model = step["model"]
    params = combine(state.params, frozen)
    evaluate = parallel.compile_eval_step(functools.partial(eval_step, model=model))
    results = {
        "state": state,
        "metrics": metrics,
        "validation": evaluate(params, take_batch(9)),
        "devices": jnp.array(devices.device_count()),
    }
    if processes.count() == 1:
        encode = parallel.compile_per_image(
            lambda params, images: model.apply({"params": params}, images, method="encode")
        )
        results["features"] = encode(params, tiny.batch(5, seed=9)["images"])
    return tiny.leaves(results)


def take_batch(seed):
    """This process's share of a batch."""
    batch = tiny.batch(IMAGES, seed=seed)
    batch["images"] = batch["images"][processes.take_share(IMAGES)]
    return batch


COMPUTING = """
import sys

import numpy as np

from jaxcap import process_flags, processes
from tests.test_processes import compute
with processes.join(process_flags.read_processes(sys.argv[2:])):
    np.savez(f"{sys.argv[1]}{processes.get_index()}", **compute())
"""


@pytest.fixture(scope="module")
def alone():
    """What `compute` returns in one process, on its own devices."""
    return compute()


@pytest.mark.slow
@pytest.mark.parametrize(("count", "local"), [(1, 2), (1, 8), (2, 1), (2, 2)])
def test_any_processes_and_devices_compute_the_same(alone, count, local, tmp_path):
    """State, sums, validation and features, to the rounding of sums in another order.

    In all processes bit for bit.
    """
    ended = several.run(["-c", COMPUTING, str(tmp_path / "process")], count, local)
    assert [process.code for process in ended] == [0] * count, ended[-1].err
    first, *others = [dict(np.load(tmp_path / f"process{index}.npz")) for index in range(count)]
    for other in others:
        assert first.keys() == other.keys()
        for name, value in first.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)
    assert first.pop("['devices']") == count * local
    missing = {"['features']"} if count > 1 else set()
    assert first.keys() | missing | {"['devices']"} == alone.keys()
    for name, value in first.items():
        np.testing.assert_allclose(value, alone[name], rtol=2e-4, atol=2e-5, err_msg=name)


def read_run(folder):
    """The last checkpoint of a run, as a vector, and its records."""
    steps = folder / "checkpoints" / "steps"
    last = max(int(path.name) for path in steps.iterdir())
    with ocp.StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore(steps / str(last) / "arrays")
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    vector = np.concatenate([np.ravel(arrays[name]) for name in sorted(arrays)])
    return vector, [json.loads(line) for line in lines]


def features(cache):
    return {path.parent.name: np.load(path) for path in cache.glob("features/*/features.npy")}


@pytest.mark.slow
def test_a_run_of_two_processes_stopped_at_the_second_ends_as_one_of_one(tmp_path, monkeypatch):
    """From computing its features over validation to learning from its own captions."""
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "one"))
    assert train.main(arguments(tmp_path / "whole")) == 0
    folder = tmp_path / "run"
    command = ["-m", "jaxcap.train", *arguments(folder)]
    environment = {"JAXCAP_CACHE": str(tmp_path / "two")}

    port = several.find_port()
    started = []
    for index in range(2):
        started.append(several.start([*command, *several.place(index, 2, port)], **environment))
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() and started[0].poll() is None:
        time.sleep(0.05)
    started[1].send_signal(signal.SIGTERM)
    ended = several.wait(started)
    assert [process.code for process in ended] == [128 + signal.SIGTERM] * 2, ended[0].err
    assert "stopped after step" in ended[0].out
    assert "stopped" not in ended[1].out  # the first one prints

    ended = several.run(command, 2, **environment)
    assert [process.code for process in ended] == [0, 0], ended[0].err
    assert "resuming after step" in ended[0].out
    found = features(tmp_path / "two")
    expected = features(tmp_path / "one")
    assert len(found) == 3  # of training, validation and test
    assert found.keys() == expected.keys()
    for name, of_split in found.items():
        # A photo's place among those that are encoded together may round it otherwise.
        np.testing.assert_allclose(of_split, expected[name], rtol=2**-9, atol=2**-12)
    params, records = read_run(folder)
    wanted_params, wanted = read_run(tmp_path / "whole")
    np.testing.assert_allclose(params, wanted_params, rtol=2e-3, atol=2e-5)
    for record, other in zip(records, wanted, strict=True):
        assert record.pop("split") == other.pop("split")
        assert record == pytest.approx(other, rel=1e-3, abs=1e-6)


@pytest.mark.slow
def test_processes_of_other_configs_end_at_once_and_name_the_key(tmp_path):
    port = several.find_port()
    started = []
    for index, epochs in enumerate((2, 3)):
        command = arguments(tmp_path / "run", train__epochs=epochs)
        flags = several.place(index, 2, port)
        started.append(several.start(["-m", "jaxcap.train", *command, *flags]))
    for process in several.wait(started):
        assert process.code == 2
        errors = [line for line in process.err.splitlines() if line.startswith("error")]
        assert errors == [
            "error: process 1 has another --config.train.epochs than the first process (3, not 2): "
            "start all with the same command, version and files"
        ]
    assert not (tmp_path / "run").exists()


ENDING = """
import sys

from jaxcap import errors, process_flags, processes

def main():
    with processes.join(process_flags.read_processes(sys.argv[1:])):
        assert processes.tell(lambda: [1, None]) == [1, None]
        assert processes.gather_texts("x" * 2000 * processes.get_index()) == ["", "x" * 2000]
        try:
            with processes.fail_together():
                if not processes.is_first():
                    raise errors.UserError("one's own mistake")
        except errors.UserError as error:
            print(error, file=sys.__stdout__, flush=True)
        if not processes.is_first():
            raise errors.UserError("a mistake that the others cannot know")
        processes.gather_texts("")

errors.exit_with(main)
"""


@pytest.mark.slow
def test_a_mistake_in_one_process_ends_all_of_them_in_a_line_each():
    first, second = several.run(["-c", ENDING], 2)
    assert (first.code, second.code) == (2, 2), first.err
    assert "process 1: one's own mistake" in first.out
    assert second.out.splitlines()[-1] == "one's own mistake"
    assert "error: another process has ended or cannot be reached" in first.err
    assert second.err.splitlines()[-1] == "error: a mistake that the others cannot know"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("index", "said"),
    [(0, "not all 2 processes have joined"), (1, "the processes have not found each other")],
)
def test_a_process_that_stays_alone_ends_in_one_line(index, said, tmp_path):
    command = ["-m", "jaxcap.train", *arguments(tmp_path / "run")]
    flags = several.place(index, 2, several.find_port(), wait=1)
    (ended,) = several.wait([several.start([*command, *flags])])
    assert ended.code == 2
    assert ended.err.startswith(f"error: {said}")
    assert ended.err.count("\n") == 1


def test_flags_tell_which_process_this_is():
    place = process_flags.read_processes(["--config", "x", *several.place(1, 3, 1234, wait=9)])
    assert place is not None
    assert vars(place) == {"coordinator": "localhost:1234", "count": 3, "index": 1, "wait": 9}
    assert process_flags.read_processes(["--config", "x"]) is None
    found_by_jax = process_flags.read_processes(["--distributed"])
    assert found_by_jax is not None and not found_by_jax.coordinator


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--processes 2 --process 1", "belong together: --coordinator is missing"),
        ("--coordinator a:1", "--processes and --process are missing"),
        ("--coordinator a:1 --processes 2 --process 2", "of 2 processes the last is 1"),
        ("--coordinator a --processes 2 --process 1", "a: must be HOST:PORT"),
        ("--coordinator a:x --processes 2 --process 1", "a:x: must be HOST:PORT"),
        ("--coordinator a:1 --processes 0 --process 0", "must be a whole number from 1"),
        ("--distributed --process 1", "leave it out, or --process"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(typed, said):
    with pytest.raises(UserError, match=said):
        process_flags.read_processes(typed.split())


def test_a_port_in_use_is_one_line():
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        place = processes.Place(f"localhost:{other.getsockname()[1]}", 2, 0, 1)
        with pytest.raises(UserError, match="cannot be used here"), processes.join(place):
            pass
