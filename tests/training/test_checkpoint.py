"""Checkpoints: what goes in comes out, the latest and the best stay, damage is found and walked
past.
"""

import errno
import functools
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxcap.errors import UserError
from jaxcap.training import checkpoint, saved_arrays
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.train_step import train_step
from tests import tiny


@pytest.fixture(scope="module")
def states():
    """A fresh state, the frozen parameters, and the states after one to four steps."""
    fresh, frozen, step = tiny.training(encoder=0, words=0)
    compiled = jax.jit(functools.partial(train_step, **step))
    after = []
    state = fresh
    for n in range(4):
        state, _ = compiled(state, frozen, tiny.batch(4, seed=n))
        after.append(state)
    return fresh, frozen, after


def assert_same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def corrupt(folder):
    """Flips a byte in the middle of every data file: orbax keeps some arrays twice and reads one of
    the copies.
    """
    files = [path for path in folder.rglob("d/*") if path.is_file()]
    assert files
    for path in files:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)


def test_round_trip_is_exact(states, tmp_path):
    fresh, frozen, (state, *_) = states
    saved = Checkpoints(tmp_path / "c")
    assert saved.resume(fresh) is None
    saved.save_frozen(frozen)
    saved.save(state, {"stale": 3, "best_value": 0.1 + 0.2})
    saved.close()
    restored, progress = Checkpoints(tmp_path / "c").resume(fresh)
    assert_same(restored, state)
    assert progress == {"stale": 3, "best_value": 0.1 + 0.2}
    shapes = jax.eval_shape(lambda: frozen)
    assert_same(Checkpoints(tmp_path / "c").restore_frozen(shapes), frozen)


def test_what_is_whole_is_restored_without_orbax_as_with_it(states, tmp_path, monkeypatch):
    fresh, frozen, (state, *_) = states
    saved = Checkpoints(tmp_path)
    saved.save_frozen(frozen)
    saved.save(state, {"n": 1}, 2.0)
    saved.close()

    def restore():
        reader = Checkpoints(tmp_path)
        return reader.restore_best(fresh), reader.restore_frozen(frozen)

    with monkeypatch.context() as patch:
        patch.setattr(saved_arrays, "read_step", lambda _: None)
        patch.setattr(saved_arrays, "read_frozen", lambda *_: None)
        with_orbax = restore()
    with monkeypatch.context() as patch:
        patch.delattr(checkpoint, "_import_store")
        assert_same(restore(), with_orbax)


def test_frozen_parameters_are_written_once_and_in_no_step(states, tmp_path):
    _, frozen, after = states
    saved = Checkpoints(tmp_path)
    saved.save_frozen(frozen)
    saved.wait()
    written = (tmp_path / "frozen.json").stat().st_mtime_ns
    saved.save_frozen(frozen)
    saved.save(after[0], {})
    saved.close()
    assert (tmp_path / "frozen.json").stat().st_mtime_ns == written
    names = (tmp_path / "steps" / "1" / "arrays" / "_METADATA").read_text()
    assert "params.decoder.head" in names
    assert "params.encoder" not in names


def test_the_two_latest_and_the_best_are_kept(states, tmp_path):
    fresh, _, after = states
    saved = Checkpoints(tmp_path)
    for state, loss in zip(after, (2.0, None, 3.0, 4.0), strict=True):
        saved.save(state, {}, loss)
    saved.wait()
    assert saved.steps() == [4, 3, 1]
    assert saved.best_step() == 1
    assert_same(saved.restore(1, fresh)[0], after[0])


def saved_twice(folder, states):
    """Saves steps 1 and 2, both after a validation, and returns the bytes of all files."""
    _, _, after = states
    saved = Checkpoints(folder)
    saved.save(after[0], {"n": 1}, 2.0)
    saved.save(after[1], {"n": 2}, 1.0)
    saved.close()
    return contents(folder)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def flip(step):
    corrupt(step / "arrays")


def truncate(step):
    for path in (step / "arrays").rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


