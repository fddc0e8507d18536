"""Fixtures that several files share."""

import gc
import os
import time
from pathlib import Path

import jax
import pytest

from tests import small_denoiser, small_run
from tests.xla_flags import compile_quickly, virtual_devices

MAPS = Path("/proc/self/maps")
MOST_MAPS = 20_000
# The files that take longest, the longest first.
SLOWEST = (
    "test_kills.py",
    "test_published.py",
    "test_processes.py",
    "test_eight_devices.py",
    "training/test_replicas.py",
    "test_train.py",
    "ablation/test_cells.py",
    "training/test_self_critical.py",
    "training/test_spans.py",
    "training/test_train_step.py",
    "test_caption.py",
    "decoding/test_search.py",
    "models/test_decoder.py",
    "test_bench.py",
    "experiment/test_stages.py",
)


def pytest_addoption(parser):
    parser.addoption(
        "--devices",
        type=int,
        metavar="N",
        help="run on N virtual devices of this machine's processor",
    )
    parser.addoption(
        "--optimized",
        action="store_true",
        help="compile as training does: tests compile with few optimisations, many times faster",
    )


def pytest_configure(config):
    """Sets the flags of XLA, also for the commands that tests start, before JAX reads them."""
    # Of the commands that tests start, what Python compiles is kept.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if not config.getoption("optimized"):
        os.environ.update(compile_quickly())
    if count := config.getoption("devices"):
        os.environ.update(virtual_devices(count))


def pytest_collection_finish():
    """Spares the garbage collector what is imported: tracing makes so many small objects that it
    would look through all of it in every test.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def pytest_collection_modifyitems(items):
    """Begins with the slowest files: one that is long and comes last keeps one process waiting."""
    order = {str(Path(__file__).parent / name): place for place, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: order.get(str(item.path), len(order)))


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory):
    """Compiles what is slow to compile once a session: many tests train the same small captioner
    from the start. With $JAX_COMPILATION_CACHE_DIR it is kept for the next session.
    """
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or tmp_path_factory.mktemp("compiled")
    options = {"jax_compilation_cache_dir": str(folder)}
    options["jax_persistent_cache_min_compile_time_secs"] = 0.2
    with pytest.MonkeyPatch.context() as patch:
        for name, value in options.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))  # of the commands that tests start
        yield


@pytest.fixture(autouse=True)
def few_memory_maps():
    """Lets go of what is compiled where it is much: it lies in memory maps, of which Linux allows a
    process 65,530.
    """
    began = time.monotonic()
    yield
    # They take 15 ms to count, and what compiles takes longer.
    is_long = time.monotonic() - began > 0.1
    if is_long and MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    """A cache folder of this session alone."""
    return tmp_path_factory.mktemp("session_cache")


@pytest.fixture
def cache(session_cache, monkeypatch):
    monkeypatch.setenv("JAXCAP_CACHE", str(session_cache))
    return session_cache


@pytest.fixture(scope="session")
def made_run(session_cache, tmp_path_factory):
    """A run whose encoder was trained along, as `small_run.make` makes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        return small_run.make(tmp_path_factory.mktemp("run") / "trained")


@pytest.fixture(scope="session")
def frozen_run(session_cache, tmp_path_factory):
    """A run with a frozen encoder, which reads cached features."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        return small_run.make(tmp_path_factory.mktemp("run") / "frozen", encoder__rates="*:0")


@pytest.fixture(scope="session")
def made_denoiser(session_cache, tmp_path_factory):
    """A denoiser for the photos of these runs."""
    from jaxcap import denoise

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        folder = tmp_path_factory.mktemp("run") / "denoiser"
        assert denoise.main(small_denoiser.arguments(folder)) == 0
    return folder


@pytest.fixture(scope="session")
def scored(made_run, session_cache):
    """The folder of an evaluation of the validation split of `made_run`."""
    from tests.evaluation.runs import run_command

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        assert run_command(made_run, "--split", "val") == 0
    return made_run / "evaluation" / "val-beam2"
