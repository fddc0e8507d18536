"""Runs that train the last stage of the encoder on cached grids of what is below it."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap import evaluate, parallel, train
from jaxcap.experiment import config as configs
from jaxcap.experiment import inputs
from jaxcap.experiment.build import build_experiment, build_model, describe, draw_params
from jaxcap.experiment.phases import build_phases
from jaxcap.experiment.restore import restore_best
from jaxcap.inputs.batches import TrainingBatches
from jaxcap.inputs.features import cache_key
from jaxcap.models.encoder import Encoder
from jaxcap.training.partition import combine, partition
from jaxcap.training.stacking import Stacking
from tests import small_run
from tests.evaluation.runs import photo_folder

pytestmark = pytest.mark.usefixtures("cache")
VALUES = small_run.SMALL | {
    "data.name": "folder",
    "encoder.rates": "layer2_*:0.5@2,*:0",
    "images.resize": 36,
    "images.augment": "views",
    "train.epochs": 2,
    "train.batch_size": 8,
    "train.weight_decay": 0.1,
    "train.select": "CIDEr-D",
    "self_critical.epochs": 1,
    "show.captions": 0,
}
STEPS = 3  # an epoch
ONE = (Stacking(1, None, shares_batch=True), (small_run.SMALL["seed"],))  # model


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "photos"
    return photo_folder(folder, ["train"] * 24 + ["val"] * 4 + ["test"] * 3)


def options(photos, **overrides):
    values = VALUES | {key.replace("__", "."): value for key, value in overrides.items()}
    values["data.dir"] = photos
    return [f"--config.{key}={value}" for key, value in values.items()]


def build(photos, **overrides):
    return build_experiment(configs.load(str(small_run.QUICKSTART), options(photos, **overrides)))


@pytest.fixture(scope="module")
def experiment(photos, session_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        return build(photos)


def change(experiment, photos, **overrides):
    """The same run with other values of its config, cut as these want it; nothing is drawn anew."""
    config = configs.load(str(small_run.QUICKSTART), options(photos, **overrides))
    model = build_model(config, experiment.vocabulary, experiment.encoder_info)
    return dataclasses.replace(experiment, config=config, model=model)


def read_all(read, split):
    rows = np.arange(len(split))
    return read(rows, np.zeros_like(rows), [(0, 0, 0)] * len(rows))


def copy_backbone(params):
    """The encoder's modules by name, on the host: a step donates its state."""
    return jax.device_get(params["encoder"]["backbone"])


def assert_still(before, after, names):
    for name in names:
        jax.tree.map(np.testing.assert_array_equal, before[name], after[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "begins"), [("layer2_*:0.5@2,*:0", 1), ("layer2_*:0.5@3,*:0", 2)]
)
def test_only_the_last_stage_moves_and_only_from_its_epoch_on(photos, rates, begins):
    """All else of the encoder stays bit for bit, and before its epoch so does the stage.

    Epochs count on over the phases: after two of teacher forcing, the third is self-critical.
    """
    experiment = build(photos, encoder__rates=rates)
    inputs_, views = inputs.open_training_inputs(experiment)
    batches = TrainingBatches(inputs_, experiment.captions["train"], views, 8, "all", 0)
    assert len(batches) == STEPS and views == 2
    trainable, frozen = partition(experiment.params, experiment.rates)
    first = copy_backbone(experiment.params)
    epoch = 0
    step = 0
    for phase in build_phases(experiment, STEPS):
        state = phase.create_state(trainable).replace(step=jnp.int32(step))
        take_step = phase.build_step(*ONE)
        for _ in range(phase.epochs):
            for number, batch in enumerate(batches.iterate_epoch(epoch)):
                state, _ = take_step(state, frozen, batch)
                for params in (state.params, state.ema):
                    now = copy_backbone(combine(params, frozen))
                    assert_still(first, now, ["conv1", "layer1_0"])
                    if epoch < begins:
                        assert_still(first, now, ["layer2_0"])
                    elif number:
                        kernel = now["layer2_0"]["conv3"]["kernel"]
                        assert (kernel != first["layer2_0"]["conv3"]["kernel"]).any()
            epoch += 1
        step = int(state.step)
        trainable = state.eval_params
    assert epoch == 3


