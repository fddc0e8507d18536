"""A captioner behind a denoiser: trained, restored and evaluated through it, or through another."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxcap import caption, compare, evaluate, parallel, train
from jaxcap.denoising.restore import restore_denoiser
from jaxcap.errors import UserError
from jaxcap.evaluation import splits
from jaxcap.experiment import inputs, restore, workdir
from jaxcap.inputs.noise import Noise
from jaxcap.training.checkpoint import Checkpoints
from tests import small_run
from tests.evaluation.runs import from_file, read, run_command

pytestmark = pytest.mark.usefixtures("cache")
NOISE = ("--noise", "gaussian=0.2,salt_and_pepper=0.1")


@pytest.fixture(scope="module")
def behind(session_cache, made_denoiser, tmp_path_factory):
    """`frozen_run` behind a denoiser whose folder is gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        folder = tmp_path_factory.mktemp("run")
        shutil.copytree(made_denoiser, folder / "denoiser")
        options = {"encoder__rates": "*:0", "encoder__denoiser": folder / "denoiser"}
        small_run.make(folder / "behind", **options)
        shutil.rmtree(folder / "denoiser")
    return folder / "behind"


def features(run, noise=None):
    _, split = splits.load_scored(run.config, "val")
    read_features = inputs.open_plain_inputs(run, split, noise=noise)
    rows = np.arange(len(split))
    return read_features(rows, np.zeros_like(rows), [(0, 0, 0)] * len(rows))["features"]


def test_the_run_keeps_its_denoiser_frozen_and_needs_its_folder_no_more(behind, made_denoiser):
    run = restore.restore_best(behind)
    denoiser = restore_denoiser(made_denoiser, 32)
    kept = run.params["encoder"]["denoiser"]
    jax.tree.map(np.testing.assert_array_equal, kept, denoiser.params)
    assert set(jax.tree.leaves(run.rates["encoder"]["denoiser"])) == {0.0}
    assert run.encoder_info["denoiser"]["fingerprint"] == denoiser.info["fingerprint"]
    frozen = workdir.load_contents(behind).encoder
    assert frozen == run.encoder_info["fingerprint"]
    assert frozen.endswith(f"-denoiser-{denoiser.info['fingerprint']}")


def test_features_follow_the_denoiser_and_the_noise(behind, frozen_run, made_denoiser):
    """Each of four ways has its own, in a cache of its own; put in later or trained with is one."""
    bare = restore.restore_best(frozen_run)
    run = restore.restore_best(behind)
    noise = Noise(0.2, 0.1)
    found = [features(bare), features(bare, noise), features(run), features(run, noise)]
    for first in range(4):
        for second in range(first):
            assert not np.array_equal(found[first], found[second])
    _, split = splits.load_scored(bare.config, "val")
    places = [
        inputs._locate_features(of_run, split, inputs.PLAIN, of_noise)[0]
        for of_run in (bare, run)
        for of_noise in (None, noise)
    ]
    assert len(set(places)) == 4 and all(path.is_dir() for path in places)
    later = restore.choose_denoiser(bare, made_denoiser)
    assert later.encoder_info["fingerprint"] == run.encoder_info["fingerprint"]
    without = restore.choose_denoiser(run, "none")
    assert without.encoder_info["fingerprint"] == bare.encoder_info["fingerprint"]
    assert "denoiser" not in without.params["encoder"]
    np.testing.assert_array_equal(features(without), found[0])
    assert restore.choose_denoiser(run, None) is run


