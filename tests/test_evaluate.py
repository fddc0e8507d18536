"""The command evaluate, and taking up a run: what it restores, writes and prints, and what it
refuses.
"""

import csv
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxcap import caption, compare, decoding, evaluate, flags
from jaxcap.decoding.captions import Caption
from jaxcap.errors import UserError
from jaxcap.evaluation import baselines, scoring, splits, tables
from jaxcap.evaluation import result as results
from jaxcap.evaluation.measures import measure_attention, measure_grounding
from jaxcap.experiment import build, workdir
from jaxcap.experiment import config as configs
from jaxcap.experiment.restore import restore_best
from tests import small_run

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("cache")


def run_command(workdir, *arguments):
    return evaluate.main(["--workdir", str(workdir), "--beam", "2", *arguments])


@pytest.fixture(scope="module")
def scored(made_run, session_cache):
    """The folder of an evaluation of the validation split."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCAP_CACHE", str(session_cache))
        assert run_command(made_run, "--split", "val") == 0
    return made_run / "evaluation" / "val-beam2"


def photo_folder(folder, parts):
    """Writes a user's folder of photos: a csv of captions, with the split of each."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "captions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption", "split"])
        for number, split in enumerate(parts):
            pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
            rows.writerow([f"{number}.png", f"a red circle number {number}", split])
            rows.writerow([f"{number}.png", "the blue square is there", split])
    return folder


def read(folder, name="scores.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def from_file(folder):
    """The result that scores.json holds."""
    return results.from_json((folder / "scores.json").read_text(encoding="utf-8"))


def evaluation_of(workdir, folder, how="test-beam2"):
    """The folder of the only evaluation of the photos in `folder`, whose name ends in a digest of
    them.
    """
    (found,) = (workdir / "evaluation").glob(
        f"{how}-{re.sub(r'[^a-z]', '_', folder.name)}-????????"
    )
    return found


@pytest.mark.parametrize("kind", ["made_run", "frozen_run"])
def test_the_average_of_the_best_checkpoint_is_restored(kind, request):
    """Not the latest one's, and not the parameters beside the average, which have another sign."""
    run = restore_best(request.getfixturevalue(kind))
    assert (run.step, run.epoch) == (small_run.BEST, 1)
    drawn = build.draw_params(run.config, run.model)
    jax.tree.map(np.testing.assert_array_equal, run.params, small_run.bold(drawn))
    assert any(rate == 0 for rate in jax.tree.leaves(run.rates)) == (kind == "frozen_run")


def test_a_run_is_restored_without_its_data_and_the_file_of_its_weights(
    frozen_run, tmp_path, monkeypatch
):
    folder = tmp_path / "moved"
    shutil.copytree(frozen_run, folder)
    config = read(folder, "config.json")
    config["encoder"]["weights"] = "/nowhere.safetensors"
    config["data"] |= {"name": "flickr8k", "dir": "/nowhere"}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "empty"))
    jax.tree.map(
        np.testing.assert_array_equal, restore_best(frozen_run).params, restore_best(folder).params
    )
    assert not (tmp_path / "empty").exists()


