"""Training a denoiser: noise that belongs to the photo, the objective, one device equals eight."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcap import devices, parallel
from jaxcap.models.denoiser import Denoiser
from jaxcap.scores.image_quality import psnr
from jaxcap.training.denoising import NoisyDenoiser, Reconstruction, add_noise
from jaxcap.training.train_step import create_state, measure_step, train_step
from tests.training.test_train_step import leaves
from tests.xla_flags import virtual_devices

MODEL = NoisyDenoiser(Denoiser((4, 6)), gaussian=0.1, salt_and_pepper=0.1)


def batch(photos, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (photos, size, size, 3)).astype(np.uint8),
        "noise_seeds": rng.integers(2**31, size=photos).astype(np.int32),
        "rows": np.arange(photos, dtype=np.int32),
        "real": np.ones(photos, bool),
    }


def take(batch, rows):
    return {name: array[rows] for name, array in batch.items()}


@functools.cache
def params():
    with jax.ensure_compile_time_eval():
        return jax.jit(MODEL.init)(jax.random.key(0), batch(1))["params"]


@jax.jit
def noisy(batch):
    return MODEL.apply({"params": params()}, batch)[1]


def test_noise_on_the_device_has_its_statistics():
    grey = jnp.full((1, 300, 400, 3), 0.5)
    keys = jax.random.key(0)[None]
    gaussian = np.asarray(add_noise(grey, keys, 0.1, 0.0), np.float64) - 0.5
    assert abs(gaussian.mean()) < 5 * 0.1 / gaussian.size**0.5
    assert gaussian.std() == pytest.approx(0.1, rel=0.01)
    salted = np.asarray(add_noise(grey, keys, 0.0, 0.2))
    changed = (salted != 0.5).all(-1)
    assert ((salted != 0.5).any(-1) == changed).all()
    assert changed.mean() == pytest.approx(0.2, abs=0.005)
    assert (salted[changed] == 1).mean() == pytest.approx(0.5, abs=0.02)
    both = np.asarray(add_noise(jnp.zeros_like(grey), keys, 0.3, 0.5))
    assert (both == 1).all(-1).mean() == pytest.approx(0.25, abs=0.01)
    assert both.min() == 0 and both.max() == 1


def test_a_photos_noise_does_not_depend_on_its_batch():
    whole = batch(6)
    order = np.array([4, 0, 5])
    np.testing.assert_array_equal(noisy(take(whole, order)), noisy(whole)[order])
    other = {**whole, "noise_seeds": whole["noise_seeds"] + 1}
    assert not np.allclose(noisy(other), noisy(whole))


def test_noisy_photos_are_denoised_as_they_are():
    given = batch(2)
    given["noisy"] = batch(2, seed=1)["images"]
    np.testing.assert_allclose(noisy(given), given["noisy"] / 255, rtol=1e-6)


def test_the_objective_measures_error_and_psnr_without_filling():
    given = batch(3)
    given["real"] = np.array([True, True, False])
    denoised, with_noise = jax.jit(MODEL.apply)({"params": params()}, given)
    terms, metrics = Reconstruction()(denoised, with_noise, given)
    clean = given["images"] / 255
    errors = [np.square(denoised[i] - clean[i]).mean() for i in range(2)]
    (term,) = terms
    assert term.weight == 1 and term.count == 2
    assert term.total == pytest.approx(sum(errors), rel=1e-5)
    for name, photos in (("PSNR", denoised), ("noisy_PSNR", with_noise)):
        wanted = [psnr(clean[i], np.asarray(photos[i]), 1.0) for i in range(2)]
        assert metrics[name][0] / metrics[name][1] == pytest.approx(np.mean(wanted), rel=1e-5)
    equal = Reconstruction()(jnp.asarray(clean), with_noise, given)[1]
    assert equal["PSNR"][0] / 2 == pytest.approx(100, abs=1)


def start():
    optimizer = optax.sgd(0.5, momentum=0.9)
    state = create_state(params(), optimizer, ema=True)
    frozen = jax.tree.map(lambda _: optax.MaskedNode(), params())
    step = functools.partial(
        train_step,
        model=MODEL,
        optimizer=optimizer,
        objective=Reconstruction(),
        seed=3,
        ema_decay=0.5,
    )
    return state, frozen, step


def test_filling_changes_no_update():
    whole = batch(4)
    filled = take(whole, np.array([0, 1, 2, 3, 0, 0]))
    filled["real"] = np.arange(6) < 4
    state, frozen, step = start()
    compiled = jax.jit(step)
    one = leaves(compiled(state, frozen, whole))
    for name, value in leaves(compiled(state, frozen, filled)).items():
        np.testing.assert_allclose(value, one[name], atol=1e-6, rtol=1e-4, err_msg=name)


def test_training_takes_noise_out():
    """Two hundred steps on smooth photos leave them nearer to the clean ones than the noise was."""
    across, down = np.meshgrid(np.linspace(0, 255, 32), np.linspace(255, 0, 32))
    photos = np.stack([np.stack([across, down, (across + down) / 2], -1)] * 4).astype(np.uint8)
    given = batch(4) | {"images": photos}
    optimizer = optax.adam(0.01)
    _, frozen, step = start()
    compiled = jax.jit(functools.partial(step, optimizer=optimizer))
    state = create_state(params(), optimizer, ema=False)
    rng = np.random.default_rng(0)
    for _ in range(200):
        seeds = rng.integers(2**31, size=4).astype(np.int32)
        state, metrics = compiled(state, frozen, given | {"noise_seeds": seeds})
    assert metrics["PSNR"][0] / 4 > metrics["noisy_PSNR"][0] / 4 + 6


def devices_run(folder: Path) -> None:
    """Saves what came of steps and a measurement on all devices."""
    state, frozen, step = start()
    compiled = parallel.compile_train_step(step)
    for n in range(3):
        state, metrics = compiled(state, frozen, batch(16, seed=n))
    measure = functools.partial(measure_step, model=MODEL, objective=Reconstruction())
    results = {
        "state": state,
        "metrics": metrics,
        "validation": parallel.compile_eval_step(measure)(state.params, batch(16, seed=9)),
        "devices": jnp.array(devices.device_count()),
    }
    np.savez(folder / "results.npz", **leaves(results))


@pytest.mark.slow
def test_one_device_equals_eight(tmp_path):
    """State and sums, noise and all, agree to float32 rounding."""
    results = []
    for count in (1, 8):
        folder = tmp_path / str(count)
        folder.mkdir()
        code = (
            "from pathlib import Path; from tests.training.test_denoising import devices_run; "
            f"devices_run(Path({str(folder)!r}))"
        )
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            env=os.environ | virtual_devices(count),
            cwd=Path(__file__).parents[2],
        )
        results.append(dict(np.load(folder / "results.npz")))
    one, eight = results
    assert (one.pop("['devices']"), eight.pop("['devices']")) == (1, 8)
    assert one.keys() == eight.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, eight[name], atol=2e-5, rtol=2e-4, err_msg=name)
