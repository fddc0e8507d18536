"""Ensembles from workdirs: what is restored, which runs do not fit, and what the commands say."""

import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcap import caption, compare, evaluate
from jaxcap.errors import UserError
from jaxcap.evaluation import tables
from jaxcap.experiment.ensembles import check_fits, check_same_data, restore_ensemble
from jaxcap.experiment.replicas import list_replicas
from jaxcap.experiment.restore import restore_best
from jaxcap.text import Vocabulary
from tests import small_run
from tests.evaluation.runs import from_file, read

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def gru_run(session_cache, tmp_path_factory):
    """A run with the frozen encoder of `frozen_run` and another decoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        folder = tmp_path_factory.mktemp("run") / "gru"
        return small_run.make(folder, encoder__rates="*:0", decoder__cell="gru", decoder__hidden=10)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "noise.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_one_run_is_restored_as_by_itself(frozen_run):
    one = restore_ensemble([frozen_run])
    alone = restore_best(frozen_run)
    assert (one.folder, one.members, one.model) == (alone.folder, (), alone.model)
    jax.tree.map(np.testing.assert_array_equal, one.params, alone.params)


def test_a_shared_frozen_encoder_is_kept_once(frozen_run, gru_run):
    run = restore_ensemble([frozen_run, gru_run])
    assert (run.folder, run.config) == (frozen_run, restore_best(frozen_run).config)
    assert [member.folder for member in run.singles] == [frozen_run, gru_run]
    assert run.model.shares_encoder
    assert run.params["members_0"].keys() == {"encoder", "decoder"}
    assert run.params["members_1"].keys() == {"decoder"}
    first, second = (member.params["encoder"] for member in run.members)
    assert all(a is b for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))
    assert jax.tree.structure(run.rates) == jax.tree.structure(run.params)


def replica_folder(folder, runs):
    """Writes a run of replicas whose ordinary workdirs are copies of `runs`."""
    config = read(runs[0], "config.json")
    config["train"]["replicas"] = len(runs)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    paths = []
    for seed, run in enumerate(runs, config["seed"]):
        paths.append(folder / f"seed_{seed}")
        shutil.copytree(run, paths[-1], ignore=shutil.ignore_patterns("evaluation"))
    return paths


def test_the_folder_of_a_run_of_replicas_stands_for_all_of_them(frozen_run, gru_run, tmp_path):
    paths = replica_folder(tmp_path / "run", [frozen_run, gru_run])
    assert [path.name for path in paths] == ["seed_5", "seed_6"]
    assert list_replicas(tmp_path / "run") == paths
    assert list_replicas(paths[0]) == [paths[0]]
    run = restore_ensemble([tmp_path / "run"])
    assert run.folder == tmp_path / "run"
    assert [member.folder for member in run.members] == paths


def change(run, **values):
    """Returns a run whose config differs in some keys, `__` for a dot."""
    config = run.config.copy_and_resolve_references().unlock()
    for key, value in values.items():
        section, _, name = key.partition("__")
        config[section][name] = value
    return dataclasses.replace(run, folder=run.folder.with_name("other"), config=config)


def with_info(run, **values):
    return dataclasses.replace(run, encoder_info={**run.encoder_info, **values})


def with_words(run):
    words = Vocabulary((*run.vocabulary.words[:-1], "zebra"))
    return dataclasses.replace(run, vocabulary=words)


DIFFERENT = {
    "text.max_length: 12 -> 20": lambda run: change(run, text__max_length=20),
    "another vocabulary": with_words,
    "images.size: 32 -> 64": lambda run: change(run, images__size=64),
    "grid of regions: (4, 4) -> (8, 8)": lambda run: change(run, images__size=64),
    "encoder.levels: 2 -> 1": lambda run: change(run, encoder__levels=1),
    "one encoder is frozen, the other was trained along": lambda run: change(
        run, encoder__rates=("*:1",)
    ),
    "another frozen encoder": lambda run: with_info(run, fingerprint="another"),
    "another denoiser": lambda run: with_info(run, denoiser={"fingerprint": "another"}),
}


@pytest.mark.parametrize("said", DIFFERENT)
def test_runs_that_do_not_fit_are_refused_in_one_line(frozen_run, said):
    run = restore_best(frozen_run)
    with pytest.raises(UserError, match=re.escape(said)) as mistake:
        check_fits(run, DIFFERENT[said](run))
    assert "\n" not in str(mistake.value) and "leave one of them out" in str(mistake.value)


def test_runs_with_other_decoders_and_searches_fit(frozen_run, gru_run):
    check_fits(restore_best(frozen_run), change(restore_best(gru_run), search__beam=3))


def test_learned_encoders_need_not_be_equal(made_run):
    run = restore_best(made_run)
    check_fits(run, with_info(run, fingerprint="another"))


def test_a_run_that_is_named_twice_is_refused(frozen_run):
    with pytest.raises(UserError, match="named twice"):
        restore_ensemble([frozen_run, frozen_run.parent / "." / frozen_run.name])


def test_members_of_other_splits_are_scored_on_a_named_folder_alone(frozen_run, gru_run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(gru_run, other)
    contents = read(other, "contents.json")
    contents["splits"]["val"]["photos"][0] = "another"
    (other / "contents.json").write_text(json.dumps(contents), encoding="utf-8")
    run = restore_ensemble([frozen_run, other])
    check_same_data(run, "test")
    with pytest.raises(UserError, match="another val split than .*--data-dir"):
        check_same_data(run, "val")


@pytest.mark.slow
def test_the_evaluation_says_singles_and_ensemble(frozen_run, gru_run, tmp_path, capsys):
    paths = [tmp_path / "first", tmp_path / "second"]
    for path, run in zip(paths, (frozen_run, gru_run), strict=True):
        shutil.copytree(run, path, ignore=shutil.ignore_patterns("evaluation"))
    flags = ["--split", "val", "--beam", "2"]
    both = ["--workdir", *map(str, paths), *flags]
    assert evaluate.main(both) == 0
    said = capsys.readouterr().out
    assert f"not scored alone with this search on these images: {paths[0]}, {paths[1]}" in said
    (folder,) = (paths[0] / "evaluation").iterdir()
    assert re.fullmatch("val-beam2-ensemble2-[0-9a-f]{8}", folder.name)
    for path in paths:
        assert evaluate.main(["--workdir", str(path), *flags]) == 0
    capsys.readouterr()
    assert evaluate.main(both) == 0
    said = capsys.readouterr().out
    assert "not scored alone" not in said
    result = from_file(folder)
    assert (result.run.step, result.run.val_loss) == (None, None)
    assert [member.workdir for member in result.run.members] == list(map(str, paths))
    for member, path in zip(result.run.members, paths, strict=True):
        alone = from_file(path / "evaluation" / "val-beam2")
        assert (member.step, member.scores) == (small_run.BEST, alone.scores)
    lines = tables.format_result(result)
    assert lines[0].startswith(f"the ensemble of 2 ({paths[0]}, {paths[1]}) on scenes val")
    assert lines[1].split()[:3] == ["x", "100", "ensemble"]
    assert lines[1].split()[5:7] == ["first", "second"]
    row = next(line for line in lines if line.startswith("CIDEr-D")).split()
    for cell, member in zip(row[5:7], result.run.members, strict=True):
        assert cell == tables.format_percent(member.scores["CIDEr-D"].value)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Ensemble of 2 with first on val" in page and f"{paths[1]} (step 3" in page
    assert compare.main([*map(str, paths), "--split", "val"]) == 0
    assert f"first ({folder.name})" in capsys.readouterr().out


def test_photos_after_the_runs_of_an_ensemble_are_photos(frozen_run, gru_run, photo):
    runs = [str(frozen_run), str(gru_run)]
    others = [str(photo), str(photo.parent)]
    for arguments in (
        ["--workdir", *runs, *others],
        ["--workdir", *runs, "--json", *others],
        [*others, "--workdir", *runs],
        [f"--workdir={runs[0]}", runs[1], *others],
        ["--workdir", runs[0], "--workdir", runs[1], *others],
    ):
        options = caption.parse(arguments)
        assert list(map(str, options.workdir)) == runs
        assert list(map(str, options.photos)) == others


def test_an_ensemble_captions_photos_as_search_does(frozen_run, gru_run, photo, capsys):
    """The probability of its first word is at most the mean of the members' highest ones."""
    arguments = [str(photo), "--beam", "1", "--json"]
    first = []
    for runs in ([frozen_run], [gru_run], [frozen_run, gru_run]):
        assert caption.main(["--workdir", *map(str, runs), *arguments]) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        first.append(answer["probabilities"][0])
    assert 0 < first[2] <= np.mean(first[:2]) + 1e-4
