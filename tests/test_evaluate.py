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

from jaxcap import caption, compare, decoding, errors, evaluate, flags
from jaxcap.decoding.captions import Caption
from jaxcap.decoding.strategy import GREEDY, BeamSearch, Sampling
from jaxcap.errors import UserError
from jaxcap.evaluation import result as results
from jaxcap.evaluation import scoring, splits, tables
from jaxcap.evaluation.entries import read_entries
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
    result = read(scored)
    written = read(scored, "captions.json")
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
    before = read(scored)
    captions = read(scored, "captions.json")
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
    ids = split.ids[:1] * count
    captions = split.captions[:1] * count
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


@pytest.mark.parametrize(
    ("sampling", "name"),
    [
        (Sampling(temperature=0.7), "val-sample"),  # as the run has it
        (Sampling(), "val-sample-t1"),
        (
            Sampling(0.7, top_k=40, top_p=0.95, seed=2**31 - 1),
            "val-sample-k40-p0.95-seed2147483647",
        ),
    ],
    ids=str,
)
def test_another_sampling_makes_another_folder(scored, sampling, name):
    found = from_file(scored)
    config = found.run.config | {"search": found.run.config["search"] | {"temperature": 0.7}}
    search = dataclasses.replace(found.search, beam=None, sampling=sampling)
    run = dataclasses.replace(found.run, config=config)
    assert evaluate.name_folder(dataclasses.replace(found, run=run, search=search)) == name


def sampling_run(made_run, folder, **search):
    """Copies a run, as if its own way to caption were sampling."""
    shutil.copytree(made_run, folder, ignore=shutil.ignore_patterns("evaluation"))
    config = read(folder, "config.json")
    config["search"] |= {"kind": "sample", "temperature": 2.0} | search
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def test_a_run_that_samples_is_scored_on_its_samples(made_run, tmp_path, capsys):
    """By its own temperature, the same whatever the batches, other ones for another seed."""
    workdir = sampling_run(made_run, tmp_path / "run")
    command = ["--workdir", str(workdir), "--split", "val", "--baselines", "none"]
    assert evaluate.main(command) == 0
    folder = workdir / "evaluation" / "val-sample"
    result = read(folder)
    assert result["search"]["beam"] is None
    assert result["search"]["sampling"] == {
        "temperature": 2.0,
        "top_k": 0,
        "top_p": 1.0,
        "seed": 0,
    }
    assert "|beam:sampled,temperature2,seed0|" in result["signature"]
    assert "references, sampling (temperature 2, seed 0)" in capsys.readouterr().out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "sampling (temperature 2, seed 0)" in page
    captions = read(folder, "captions.json")
    assert evaluate.main([*command, "--batch-size", "2"]) == 0
    assert read(folder, "captions.json") == captions
    assert evaluate.main([*command, "--seed", "1"]) == 0
    others = read(workdir / "evaluation" / "val-sample-seed1", "captions.json")
    assert others != captions
    assert len(read_entries(workdir, "val", None)) == 2
    assert read_entries(workdir, "val", 1)[0].result is None  # no sample is a search


def test_samples_at_the_lowest_temperature_are_greedy_captions(frozen_run, tmp_path):
    """Through cached features too; and greedy search is the beam of 1."""
    common = ["--workdir", str(frozen_run), "--split", "test", "--baselines", "none"]
    written = []
    for name, arguments in (
        ("greedy", ["--search", "greedy"]),
        ("beam", ["--beam", "1"]),
        ("cold", ["--search", "sample", "--temperature", "0.001"]),
        ("first", ["--search", "sample", "--temperature", "9", "--top-k", "1"]),
    ):
        out = tmp_path / name
        assert evaluate.main([*common, *arguments, "--out", str(out)]) == 0
        written.append(read(out, "captions.json"))
    assert written[0] == written[1] == written[2] == written[3]
    assert read(tmp_path / "greedy")["signature"] == read(tmp_path / "beam")["signature"]
    assert "|beam:greedy|" in read(tmp_path / "greedy")["signature"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--beam", "3"], "--beam belongs to --search beam, and this run's search.kind is sample"),
        (["--beam", "3", "--search", "greedy"], "and --search greedy is there too: choose one"),
        (["--search", "beam", "--seed", "1"], "--seed belongs to --search sample, and --search be"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("command", [evaluate, caption], ids=["evaluate", "caption"])
def test_a_flag_of_another_search_is_one_line(made_run, tmp_path, capsys, command, arguments, said):
    workdir = sampling_run(made_run, tmp_path / "run")
    needed = ["--split", "val"] if command is evaluate else ["photo.jpg"]
    with pytest.raises(SystemExit) as end:
        errors.exit_with(lambda: command.main(["--workdir", str(workdir), *needed, *arguments]))
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ") and said in err
    assert not (workdir / "evaluation").exists()


def test_the_rules_are_the_runs_where_the_flags_say_nothing():
    config = configs.load(
        str(small_run.QUICKSTART),
        ["--config.search.length_normalization=0.7", "--config.search.beam=4"],
    )
    typed = evaluate.parse(["--workdir", "DIR", "--split", "val"])
    rules = decoding.Rules(length_normalization=0.7)
    assert flags.read_search(typed, config) == (rules, BeamSearch(4))
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
    assert flags.read_search(typed, config) == (decoding.Rules(min_length=3), BeamSearch(2))


@pytest.mark.parametrize(
    ("kind", "arguments", "strategy"),
    [
        ("beam", [], BeamSearch(5)),
        ("greedy", [], GREEDY),
        ("sample", [], Sampling(0.5, top_k=7)),
        ("sample", ["--search", "beam"], BeamSearch(5)),
        ("sample", ["--search", "beam", "--beam", "1"], GREEDY),
        ("sample", ["--top-k", "0", "--seed", "3"], Sampling(0.5, seed=3)),
        ("beam", ["--search", "sample", "--temperature", "2"], Sampling(2.0, top_k=7)),
    ],
    ids=str,
)
def test_the_search_is_the_runs_where_the_flags_say_nothing(kind, arguments, strategy):
    overrides = [f"--config.search.kind={kind}", "--config.search.temperature=0.5"]
    config = configs.load(str(small_run.QUICKSTART), [*overrides, "--config.search.top_k=7"])
    for command, needed in ((evaluate, ["--split", "val"]), (caption, ["photo.jpg"])):
        typed = command.parse(["--workdir", "DIR", *needed, *arguments])
        assert flags.read_search(typed, config) == (decoding.Rules(), strategy)


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
