"""The command evaluate: what it writes and prints, and what it refuses."""

import dataclasses
import json
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
from jaxcap.evaluation import result as results
from jaxcap.evaluation import scoring, splits, tables
from jaxcap.experiment import config as configs
from jaxcap.experiment import workdir
from jaxcap.experiment.restore import restore_best
from tests import small_run
from tests.evaluation.runs import from_file, read, run_command

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("cache")


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

    def refused(**options):
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