def empty_progress(step):
    os.truncate(step / "progress" / "metadata", 0)


def lose_progress(step):
    (step / "progress" / "metadata").unlink()


def alter_progress(step):
    path = step / "progress" / "metadata"
    text = path.read_text(encoding="utf-8")
    assert '"n": 2' in text
    path.write_text(text.replace('"n": 2', '"n": 3'), encoding="utf-8")


def empty_metrics(step):
    os.truncate(step / "metrics" / "metrics", 0)


DAMAGE = [flip, truncate, empty_progress, lose_progress, alter_progress, empty_metrics]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_step_is_set_aside(states, tmp_path, capfd, damage):
    """The one before comes back, no byte is deleted, and the step can be saved again."""
    fresh, _, after = states
    saved_twice(tmp_path, states)
    damage(tmp_path / "steps" / "2")
    before = contents(tmp_path / "steps" / "2")
    again = Checkpoints(tmp_path)
    restored, progress = again.resume(fresh)
    assert progress == {"n": 1}
    assert_same(restored, after[0])
    assert contents(tmp_path / "damaged" / "2") == before
    said = capfd.readouterr().err
    assert (
        said.count("\n") == 1 and "checkpoint 2" in said and str(tmp_path / "damaged" / "2") in said
    )
    again.save(after[1], {"n": 2}, 1.0)
    again.close()
    assert Checkpoints(tmp_path).resume(fresh)[1] == {"n": 2}


def test_steps_of_one_number_are_set_aside_side_by_side(states, tmp_path):
    fresh, _, after = states
    saved_twice(tmp_path, states)
    for _ in range(2):
        flip(tmp_path / "steps" / "2")
        again = Checkpoints(tmp_path)
        again.resume(fresh)
        again.save(after[1], {"n": 2}, 1.0)
        again.close()
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == ["2", "2-2"]


@pytest.mark.parametrize("damage", [flip, empty_metrics])
def test_when_no_step_is_whole_nothing_is_moved(states, tmp_path, damage):
    fresh, _, _ = states
    saved_twice(tmp_path, states)
    for step in ("1", "2"):
        damage(tmp_path / "steps" / step)
    before = contents(tmp_path)
    with pytest.raises(UserError, match="no checkpoint is whole .checkpoint 2 "):
        Checkpoints(tmp_path).resume(fresh)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        PermissionError(errno.EACCES, "Permission denied"),
        ValueError("UNKNOWN: Error reading local file: Input/output error [os_error_code='5']"),
        MemoryError(),
    ],
    ids=["EIO", "EACCES", "tensorstore", "memory"],
)
def test_a_step_that_cannot_be_read_is_left_alone(states, tmp_path, monkeypatch, error):
    """A disk that does not answer is no proof of damage: the run stops, and all is there when it
    answers again.
    """
    fresh, _, _ = states
    before = saved_twice(tmp_path, states)
    read = ocp.Checkpointer.restore

    def fails(self, directory, *rest, **options):
        if directory.name == "2":
            raise error
        return read(self, directory, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ocp.Checkpointer, "restore", fails)
        patch.setattr(saved_arrays, "read_step", lambda _: None)  # as of whatever it cannot read
        with pytest.raises(
            UserError, match=r"checkpoint 2 .* cannot be read .*nothing was changed"
        ):
            Checkpoints(tmp_path).resume(fresh)
    assert contents(tmp_path) == before
    assert Checkpoints(tmp_path).resume(fresh)[1] == {"n": 2}


@pytest.mark.parametrize(
    "part", ["", "arrays", "arrays/d", "arrays/manifest.ocdbt", "progress", "metrics/metrics"]
)
def test_a_step_without_the_right_to_read_it_is_left_alone(states, tmp_path, part):
    fresh, _, _ = states
    before = saved_twice(tmp_path, states)
    locked = tmp_path / "steps" / "2" / part
    mode = locked.stat().st_mode
    locked.chmod(0)
    try:
        if os.access(locked, os.R_OK):
            pytest.skip("this user may read everything")
        with pytest.raises(
            UserError,
            match=r"checkpoint 2 .* cannot be read .Permission denied.: nothing was changed",
        ):
            Checkpoints(tmp_path).resume(fresh)
    finally:
        locked.chmod(mode)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", [flip, empty_metrics])