def test_a_run_that_cannot_be_taken_up_says_why(made_run, tmp_path):
    with pytest.raises(UserError, match="no run in"):
        restore_best(tmp_path)
    young = tmp_path / "young"
    shutil.copytree(made_run, young, ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(UserError, match="no checkpoint of a finished epoch"):
        restore_best(young)
    damaged = tmp_path / "damaged"
    shutil.copytree(made_run, damaged)
    for file in (damaged / "checkpoints" / "steps").rglob("*"):
        if file.is_file() and "arrays" in file.parts:
            file.write_bytes(b"")
    with pytest.raises(UserError, match=r"checkpoint \d+ in"):
        restore_best(damaged)


def test_the_files_agree_with_the_library_and_with_each_other(made_run, scored):
    """Scoring captions.json against the split's captions, and summing images.jsonl, both give
    scores.json.
    """
    result, written = read(scored), read(scored, "captions.json")
    _, split = splits.load_scored(restore_best(made_run).config, "val")
    assert [pair["image_id"] for pair in written] == list(split.ids)
    captions = [pair["caption"] for pair in written]
    again, _ = scoring.score({"run": captions}, split.captions)
    assert from_file(scored).scores == again["run"].scores
    images = [json.loads(line) for line in (scored / "images.jsonl").read_text().splitlines()]
    assert [image["caption"] for image in images] == captions
    for metric in ("BLEU", "ROUGE-L", "CIDEr-D"):
        total = np.sum([image["statistics"][metric] for image in images], axis=0)
        values = scoring.METRICS[metric].from_statistics(total)
        names = scoring.METRICS[metric].NAMES
        np.testing.assert_allclose(values, [result["scores"][name]["value"] for name in names])
    assert (scored / "report.html").stat().st_size > 1000


def test_the_result_says_what_was_run(made_run, scored):
    result = read(scored)
    assert result["search"] | {"beam": 2, "max_length": 12, "unk": False} == result["search"]
    assert (result["run"]["step"], result["run"]["val_loss"]) == (small_run.BEST, 3.0)
    config = {"layout": workdir.LAYOUT, **result["run"]["config"]}
    assert config == read(made_run, "config.json")
    assert [baseline["name"] for baseline in result["baselines"]] == [
        "most common",
        "shuffled",
        "nearest",
    ]
    assert all(
        baseline["scores"].keys() == result["scores"].keys() for baseline in result["baselines"]
    )
    assert "data:scenes|split:val|images:3|" in result["signature"]
    assert "|beam:2|length:alpha0,min0,max12|" in result["signature"]
    assert {"entropy", "change", "centre_bias", "pointing", "mass_centre"} <= result[
        "attention"
    ].keys()
    assert 0 <= result["scenes"]["right"] <= result["scenes"]["total"] > 0
    assert 0 <= result["health"]["captions"]["novel"] <= 1
    assert "NaN" not in (scored / "scores.json").read_text()


def test_json_is_all_there_is_on_stdout_and_batches_change_nothing(made_run, scored, capsys):
    """Captions and scores are equal; attention is equal but for the rounding of another batch's
    arithmetic.
    """
    before, captions = read(scored), read(scored, "captions.json")
    assert run_command(made_run, "--split", "val", "--batch-size", "2", "--json") == 0
    after = json.loads(capsys.readouterr().out)
    assert after == read(scored)
    assert read(scored, "captions.json") == captions
    for name, score in after.pop("attention").items():
        assert score == pytest.approx(before["attention"][name], abs=1e-5)
    before.pop("attention")
    assert after == before


def test_the_table_has_every_score_beside_the_baselines(scored):
    result = read(scored)
    out = tables.format_result(from_file(scored))
    for name in ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D"):
        row = next(line for line in out if line.startswith(name)).split()
        assert len(row) == 8  # name, score, the interval's three words, three baselines
        assert row[1] == f"{100 * result['scores'][name]['value']:.1f}"
    assert out[-1] == result["signature"]


def test_a_frozen_run_reads_its_cache_the_second_time(frozen_run, capsys):
    run_command(frozen_run, "--split", "test")
    capsys.readouterr()
    run_command(frozen_run, "--split", "test")
    assert "features: " not in capsys.readouterr().err  # the line that says that some are computed


def test_another_folder_is_scored_and_its_images_named(made_run, tmp_path):
    folder = photo_folder(tmp_path / "my photos", ["test"] * 3 + ["val"])
    run_command(made_run, "--split", "test", "--data-dir", str(folder))
    scored = evaluation_of(made_run, folder)
    result = read(scored)
    assert (
        result["data"] | {"name": "folder", "dir": str(folder), "images": 3, "references": 6}
        == result["data"]
    )
    assert [pair["image_id"] for pair in read(scored, "captions.json")] == [
        "0.png",
        "1.png",
        "2.png",
    ]
    assert result["scenes"] is None and "pointing" not in result["attention"]
    assert "most common" in [baseline["name"] for baseline in result["baselines"]]


def of_a_folder(made_run, workdir, folder):
    """Copies a run, as if it had been trained on a folder of photos."""
    shutil.copytree(made_run, workdir, ignore=shutil.ignore_patterns("evaluation"))
    config = read(workdir, "config.json")
    config["data"] |= {"name": "folder", "dir": str(folder)}
    (workdir / "config.json").write_text(json.dumps(config))
    return workdir


def test_without_the_training_data_the_rest_is_scored_and_it_is_said(made_run, tmp_path):
    workdir = of_a_folder(made_run, tmp_path / "run", "/nowhere")
    folder = photo_folder(tmp_path / "photos", ["val"] * 3)
    run_command(workdir, "--split", "val", "--data-dir", str(folder))
    result = read(evaluation_of(workdir, folder, "val-beam2"))
    assert [baseline["name"] for baseline in result["baselines"]] == ["shuffled"]
    assert "novel" not in result["health"]["captions"]
    assert any("/nowhere" in note for note in result["notes"])


def train_on(workdir, folder, **overrides):
    """Makes a run on a folder of photos, as `small_run.make` does."""
    return small_run.make(workdir, data__name="folder", data__dir=folder, **overrides)


def test_scored_photos_that_were_trained_on_are_said_whatever_they_are_called_and_where_the_data_went(
    tmp_path,
):
    """The training folder is gone, and its photos have other names: they are known by their
    bytes.
    """
    photos = photo_folder(tmp_path / "photos", ["train"] * 3 + ["val"])
    run = train_on(tmp_path / "run", photos)
    again = photo_folder(tmp_path / "again", ["val"] * 5)
    for number in range(5):
        (again / "images" / f"{number}.png").rename(again / "images" / f"{9 - number}.png")
    text = (again / "captions.csv").read_text(encoding="utf-8")
    (again / "captions.csv").write_text(
        re.sub(r"(?m)^\d", lambda m: str(9 - int(m[0])), text), encoding="utf-8"
    )
    shutil.rmtree(photos)
    run_command(run, "--split", "val", "--data-dir", str(again))
    result = read(evaluation_of(run, again, "val-beam2"))
    assert result["data"]["trained_on"] == 3
    said = "3 of the 5 scored photos are among the training photos (9.png, 8.png, 7.png)"
    assert any(note.startswith(said) for note in result["notes"])


def test_other_photos_under_the_names_of_training_photos_are_no_overlap(made_run, tmp_path):
    photos = photo_folder(tmp_path / "photos", ["train"] * 3 + ["val"])
    run = train_on(tmp_path / "run", photos)
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    for path in (other / "images").iterdir():
        Image.new("RGB", (20, 20), int(path.stem)).save(path)
    run_command(run, "--split", "val", "--data-dir", str(other))
    result = read(evaluation_of(run, other, "val-beam2"))
    assert result["data"]["trained_on"] == 0
    assert not any("training photos" in note for note in result["notes"])


def test_photos_of_another_folder_are_scored_on_their_own_features(tmp_path):
    """Two folders with the same names and sizes of photos: each has its own features, captions and
    evaluation.
    """
    photos = photo_folder(tmp_path / "photos", ["train"] * 3 + ["val"] * 3)
    run = train_on(tmp_path / "run", photos, encoder__rates="*:0")
    other = tmp_path / "more" / "photos"
    shutil.copytree(photos, other)
    for path in (other / "images").iterdir():
        pixels = np.asarray(Image.open(path))
        Image.fromarray(pixels[::-1, ::-1]).save(path)
    for folder in (photos, other):
        run_command(run, "--split", "val", "--data-dir", str(folder))
    first, second = (run / "evaluation").glob("val-beam2-photos-????????")
    log_probs = [
        [
            json.loads(line)["log_prob"]
            for line in (folder / "images.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for folder in (first, second)
    ]
    assert log_probs[0] != log_probs[1]
    assert read(first)["signature"] != read(second)["signature"]


def test_the_runs_own_splits_are_scored_where_its_data_moved(tmp_path):
    """A run on random splits of a file of another name: the moved folder is read and split as it
    was in training.
    """
    photos = photo_folder(tmp_path / "photos", [""] * 12)
    (photos / "captions.csv").rename(photos / "texts.csv")
    run = train_on(tmp_path / "run", photos, data__captions="texts.csv", data__splits="random")
    photos.rename(tmp_path / "moved")
    run_command(run, "--split", "test", "--data-dir", str(tmp_path / "moved"))
    result = read(evaluation_of(run, tmp_path / "moved"))
    assert result["data"]["trained_on"] == 0
    assert read(run, "contents.json")["splits"]["test"]["ids"] == [
        pair["image_id"] for pair in read(evaluation_of(run, tmp_path / "moved"), "captions.json")
    ]


def test_a_grown_folder_moves_photos_between_splits_and_that_is_said(tmp_path):
    photos = photo_folder(tmp_path / "photos", [""] * 12)
    run = train_on(tmp_path / "run", photos, data__splits="random")
    shutil.rmtree(photos)
    photo_folder(photos, [""] * 15)
    run_command(run, "--split", "test")
    result = read(run / "evaluation" / "test-beam2")
    assert result["data"]["trained_on"] > 0
    assert any("among the training photos" in note for note in result["notes"])
    assert any(
        "the data have changed since the run was trained: test: " in note
        for note in result["notes"]
    )


def test_a_split_that_is_not_there_is_said_with_those_that_are(made_run, tmp_path):
    workdir = of_a_folder(
        made_run, tmp_path / "run", photo_folder(tmp_path / "photos", ["train"] * 3 + ["val"])
    )
    with pytest.raises(UserError, match="no split 'test': the files at hand make train and val"):
        run_command(workdir, "--split", "test")
    assert not (workdir / "evaluation").exists()


def listed(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_out_is_written_instead_of_the_workdir_and_can_be_compared(
    made_run, scored, tmp_path, capsys
):
    before = listed(made_run)
    run_command(made_run, "--split", "val", "--out", str(tmp_path / "made" / "out"))
    assert listed(made_run) == before
    assert read(tmp_path / "made" / "out", "captions.json") == read(scored, "captions.json")
    capsys.readouterr()
    compare.main([str(scored), str(tmp_path / "made" / "out"), "--json"])
    _, second = json.loads(capsys.readouterr().out)
    assert second["differences"]["CIDEr-D"] == {"value": 0, "low": 0, "high": 0}


def test_a_place_that_cannot_be_written_is_said_before_the_work(made_run, monkeypatch):
    monkeypatch.setattr(evaluate, "evaluate", None)

    def refused(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("jaxcap.io.files.tempfile.TemporaryFile", refused)
    with pytest.raises(
        UserError, match=r"evaluation \(Read-only file system\): name another folder with --out"
    ):
        run_command(made_run, "--split", "val")


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["table", "json"])
def test_a_place_that_is_lost_on_the_way_costs_no_score(
    made_run, tmp_path, monkeypatch, capsys, flags
):
    def refused(**options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("jaxcap.io.files.tempfile.mkstemp", refused)
    with pytest.raises(UserError, match="Read-only file system.*--out"):
        run_command(made_run, "--split", "val", "--out", str(tmp_path / "out"), *flags)
    out = capsys.readouterr().out
    assert json.loads(out)["scores"]["BLEU-4"] if flags else "BLEU-4" in out
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["table", "json"])
def test_captions_and_scores_are_kept_and_printed_before_the_baselines(
    made_run, tmp_path, monkeypatch, capsys, flags
):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "compare_with_training", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_command(made_run, "--split", "val", "--out", str(tmp_path), *flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "captions.json",
        "images.jsonl",
        "report.html",
        "scores.json",
    ]
    out = capsys.readouterr().out
    assert json.loads(out) == read(tmp_path) if flags else "BLEU-4" in out


@pytest.mark.parametrize(
    "error", [UserError("photo 3 is damaged"), OSError(5, "Input/output error")], ids=repr
)
def test_a_baseline_that_fails_is_a_note(made_run, tmp_path, monkeypatch, capsys, error):
    def failing(*arguments):
        raise error

    monkeypatch.setattr(baselines, "_mean_features", failing)
    assert run_command(made_run, "--split", "val", "--out", str(tmp_path)) == 0
    result = read(tmp_path)
    assert [baseline["name"] for baseline in result["baselines"]] == ["most common", "shuffled"]
    assert f"the baseline 'nearest' is left out: {error}" in result["notes"]
    assert f"the baseline 'nearest' is left out: {error}" in capsys.readouterr().out.splitlines()


def test_training_data_that_cannot_be_read_are_a_note(made_run, tmp_path, monkeypatch):
    def failing(config):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(splits, "load_training", failing)
    assert run_command(made_run, "--split", "val", "--out", str(tmp_path)) == 0
    assert [baseline["name"] for baseline in read(tmp_path)["baselines"]] == ["shuffled"]
    assert any("Permission denied" in note for note in read(tmp_path)["notes"])


def test_nearest_is_computed_where_it_costs_little_or_is_asked_for(
    frozen_run, tmp_path, monkeypatch
):
    """Not for many training photos, unless their features are cached or all baselines are
    wanted.
    """
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(baselines, "FEW", 23)  # there are 24 training photos

    def names(*flags):
        run_command(frozen_run, "--split", "val", "--out", str(tmp_path / "out"), *flags)
        return [baseline["name"] for baseline in read(tmp_path / "out")["baselines"]]

    assert names("--baselines", "none") == []
    assert names() == ["most common", "shuffled"]
    assert any(
        "24 training photos" in note and "--baselines all" in note
        for note in read(tmp_path / "out")["notes"]
    )
    assert names("--baselines", "all") == ["most common", "shuffled", "nearest"]
    assert names("--baselines", "cheap") == ["most common", "shuffled", "nearest"]


def test_one_photo_is_scored_without_shuffling_and_without_a_warning(
    made_run, tmp_path, recwarn, capsys
):
    folder = photo_folder(tmp_path / "photos", ["val"])
    run_command(
        made_run, "--split", "val", "--data-dir", str(folder), "--out", str(tmp_path / "out")
    )
    result = read(tmp_path / "out")
    assert [baseline["name"] for baseline in result["baselines"]] == ["most common", "nearest"]
    assert any("'shuffled' is left out" in note for note in result["notes"])
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def test_scenes_in_which_nothing_is_named_have_dashes(made_run, scored, recwarn):
    _, split = splits.load_scored(restore_best(made_run).config, "val")
    caption = Caption(["a"], np.ones((1, 16)) / 16, np.ones(1), 0.0)
    captions = [caption] * len(split)
    grounding, scenes = measure_grounding(split, captions, (4, 4))
    attention = measure_attention(captions, (4, 4)) | grounding
    changed = dataclasses.replace(from_file(scored), attention=attention, scenes=scenes)
    written = json.loads(results.to_json(changed))
    assert written["attention"]["pointing"] == {"value": None, "low": None, "high": None}
    lines = tables.format_result(changed)
    [row] = [line for line in lines if line.startswith("pointing game")]
    assert row.split()[2:] == ["-"] * 4
    assert "nan" not in "\n".join(lines)
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def test_the_gallery_runs_from_the_best_to_the_worst(made_run, scored):
    _, split = splits.load_scored(restore_best(made_run).config, "val")
    count = 50
    rows = np.random.default_rng(0).permutation(count).astype(float)
    caption = Caption(["a"], np.ones((1, 16)) / 16, np.ones(1), 0.0)
    ids, captions = split.ids[:1] * count, split.captions[:1] * count
    many = type(split)("val", ids, captions, [split.records[0]] * count)
    statistics = {"CIDEr-D": np.stack([rows, np.ones(count)], 1)}
    evaluation = evaluate.Evaluation(
        from_file(scored), many, [caption] * count, statistics, grid=(4, 4)
    )
    shown = [photo.score for photo in evaluate.choose_photos(evaluation)]
    assert shown == sorted(shown, reverse=True)
    assert len(set(shown)) == 3 * evaluate.GALLERY
    assert (shown[: evaluate.GALLERY], shown[-1]) == (
        list(range(count - 1, count - 1 - evaluate.GALLERY, -1)),
        0,
    )


def test_coco_images_have_their_number_in_the_result_format():
    assert evaluate.coco_image_id("coco", "COCO_val2014_000000391895.jpg") == 391895
    assert evaluate.coco_image_id("coco", "000000391895.jpg") == 391895
    assert evaluate.coco_image_id("flickr30k", "1000092795.jpg") == "1000092795.jpg"


def test_a_rule_that_is_not_the_runs_makes_another_folder(scored):
    usual = results.Search(
        beam=5,
        max_length=20,
        min_length=4,
        length_normalization=1.0,
        unk=False,
        no_repeat_ngram=0,
    )
    other = dataclasses.replace(
        usual, beam=3, length_normalization=0.0, no_repeat_ngram=2, unk=True
    )
    found = from_file(scored)
    config = found.run.config | {"search": dataclasses.asdict(usual)}
    found = dataclasses.replace(found, run=dataclasses.replace(found.run, config=config))
    found = dataclasses.replace(found, data=dataclasses.replace(found.data, split="test"))
    assert evaluate.name_folder(dataclasses.replace(found, search=usual)) == "test-beam5"
    changed = evaluate.name_folder(dataclasses.replace(found, search=other))
    assert changed == "test-beam3-alpha0-ngram2-unk"


def test_the_rules_are_the_runs_where_the_flags_say_nothing():
    config = configs.load(
        str(small_run.QUICKSTART),
        ["--config.search.length_normalization=0.7", "--config.search.beam=4"],
    )
    typed = evaluate.parse(["--workdir", "DIR", "--split", "val"])
    assert flags.read_rules(typed, config) == (decoding.Rules(length_normalization=0.7), 4)
    typed = evaluate.parse(
        [
            "--workdir",
            "DIR",
            "--split",
            "val",
            "--beam",
            "2",
            "--length-normalization",
            "0",
            "--min-length",
            "3",
        ]
    )
    assert flags.read_rules(typed, config) == (decoding.Rules(min_length=3), 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--split", "val", "--out", __file__], "is a file: name another folder with --out"),
        (["--split", "val", "--out", "/proc/here"], "cannot write to /proc/here"),
        (["--split", "val", "--baselines", "some"], "--baselines"),
        (["--split", "val", "--workdir", __file__], "that is a file"),
        (["--split", "val", "--beam", "0"], "--beam: 0: must be a whole number from 1"),
        (["--split", "val", "--beam", "x"], "--beam"),
        (["--split", "train"], "train"),
        ([], "--split"),
        (["--split", "val", "--data-dir", "/nowhere"], "/nowhere"),
        (["--split", "val", "--data-dir", str(ROOT / "experiments")], "no known layout"),
        (["--split", "val", "--min-length", "11"], "min_length is 11"),
        (["--split", "val", "--length-normalization", "-1"], "--length-normalization: -1: must be"),
        (["--split", "val", "--no-repeat-ngram", "-1"], "--no-repeat-ngram: -1: must be"),
    ],
    ids=lambda value: " ".join(value[2:] or value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(made_run, arguments, said):
    with pytest.raises(UserError) as mistake:
        evaluate.main(["--workdir", str(made_run), *arguments])
    assert said in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_a_mistake_ends_with_code_2_and_nothing_on_stdout(tmp_path):
    command = [
        sys.executable,
        "-m",
        "jaxcap.evaluate",
        "--workdir",
        str(tmp_path / "none"),
        "--split",
        "val",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and "no run in" in done.stderr


def test_numbers_that_are_none_are_null(made_run, tmp_path, monkeypatch, capsys):
    """As of a run whose parameters are not finite: no file and no output holds NaN, which is no
    JSON.
    """
    folder = tmp_path / "run"
    shutil.copytree(made_run, folder, ignore=shutil.ignore_patterns("evaluation"))

    def spoilt(path):
        run = restore_best(path)
        params = jax.tree.map(lambda x: x * np.nan, run.params)
        return dataclasses.replace(run, params=params)

    monkeypatch.setattr("jaxcap.experiment.restore.restore_best", spoilt)
    photo = tmp_path / "photo.png"
    Image.new("RGB", (40, 40)).save(photo)
    assert run_command(folder, "--split", "val", "--json") == 0
    texts = [capsys.readouterr().out]
    assert caption.main(["--workdir", str(folder), "--json", str(photo)]) == 0
    texts.append(capsys.readouterr().out)
    for file in (folder / "evaluation").rglob("*.json*"):
        texts += (
            file.read_text(encoding="utf-8").splitlines()
            if file.suffix == ".jsonl"
            else [file.read_text(encoding="utf-8")]
        )
    for text in texts:
        json.loads(text, parse_constant=pytest.fail)
    assert any("null" in text for text in texts)