def test_a_trained_encoder_sees_the_same_noise(frozen_run):
    """Photos read in each step are those of which features are cached."""
    run = restore.restore_best(frozen_run)
    _, split = splits.load_scored(run.config, "val")
    photos = inputs._open_photos(run.config, split, augment=False, noise=Noise(0.2, 0.1))
    rows = np.arange(len(split))
    batch = photos(rows, rows, [(0, 0, 0)] * len(rows))
    encode = parallel.compile_per_image(
        lambda params, photos: run.model.apply({"params": params}, photos, method="encode")
    )
    encoded = encode(run.params, batch["images"])
    np.testing.assert_allclose(encoded, features(run, Noise(0.2, 0.1)), atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("rates", ["*:0", "*:1"])
def test_training_leaves_the_denoiser_as_it_is_and_resumes(made_denoiser, tmp_path, rates):
    values = small_run.SMALL | {"train.epochs": 1, "encoder.rates": rates, "show.captions": 0}
    options = [f"--config.{key}={value}" for key, value in values.items()]
    folder = tmp_path / "run"
    command = ["--config", "quickstart", "--workdir", str(folder), *options]
    assert train.main([*command, f"--config.encoder.denoiser={made_denoiser}"]) == 0
    kept = restore.restore_best(folder).params["encoder"]["denoiser"]
    jax.tree.map(np.testing.assert_array_equal, kept, restore_denoiser(made_denoiser, 32).params)
    with pytest.raises(UserError, match="encoder: other weights"):
        train.main([*command, "--config.encoder.denoiser="])
    moved = tmp_path / "moved"
    shutil.copytree(made_denoiser, moved)
    assert train.main([*command, f"--config.encoder.denoiser={moved}"]) == 0


def test_an_evaluation_says_what_was_done_to_the_photos(behind, made_denoiser, capsys):
    own = from_file_of(behind)
    assert own.run.denoiser.own and not own.run.other_denoiser
    assert own.data.noise is None and "noise" not in own.signature
    fingerprint = own.run.denoiser.fingerprint
    clean = capsys.readouterr().out.splitlines()[0]
    noisy = from_file_of(behind, *NOISE, folder="val-beam2-gaussian0.2-salt_and_pepper0.1")
    assert noisy.data.noise == {"gaussian": 0.2, "salt_and_pepper": 0.1}
    assert "|noise:gaussian=0.2,salt_and_pepper=0.1|" in noisy.signature
    told = capsys.readouterr().out.splitlines()[0]
    assert told == f"{clean}, with noise (gaussian 0.2, salt_and_pepper 0.1)"
    without = from_file_of(behind, "--denoiser", "none", folder="val-beam2-denoiser_none")
    assert without.run.denoiser is None and "|denoiser:none|" in without.signature
    assert capsys.readouterr().out.splitlines()[0] == f"{clean}, without its denoiser"
    same = from_file_of(behind, "--denoiser", str(made_denoiser))
    assert same.signature == own.signature and same.scores == own.scores
    assert fingerprint == restore_denoiser(made_denoiser, 32).info["fingerprint"]


def from_file_of(run, *options, folder="val-beam2"):
    assert run_command(run, "--split", "val", *options) == 0
    return from_file(run / "evaluation" / folder)


def test_a_run_trained_without_a_denoiser_is_evaluated_behind_one(
    frozen_run, made_denoiser, tmp_path, capsys
):
    """Scores with and without can be set side by side, and the baselines see the noise too."""
    short = restore_denoiser(made_denoiser, 32).info["fingerprint"][:8]
    options = [*NOISE, "--denoiser", str(made_denoiser), "--baselines", "all"]
    name = f"val-beam2-gaussian0.2-salt_and_pepper0.1-denoiser_{short}"
    result = from_file_of(frozen_run, *options, folder=name)
    assert result.run.denoiser.source == str(made_denoiser) and not result.run.denoiser.own
    assert f"denoised by {made_denoiser}" in capsys.readouterr().out.splitlines()[0]
    assert "nearest" in [baseline.name for baseline in result.baselines]
    from_file_of(frozen_run)
    capsys.readouterr()
    folder = frozen_run / "evaluation"
    assert compare.main([str(folder / name), str(folder / "val-beam2"), "--json"]) == 0
    _, second = json.loads(capsys.readouterr().out)
    assert second["differences"]
    assert f"denoiser: {short} -> None" in second["signature_differs"]


def test_captions_are_written_behind_a_denoiser(frozen_run, made_denoiser, tmp_path, capsys):
    _, split = splits.load_scored(restore.restore_best(frozen_run).config, "val")
    photo = tmp_path / "photo.png"
    photo.write_bytes(split.photo(0))
    told = []
    for options in ([], ["--denoiser", str(made_denoiser)], ["--denoiser", "none"]):
        command = ["--workdir", str(frozen_run), "--json", str(photo), *options]
        assert caption.main(command) == 0
        told.append(json.loads(capsys.readouterr().out)[0]["log_prob"])
    assert told[0] == told[2] != told[1]


def unfinished(made_denoiser, folder):
    shutil.copytree(made_denoiser, folder)
    (folder / "scores.json").unlink()


def damaged(made_denoiser, folder):
    shutil.copytree(made_denoiser, folder)
    best = Checkpoints(folder / "checkpoints").best_step()
    shutil.rmtree(folder / "checkpoints" / "steps" / str(best) / "arrays")


def widened(made_denoiser, folder):
    shutil.copytree(made_denoiser, folder)
    file = folder / "denoiser.json"
    config = json.loads(file.read_text())
    config["denoiser"]["widths"] = [5, 6]
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("make", "size", "said"),
    [
        (None, 32, "no denoiser in .*: it holds no denoiser.json .train one with jaxcap denoise"),
        (lambda _, folder: folder.touch(), 32, "no denoiser in .*: that is a file"),
        (unfinished, 32, "the denoiser in .* has not finished training"),
        (shutil.copytree, 40, "trained on photos of 32 pixels a side and not of images.size=40"),
        (damaged, 32, "is damaged, or of another model"),
        (widened, 32, "of another model than its denoiser.json tells"),
    ],
    ids=["missing", "a file", "unfinished", "another size", "damaged", "widened"],
)
def test_a_denoiser_that_cannot_serve_is_one_line(made_denoiser, tmp_path, make, size, said):
    if make:
        make(made_denoiser, tmp_path / "denoiser")
    values = small_run.SMALL | {"images.size": size, "encoder.denoiser": tmp_path / "denoiser"}
    options = [f"--config.{key}={value}" for key, value in values.items()]
    with pytest.raises(UserError, match=said) as mistake:
        train.main(["--config", "quickstart", "--workdir", str(tmp_path / "run"), *options])
    assert "\n" not in str(mistake.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--noise", "rain=1"], "rain=1: must be gaussian=LEVEL, salt_and_pepper=LEVEL, or both"),
        (["--noise", "gaussian"], "gaussian: must be gaussian=LEVEL"),
        (["--noise", "gaussian=2"], "argument --noise: 2: must be a number of at least 0"),
        (["--noise", "gaussian=0.1,gaussian=0.2"], "or both with a comma"),
        (["--noise", "gaussian=0"], "gaussian=0: must be above 0 for some kind"),
        (["--noise", ""], "must be gaussian=LEVEL"),
        (["--denoiser", ""], "argument --denoiser: the path is empty"),
        (["--denoiser", "/nowhere"], "no denoiser in /nowhere"),
        (["--denoiser", "RUN"], "no denoiser in .*: it holds no denoiser.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_flag_is_one_line(frozen_run, options, said):
    options = [str(frozen_run) if option == "RUN" else option for option in options]
    with pytest.raises(UserError, match=said) as mistake:
        evaluate.main(["--workdir", str(frozen_run), "--split", "val", *options])
    assert "\n" not in str(mistake.value)


def test_a_run_older_than_denoisers_is_read_and_resumed_as_one_without(frozen_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(frozen_run, folder, ignore=shutil.ignore_patterns("evaluation"))
    config = read(folder, "config.json")
    del config["encoder"]["denoiser"]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    run = restore.restore_best(folder)
    assert run.config.encoder.denoiser == ""
    assert workdir.check_config(folder, restore.restore_best(Path(frozen_run)).config)
    np.testing.assert_array_equal(features(run), features(restore.restore_best(frozen_run)))