def test_reading_changes_nothing(states, tmp_path, damage):
    fresh, _, _ = states
    saved_twice(tmp_path, states)
    damage(tmp_path / "steps" / "2")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="checkpoint 2 .* damaged"):
        reader = Checkpoints(tmp_path)
        reader.restore_best(fresh)
    reader.close()
    assert contents(tmp_path) == before
    assert not (tmp_path / "damaged").exists()


def test_a_reader_makes_no_folder(tmp_path):
    reader = Checkpoints(tmp_path / "c")
    assert (reader.steps(), reader.best_step()) == ([], None)
    reader.close()
    assert not list(tmp_path.iterdir())


def test_what_a_kill_leaves_is_removed(states, tmp_path):
    """A save that was not finished, and an older step that was about to be deleted."""
    fresh, _, after = states
    saved = Checkpoints(tmp_path)
    for state, value in zip(after, (2.0, 1.0, None, None), strict=True):
        saved.save(state, {}, value)
    saved.close()
    before = contents(tmp_path)
    shutil.copytree(tmp_path / "steps" / "4" / "arrays", tmp_path / "steps" / "1" / "arrays")
    for name in ("frozen", "steps/5"):
        (tmp_path / f"{name}.orbax-checkpoint-tmp-1").mkdir()
        (tmp_path / f"{name}.orbax-checkpoint-tmp-1" / "arrays").write_text("half")
    assert Checkpoints(tmp_path).resume(fresh) is not None
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError(
            "RESOURCE_EXHAUSTED: Failed writing: No space left on device [os_error_code='28']"
        ),
    ],
    ids=["system", "tensorstore"],
)
@pytest.mark.parametrize("when", ["save", "wait_until_finished"])
def test_a_full_disk_is_one_line_and_keeps_the_step_before(
    states, tmp_path, monkeypatch, when, error
):
    fresh, _, after = states
    saved = Checkpoints(tmp_path)
    saved.save(after[0], {"n": 1}, 2.0)
    saved.wait()

    def full(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, when, full)
        with pytest.raises(UserError, match="no space left on disk while writing"):
            saved.save(after[1], {"n": 2}, 1.0)
            saved.wait()
    assert Checkpoints(tmp_path).resume(fresh)[1] == {"n": 1}


@pytest.mark.parametrize("part", ["params", "opt_state", "ema"])
def test_what_is_not_finite_is_never_written(states, tmp_path, part):
    _, _, after = states
    before = saved_twice(tmp_path, states)
    saved = Checkpoints(tmp_path)
    spoilt = jax.tree.map(
        lambda x: x + jnp.nan if x.dtype == jnp.float32 else x, getattr(after[2], part)
    )
    with pytest.raises(FloatingPointError, match=f"after step 3 {part}.* is not finite"):
        saved.save(after[2].replace(**{part: spoilt}), {})
    with pytest.raises(FloatingPointError, match="after step 3 validation is not finite"):
        saved.save(after[2], {}, float("nan"))  # which would be the best there is
    saved.close()
    assert contents(tmp_path) == before


def test_damaged_frozen_parameters_are_an_error(states, tmp_path):
    _, frozen, _ = states
    saved = Checkpoints(tmp_path)
    saved.save_frozen(frozen)
    saved.wait()
    corrupt(tmp_path / "frozen")
    with pytest.raises(UserError, match="frozen"):
        saved.restore_frozen(frozen)


def test_another_model_is_an_error(states, tmp_path):
    _, _, after = states
    saved = Checkpoints(tmp_path)
    saved.save(after[0], {})
    saved.close()
    other, _, _ = tiny.training(encoder=0, words=0, head__deep_output=True)
    with pytest.raises(UserError, match="cannot be read|damaged"):
        Checkpoints(tmp_path).restore(1, other)
