"""The command compare: the table of runs, paired differences, and what it refuses to compare."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxcap import compare
from jaxcap.errors import UserError
from jaxcap.evaluation import result as results
from jaxcap.evaluation import scoring
from jaxcap.evaluation.entries import SCORES
from jaxcap.experiment import workdir as workdirs
from jaxcap.io.digests import digest_set
from jaxcap.scores import health
from jaxcap.training import history

WORDS = [
    "a",
    "dog",
    "cat",
    "man",
    "red",
    "ball",
    "runs",
    "sits",
    "on",
    "the",
    "grass",
    "with",
    "two",
    "big",
    "birds",
]
IMAGES = 60


def sentences(seed, count):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 8)) for _ in range(count)]


REFERENCES = [sentences(1000 + image, 3) for image in range(IMAGES)]


def copied(share):
    """Captions of which a share is a reference and the rest is noise: the larger the share, the
    higher the score.
    """
    noise = sentences(5, IMAGES)
    return [REFERENCES[i][0] if i < share * IMAGES else noise[i] for i in range(IMAGES)]


def write_scores(
    workdir, captions, *, split="test", beam=5, first=0, order=1, named="{}.jpg".format
):
    """Writes an evaluation of made-up captions as the command evaluate does."""
    images = list(range(first, IMAGES))[::order]
    texts = [captions[i] for i in images]
    scored, _ = scoring.score({"run": texts}, [REFERENCES[i] for i in images])
    ids = [named(i) for i in images]
    config = workdirs.load_config(workdir)
    vocabulary = workdirs.load_vocabulary(workdir)
    summary = health.summarize([text.split() for text in texts])
    run = results.RunInfo(
        workdir=str(workdir),
        folder=str(workdir),
        config=config.to_dict(),
        vocabulary_size=len(vocabulary),
        vocabulary=vocabulary.fingerprint,
        encoder="random",
        parameters=results.Parameters(trained=1, frozen=0),
        step=2,
        epoch=1,
        val_loss=history.validation_loss(workdir / history.METRICS, "loss"),
    )
    data = results.DataInfo(
        name="made",
        dir="",
        split=split,
        images=len(images),
        references=3 * len(images),
        ids=digest_set(ids),
        photos=digest_set(ids),
        captions=digest_set(ids),
        trained_on=None,
    )
    search = results.Search(
        beam=beam,
        max_length=20,
        min_length=0,
        length_normalization=0.0,
        unk=False,
        no_repeat_ngram=0,
    )
    result = results.Result(
        jaxcap="0",
        signature=f"data:made|split:{split}|ids:{data.ids}|captions:{data.captions}|beam:{beam}",
        run=run,
        data=data,
        search=search,
        level=0.95,
        scores=scored["run"].scores,
        baselines=(),
        health=results.Health(captions=summary, references=summary, overused=()),
        attention={},
        scenes=None,
        notes=(),
    )
    rows = scored["run"].rows
    lines = []
    for row, image in enumerate(ids):
        statistics = {metric: rows[metric][row].tolist() for metric in rows}
        lines.append(json.dumps({"image": image, "statistics": statistics}, ensure_ascii=False))
    folder = workdir / "evaluation" / f"{split}-beam{beam}"
    folder.mkdir(parents=True)
    (folder / "images.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "scores.json").write_text(results.to_json(result), encoding="utf-8")
    return folder


def make_run(folder, *, seed=0, epochs=2, words=("a",), loss=3.0):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps(
            {"layout": workdirs.LAYOUT, "seed": seed, "train": {"epochs": epochs, "select": "loss"}}
        )
    )
    (folder / "vocabulary.json").write_text(
        json.dumps(["<pad>", "<start>", "<end>", "<unk>", *words])
    )
    records = [
        {"step": 1, "split": "val", "loss": loss + 1},
        {"step": 2, "split": "val", "loss": loss},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def two(tmp_path):
    """Two runs scored on the same images, the second clearly better."""
    runs = make_run(tmp_path / "plain"), make_run(tmp_path / "better", epochs=3, loss=2.5)
    write_scores(runs[0], copied(0.2))
    write_scores(
        runs[1], copied(0.6), order=-1
    )  # in another order: images are matched by their ids
    return runs


def as_json(capsys, *arguments):
    assert compare.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_difference_is_that_of_the_scores_and_lies_in_its_interval(two, capsys):
    first, second = as_json(capsys, *two)
    assert first["differences"] is None
    for name, gain in second["differences"].items():
        assert gain["value"] == pytest.approx(
            second["scores"][name]["value"] - first["scores"][name]["value"]
        )
        assert 0 < gain["low"] < gain["value"] < gain["high"]
    assert (first["val_loss"], second["val_loss"]) == (3.0, 2.5)
    assert second["config"] == ["train.epochs: 2 -> 3"]
    assert second["signature_differs"] == []


def test_the_interval_is_paired(two, tmp_path, capsys):
    """A run that differs in two images has a far narrower interval than the scores' own intervals
    suggest.
    """
    captions = copied(0.2)
    captions[-2:] = [REFERENCES[-2][0], REFERENCES[-1][0]]
    near = make_run(tmp_path / "near")
    write_scores(near, captions)
    first, second = as_json(capsys, two[0], near)
    gain = second["differences"]["CIDEr-D"]
    score = first["scores"]["CIDEr-D"]
    assert gain["high"] - gain["low"] < 0.6 * (score["high"] - score["low"])
    assert gain["low"] >= 0


def test_a_run_beside_itself_differs_by_exactly_nothing(two, capsys):
    _, again = as_json(capsys, two[0], two[0])
    assert again["differences"] == {name: {"value": 0, "low": 0, "high": 0} for name in SCORES}


def test_other_images_are_not_compared_and_it_is_said(two, tmp_path, capsys):
    fewer = make_run(tmp_path / "fewer", words=("a", "b"))
    write_scores(fewer, copied(0.6), first=10)
    _, other = as_json(capsys, two[0], fewer)
    assert other["differences"] is None
    assert [field.split(":")[0] for field in other["signature_differs"]] == ["ids", "captions"]
    compare.main([str(two[0]), str(fewer)])
    out = capsys.readouterr().out
    assert "scores cannot be compared" in out
    assert "validation losses cannot be compared" in out


def test_another_beam_on_the_same_images_is_compared_and_said(two, capsys):
    write_scores(two[0], copied(0.3), beam=1)
    rows = as_json(capsys, *two)
    assert [(row["run"], row["evaluation"][-10:]) for row in rows] == [
        (str(two[0]), "test-beam1"),
        (str(two[0]), "test-beam5"),
        (str(two[1]), "test-beam5"),
    ]
    assert rows[1]["signature_differs"] == ["beam: 1 -> 5"] and rows[1]["differences"]
    assert len(as_json(capsys, *two, "--beam", 5)) == 2
    one = as_json(capsys, two[0] / "evaluation" / "test-beam1", two[1])
    assert [row["signature"][-6:] for row in one] == ["beam:1", "beam:5"]


def test_a_run_without_scores_stands_there_with_its_loss(two, tmp_path, capsys):
    young = make_run(tmp_path / "young", loss=5.0)
    write_scores(young, copied(0.1), split="val")
    compare.main([*map(str, two), str(young)])
    out = capsys.readouterr().out
    assert (
        f"{young}: not scored; run python -m jaxcap.evaluate --workdir {young} --split test" in out
    )
    assert "5.000" in next(line for line in out.splitlines() if line.startswith(str(young)))
    assert len(as_json(capsys, young, "--split", "val")) == 1
    first, second = as_json(capsys, young, two[0])  # the first may be the one without scores
    assert first["scores"] is None and second["differences"] is None


def test_the_table_has_a_row_a_run(two, capsys):
    compare.main(list(map(str, two)))
    header, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert header.split()[:2] == ["x", "100"]
    assert [row.split()[0] for row in rows] == list(map(str, two))
    assert rows[1].count("+") == 2


@pytest.mark.parametrize("name", ["scores.json", "images.jsonl"])
def test_a_damaged_file_is_named(two, name):
    file = two[1] / "evaluation" / "test-beam5" / name
    file.write_text(file.read_text()[:50])
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        compare.main(list(map(str, two)))


def test_an_evaluation_without_its_images_is_named(two):
    (two[1] / "evaluation" / "test-beam5" / "images.jsonl").unlink()
    with pytest.raises(UserError, match="images.jsonl cannot be read"):
        compare.main(list(map(str, two)))


def test_a_folder_that_is_no_run_is_named(two, tmp_path):
    shutil.rmtree(two[1])
    with pytest.raises(UserError, match="no run in"):
        compare.main(list(map(str, two)))
    with pytest.raises(UserError, match="DIR"):
        compare.main([])


def test_an_evaluation_is_read_when_its_run_has_gone(two, tmp_path, capsys):
    before = as_json(capsys, *two)
    out = shutil.copytree(two[1] / "evaluation" / "test-beam5", tmp_path / "out")
    shutil.rmtree(two[1])
    _, moved = as_json(capsys, two[0], out)
    assert moved == before[1] | {"evaluation": str(out)}


def test_any_image_id_is_compared(tmp_path, capsys):
    """Line breaks of every kind, tabs and quotes in an id divide nothing."""
    strange = ["\u2028", "\u2029", "\x85", "\x0c", "\t", "\n", "\r\n", '"', "\\", ","]
    runs = make_run(tmp_path / "plain"), make_run(tmp_path / "better")
    for run, share in zip(runs, (0.2, 0.6), strict=True):
        write_scores(run, copied(share), named=lambda i: f"a{strange[i % len(strange)]}{i}.jpg")
    _, second = as_json(capsys, *runs)
    assert second["differences"]["CIDEr-D"]["value"] > 0


@pytest.mark.parametrize("wrong", ["NaN", "Infinity", "null", '"x"'])
def test_a_number_that_is_none_is_named(two, wrong):
    file = two[1] / "evaluation" / "test-beam5" / "images.jsonl"
    lines = file.read_text().split("\n")
    image = json.loads(lines[3])
    image["statistics"]["CIDEr-D"][0] = 77.5
    lines[3] = json.dumps(image).replace("77.5", wrong)
    file.write_text("\n".join(lines))
    with pytest.raises(UserError, match="images.jsonl cannot be read"):
        compare.main(list(map(str, two)))


def test_evaluations_that_hold_other_images_than_they_say_are_named(two):
    file = two[1] / "evaluation" / "test-beam5" / "images.jsonl"
    file.write_text("\n".join(file.read_text().split("\n")[1:]))
    with pytest.raises(UserError, match="should hold the same images"):
        compare.main(list(map(str, two)))


@pytest.mark.parametrize("key", ["run", "data", "scores"])
def test_scores_that_lack_a_part_are_named(two, key):
    file = two[1] / "evaluation" / "test-beam5" / "scores.json"
    result = json.loads(file.read_text())
    del result[key]
    file.write_text(json.dumps(result))
    with pytest.raises(UserError, match=f"scores.json cannot be read .no '{key}'"):
        compare.main(list(map(str, two)))


def test_compare_loads_neither_checkpoints_nor_data_sets():
    """It reads small files: orbax and TFDS would only make it slow to start."""
    code = (
        "import sys, jaxcap.compare;"
        "print({name.partition('.')[0] for name in sys.modules} & {'orbax', 'tensorflow_datasets'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture
def seeds(tmp_path):
    """Two arms of three seeds each, the second clearly better; the first one in seed_K folders."""
    arms = {"plain": (0.2, 2), "better": (0.6, 3)}
    for name, (share, epochs) in arms.items():
        for seed in range(3):
            run = make_run(tmp_path / name / f"seed_{seed}", seed=seed, epochs=epochs)
            write_scores(run, copied(share + 0.03 * seed), order=-1 if seed else 1)
    return tmp_path


def test_runs_that_differ_in_seeds_alone_are_one_group(seeds, capsys):
    runs = sorted(seeds.glob("*/seed_*"), reverse=True)
    plain, better = as_json(capsys, seeds / "plain", *runs[3:])
    assert (plain["seeds"], better["seeds"]) == ([0, 1, 2], [2, 1, 0])
    assert better["first"]["config"] == ["train.epochs: 2 -> 3"]
    for name in SCORES:
        score = better["scores"][name]
        assert score["mean"]["value"] == pytest.approx(np.mean(score["each"]))
        gain = score["difference"]
        assert gain["value"] == pytest.approx(
            score["mean"]["value"] - plain["scores"][name]["mean"]["value"]
        )
        assert 0 < gain["low"] < gain["value"] < gain["high"]
        assert gain["p"] == score["corrected_p"] < 0.05
        assert "difference" not in plain["scores"][name]


def test_the_table_of_groups_has_a_row_a_group_and_says_its_method(seeds, capsys):
    compare.main([str(seeds / "plain"), str(seeds / "better")])
    out = capsys.readouterr().out
    header, *rows = out.split("\n\n")[0].splitlines()
    assert header.split()[:5] == ["x", "100", "seeds", "words", "trained"]
    assert len(rows) == 2 and rows[1].count("+") == 2
    assert "by seed: BLEU-4" in out and "over seeds and photos together" in out


def test_a_group_is_named_by_the_folder_of_its_seeds(seeds, capsys):
    compare.main([str(seeds / "plain"), str(seeds / "better" / "seed_1")])
    rows = capsys.readouterr().out.splitlines()[1:3]
    assert rows[0].startswith(f"{seeds / 'plain'} (test-beam")
    assert rows[1].startswith(f"{seeds / 'better' / 'seed_1'} (test-beam")


@pytest.mark.parametrize("arms", [("plain", "better"), ("plain/seed_0", "better/seed_0")], ids=str)
def test_the_picture_shows_groups_and_runs(seeds, tmp_path, arms, capsys):
    path = tmp_path / "picture.png"
    assert compare.main([*(str(seeds / arm) for arm in arms), "--picture", str(path)]) == 0
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.std() > 10
    assert f"written to {path}" in capsys.readouterr().err


def test_a_picture_of_nothing_is_refused(tmp_path):
    path = tmp_path / "picture.png"
    young = make_run(tmp_path / "young")
    with pytest.raises(UserError, match="none of the runs has been scored"):
        compare.main([str(young), "--picture", str(path)])
    assert not path.exists()


def test_p_is_corrected_for_the_number_of_groups(seeds, tmp_path, capsys):
    """With a second difference, Holm doubles the smaller p."""
    _, before = as_json(capsys, seeds / "plain", seeds / "better")
    same = make_run(tmp_path / "same", epochs=9)
    write_scores(same, copied(0.2))
    _, after, _ = as_json(capsys, seeds / "plain", seeds / "better", same)
    first = before["scores"]["CIDEr-D"]
    second = after["scores"]["CIDEr-D"]
    assert second["difference"]["p"] == pytest.approx(first["difference"]["p"])
    assert second["corrected_p"] == pytest.approx(2 * second["difference"]["p"])


def test_a_run_named_twice_counts_once_in_its_group(seeds, capsys):
    groups = as_json(capsys, seeds / "plain", seeds / "plain" / "seed_0")
    assert [group["seeds"] for group in groups] == [[0, 1, 2], [0]]


def test_a_group_of_other_images_has_no_difference(seeds, tmp_path, capsys):
    for seed in range(2):
        run = make_run(tmp_path / "fewer" / f"seed_{seed}", seed=seed)
        write_scores(run, copied(0.5), first=10)
    _, fewer = as_json(capsys, seeds / "plain", tmp_path / "fewer")
    assert "difference" not in fewer["scores"]["CIDEr-D"]
    assert fewer["scores"]["CIDEr-D"]["mean"]["value"] > 0


def test_a_first_group_without_scores_leaves_no_differences(seeds, tmp_path, capsys):
    young = make_run(tmp_path / "young")
    first, plain, better = as_json(capsys, young, seeds / "plain", seeds / "better")
    assert first["scores"] is None
    assert "difference" not in plain["scores"]["CIDEr-D"]
    assert "difference" not in better["scores"]["CIDEr-D"]
    compare.main([str(young), str(seeds / "plain")])
    assert "not scored" in capsys.readouterr().out


def test_a_run_with_replicas_stands_for_its_seeds(seeds, capsys):
    config = json.loads((seeds / "plain" / "seed_0" / "config.json").read_text())
    config["train"]["replicas"] = 3
    (seeds / "plain" / "config.json").write_text(json.dumps(config))
    (group,) = as_json(capsys, seeds / "plain")
    assert len(group["runs"]) == 3