def test_the_cache_holds_what_enters_the_stage(experiment):
    """Bit for bit the half-precision grid of the photos, and a step on it is one on the photos."""
    split = experiment.splits["train"]
    assert experiment.model.encoder.entry == 2
    read, _ = inputs.open_training_inputs(experiment)
    cached = read_all(read, split)
    assert cached["grid"].dtype == np.float16 and cached["grid"].shape == (24, 8 * 8, 16)
    read = inputs._open_photos(experiment.config, split, augment=False)
    pictures = read_all(read, split)
    encode = parallel.compile_per_image(
        lambda params, photos: experiment.model.apply(
            {"params": params}, photos, method="encode_lower"
        ).astype(jnp.float16)
    )
    size = experiment.config.encoder.batch_size
    padded = parallel.pad_batch(pictures["images"], size)
    np.testing.assert_array_equal(encode(experiment.params, padded)[:24], cached["grid"])

    tokens = {"tokens": experiment.captions["train"].tokens}

    def loss(params, batch):
        logits, _ = experiment.model.apply({"params": params}, batch | tokens)
        return (logits**2).mean()

    compiled = jax.jit(jax.value_and_grad(loss))
    on_grid, grid_grads = compiled(experiment.params, cached)
    on_photos, photo_grads = compiled(experiment.params, pictures)
    np.testing.assert_allclose(on_grid, on_photos, rtol=1e-3)
    upper = [grads["encoder"]["backbone"]["layer2_0"] for grads in (grid_grads, photo_grads)]
    for ours, theirs in zip(*map(jax.tree.leaves, upper), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-2 * np.abs(theirs).max())


def test_the_caches_of_other_cuts_have_other_keys(photos, experiment):
    """Those of regions keep the key that they had before grids were cached."""
    split = experiment.splits["train"]
    places = {}
    for rates in ("*:0", "layer2_*:1,*:0", "layer1_*:1,*:0"):
        run = change(experiment, photos, encoder__rates=rates)
        _, places[rates] = inputs._locate_features(run, split, ("plain",))
    assert len(set(places.values())) == 3
    before = {"views": ("plain",), "resize": 36, "size": 32, "levels": 2}
    fingerprint = experiment.encoder_info["fingerprint"]
    assert places["*:0"] == cache_key(fingerprint, before, split.photos)
    # What is above the cut changes nothing of the grids.
    other = change(experiment, photos, encoder__levels=1, encoder__rates="layer2_*:0.1,*:0")
    assert inputs._locate_features(other, split, ("plain",))[1] == places["layer2_*:1,*:0"]


@pytest.mark.parametrize(
    ("overrides", "entry", "kind"),
    [
        ({"encoder__rates": "*:1", "images__augment": "none"}, 0, "images"),
        ({"encoder__rates": "conv1/*:1,*:0", "images__augment": "none"}, 0, "images"),
        ({"encoder__rates": "layer9_*:1,*:0", "images__augment": "none"}, 0, "images"),
        ({"encoder__rates": "*:0"}, 0, "features"),
        ({"images__augment": "none"}, 2, "grid"),
        ({"images__augment": "free"}, 2, "images"),
    ],
)
def test_what_training_reads(experiment, photos, overrides, entry, kind):
    run = change(experiment, photos, **overrides)
    assert run.model.encoder.entry == entry
    read, _ = inputs.open_training_inputs(run)
    assert set(read(np.arange(2), np.zeros(2, int), [(0, 0, 0)] * 2)) == {kind}


def test_a_run_begins_by_saying_what_learns_later(experiment):
    (line,) = [line for line in describe(experiment) if line.startswith("from epoch")]
    backbone = experiment.params["encoder"]["backbone"]
    count = sum(leaf.size for leaf in jax.tree.leaves(backbone["layer2_0"]))
    assert line == (
        f"from epoch 2 on: {count:,} of the trained parameters, which stay as they are before"
    )


@pytest.mark.slow
def test_a_run_is_trained_resumed_restored_and_evaluated(photos, tmp_path, monkeypatch, capsys):
    """Validation and evaluation run the upper stage alone on cached grids of their photos."""
    lower = Encoder.lower
    calls = []
    monkeypatch.setattr(
        Encoder, "lower", lambda self, images: calls.append(images.shape) or lower(self, images)
    )
    folder = tmp_path / "run"
    cache = tmp_path / "features"
    command = ["--config", str(small_run.QUICKSTART), "--workdir", str(folder), *options(photos)]
    command.append(f"--config.images.cache_dir={cache}")
    assert train.main(command) == 0
    assert train.main(command) == 0
    run = restore_best(folder)
    first = draw_params(run.config, run.model)["encoder"]["backbone"]
    now = run.params["encoder"]["backbone"]
    assert_still(first, now, ["conv1", "layer1_0"])
    assert evaluate.main(["--workdir", str(folder), "--split", "test", "--beam", "2"]) == 0
    shapes = [json.loads(path.read_text())["shape"] for path in cache.glob("*/meta.json")]
    assert sorted(shapes) == [[3, 1, 64, 16], [4, 1, 64, 16], [24, 2, 64, 16]]
    del calls[:]
    assert evaluate.main(["--workdir", str(folder), "--split", "test", "--beam", "3"]) == 0
    assert set(calls) <= {(1, 32, 32, 3)}, "the lower stages ran again, for more than their shape"


def test_features_of_another_dtype_have_a_cache_of_their_own(photos):
    keys = set()
    for dtype in ("float32", "bfloat16"):
        run = build(photos, encoder__rates="*:0", encoder__dtype=dtype)
        assert run.model.encoder.backbone.arithmetic.dtype == dtype
        keys.add(inputs._locate_features(run, run.splits["train"], ("plain",))[1])
    assert len(keys) == 2
