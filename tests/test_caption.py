"""The command caption: photos of every kind in, a line each out; bad ones named, attention drawn,
draws seeded.
"""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcap import caption, decoding, evaluate
from jaxcap.decoding import captions
from jaxcap.decoding.strategy import BeamSearch
from jaxcap.errors import UserError
from jaxcap.evaluation import splits
from jaxcap.experiment import restore
from jaxcap.experiment.inputs import open_plain_inputs
from jaxcap.experiment.restore import restore_best
from jaxcap.figures import drawings
from jaxcap.figures.drawings import Drawings
from jaxcap.inputs import images
from jaxcap.inputs.photo_files import find_photos
from tests import small_run

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six photos of many modes and sizes, two of them in a folder below, and two files that are
    none.
    """
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    rng = np.random.default_rng(0)

    def noise(*shape, kind=np.uint8, most=256):
        return Image.fromarray(rng.integers(0, most, shape).astype(kind))

    noise(40, 60, 3).save(folder / "colour.jpg")
    noise(33, 70).save(folder / "grey.PNG")
    Image.fromarray(rng.integers(0, 256, (20, 20, 4), np.uint8), "CMYK").save(folder / "print.jpeg")
    noise(1, 1, 3).save(folder / "speck.bmp")
    noise(50, 20, 4).save(folder / "below" / "glass.webp")
    noise(30, 30, kind=np.uint16, most=65536).save(folder / "below" / "colour.png")
    (folder / "cut.jpg").write_bytes((folder / "colour.jpg").read_bytes()[:400])
    (folder / "notes.txt").write_text("no photo, and not taken for one")
    return folder


GOOD = ["below/colour.png", "below/glass.webp", "colour.jpg", "grey.PNG", "print.jpeg", "speck.bmp"]


def run_command(workdir, *arguments):
    return caption.main(["--workdir", str(workdir), *map(str, arguments)])


def answers(capsys):
    return json.loads(capsys.readouterr().out)


def test_a_folder_gives_a_line_a_photo_and_a_bad_one_is_named(made_run, photos, capsys):
    assert (
        run_command(made_run, photos, photos / "absent.jpg", photos / "grey.PNG", "--beam", 2) == 2
    )
    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        str(photos / n) for n in [*GOOD, "grey.PNG"]
    ]
    assert len({line.split(": ")[1] for line in out.splitlines()}) > 1  # not one caption for all
    said = [line for line in err.splitlines() if line.startswith("error")]
    assert len(said) == 2 and "cut.jpg" in said[0] and "absent.jpg" in said[1]


def test_captions_do_not_depend_on_the_batch_or_on_bad_neighbours(made_run, photos, capsys):
    run_command(made_run, photos, "--beam", 2, "--json", "--batch-size", 3)
    together = answers(capsys)
    good = [photos / name for name in reversed(GOOD)]
    assert run_command(made_run, *good, "--beam", 2, "--json", "--batch-size", 1) == 0
    alone = answers(capsys)
    assert [a["words"] for a in together] == [a["words"] for a in reversed(alone)]


def test_json_tells_words_probabilities_and_attention(made_run, photos, capsys):
    """Attention sums to 1 under each word; the sentence is as probable as its words, times its
    <end> if it has one.
    """
    run_command(made_run, *[photos / name for name in GOOD], "--beam", 1, "--json")
    for answer in answers(capsys):
        words = len(answer["words"])
        ended = len(answer["words"]) < 11
        assert answer["caption"].split() == answer["words"]
        attention = np.array(answer["attention"]).reshape(words, 16)
        np.testing.assert_allclose(attention.sum(1), 1, atol=2e-4)
        assert len(answer["probabilities"]) == words
        of_words = np.log(np.maximum(answer["probabilities"], 1e-9)).sum()
        assert (
            answer["log_prob"] <= of_words + 0.05
            if ended
            else answer["log_prob"] == pytest.approx(of_words, abs=0.05)
        )


def test_it_writes_what_evaluation_writes(made_run, tmp_path, capsys):
    """The same photos through the data set's batches and through files get the same captions."""
    trained = restore_best(made_run)
    _, split = splits.load_scored(trained.config, "val")
    for row in range(len(split)):
        (tmp_path / f"{row}.png").write_bytes(split.photo(row))
    run_command(made_run, tmp_path, "--beam", 2, "--json")
    rules = decoding.Rules(trained.config.text.max_length)
    searched = restore.compile_search(trained, rules, BeamSearch(2))
    inputs = open_plain_inputs(trained, split)
    written = captions.write_captions(
        searched, trained.params, inputs, len(split), 3, trained.vocabulary
    )
    assert [answer["words"] for answer in answers(capsys)] == [one.words for one in written]


def test_attention_is_drawn_and_photos_of_one_name_do_not_overwrite_each_other(
    made_run, photos, tmp_path, capsys
):
    out = tmp_path / "made" / "here"
    pair = [photos / "colour.jpg", photos / "below"]
    assert run_command(made_run, *pair, "--attention", out) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name}.{kind}" for name in ("colour", "colour-2", "glass") for kind in ("gif", "png")
    )
    words = len(capsys.readouterr().out.splitlines()[0].split(": ")[1].split())
    with Image.open(out / "colour.gif") as animation:
        assert animation.n_frames == words + 1


def test_a_gru_without_its_state_captions_and_is_drawn_over_8_x_8_regions(photos, tmp_path, capsys):
    """A published system in small: photos of a size that 8 does not divide, two dense layers behind
    the cell, and captions that are sampled.
    """
    workdir = small_run.make(
        tmp_path / "run",
        images__size=59,
        encoder__levels=1,
        encoder__rates="*:0",
        decoder__cell="gru",
        decoder__stateless=True,
        decoder__activation="tanh",
        head__deep_output=False,
        head__hidden=6,
        search__kind="sample",
    )
    out = tmp_path / "out"
    good = [photos / name for name in GOOD]
    assert run_command(workdir, *good, "--json", "--attention", out) == 0
    for answer in answers(capsys):
        attention = np.array(answer["attention"]).reshape(len(answer["words"]), 64)
        np.testing.assert_allclose(attention.sum(1), 1, atol=5e-4)
    assert len(list(out.iterdir())) == 2 * len(GOOD)
    assert evaluate.main(["--workdir", str(workdir), "--split", "val"]) == 0
    page = (workdir / "evaluation" / "val-sample" / "report.html").read_text(encoding="utf-8")
    lights = re.findall(r'data-light="([^"]+)"', page)
    assert {len(base64.b64decode(light)) for light in lights} == {64}


def test_an_empty_caption_can_be_drawn(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    Drawings(tmp_path / "out", [], (4, 4)).add(tmp_path / "a.jpg", pixels, [], np.zeros((0, 16)))
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_draws_follow_the_seed_and_not_the_batch(made_run, photos, capsys):
    good = [photos / name for name in GOOD]

    def drawn(*arguments):
        run_command(made_run, *good, "--json", "--search=sample", "--temperature=2", *arguments)
        return [answer["words"] for answer in answers(capsys)]

    first = drawn("--seed", 1)
    assert drawn("--seed", 1, "--batch-size", 4) == first
    assert drawn("--seed", 2) != first
    assert drawn("--seed", 2, "--top-k", 1) == drawn("--seed", 3, "--top-k", 1)


def test_one_photo_twice_is_drawn_twice(made_run, photos, capsys):
    photo = photos / "colour.jpg"
    run_command(made_run, *[photo] * 6, "--json", "--search=sample", "--temperature=3")
    assert len({answer["caption"] for answer in answers(capsys)}) > 1


def test_files_are_found_sorted_and_an_empty_folder_is_named(made_run, photos, tmp_path, capsys):
    assert [str(path.relative_to(photos)) for path in find_photos([photos])] == sorted(
        [*GOOD, "cut.jpg"]
    )
    assert run_command(made_run, tmp_path) == 2
    out, err = capsys.readouterr()
    assert out == "" and f"error: there is no photo in the folder {tmp_path}" in err


def test_the_encoder_sees_what_it_saw_in_training(made_run, photos, monkeypatch):
    seen = []
    plain = images.test_view
    monkeypatch.setattr(
        images, "test_view", lambda pixels, size: seen.append(size) or plain(pixels, size=size)
    )
    run_command(made_run, photos / "colour.jpg", "--beam", 1)
    assert seen == [32]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "1"], "search.kind is beam: add --search sample"),
        (["--top-p", "0.5"], "--top-p belongs to --search sample, and this run's"),
        (["--search=sample", "--beam=3"], "--beam belongs to --search beam, and --search sample"),
        (["--search=greedy", "--beam=3"], "--search greedy is there too: choose one"),
        (["--search=greedy", "--top-k=3"], "--top-k belongs to --search sample, and --search gr"),
        (["--search=nucleus"], "--search: nucleus: must be one of beam, greedy, sample"),
        (["--sample"], "unrecognized arguments: --sample"),
        (["--search=sample", "--temperature", "0"], "--temperature: 0: must be"),
        (["--search=sample", "--top-p", "1.5"], "--top-p: 1.5: must be"),
        (["--beam", "0"], "--beam: 0: must be a whole number from 1"),
        (["--batch-size", "0"], "--batch-size: 0: must be a whole number from 1"),
        (["--attention", __file__], "is a file"),
        (["--attention", f"{__file__}/below/here"], "is a file"),
        (["--attention", "/proc/here"], "cannot write to /proc/here"),
        (["--workdir", __file__], "that is a file"),
        (["--workdir", "/nowhere"], "/nowhere"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(made_run, photos, arguments, said):
    with pytest.raises(UserError) as mistake:
        run_command(made_run, photos / "colour.jpg", *arguments)
    assert said in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_a_name_that_is_not_utf8_is_printed_and_drawn(made_run, photos, tmp_path, capsys):
    name = os.fsdecode(b"caf\xe9\n.jpg")
    (tmp_path / name).write_bytes((photos / "colour.jpg").read_bytes())
    assert run_command(made_run, tmp_path, "--beam", 1, "--attention", tmp_path / "out") == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/caf\\xe9\\n.jpg: ")
    assert len(list((tmp_path / "out").iterdir())) == 2
    run_command(made_run, tmp_path / name, "--beam", 1, "--json")
    [answer] = answers(capsys)
    assert answer["path"].encode() == os.fsencode(tmp_path) + rb"/caf\xe9" + b"\n.jpg"


def test_a_folder_that_cannot_be_listed_is_named_and_the_others_go_on(
    made_run, photos, monkeypatch, capsys
):
    scan = os.scandir

    def refused(path):
        if Path(path).name == "below":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    (photos / "cut.jpg").rename(photos / "cut")
    try:
        assert run_command(made_run, photos, "--beam", 1) == 2
    finally:
        (photos / "cut").rename(photos / "cut.jpg")
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    [said] = [line for line in err.splitlines() if line.startswith("error")]
    assert f"the folder {photos / 'below'} cannot be searched (Permission denied)" in said


def test_what_is_no_photo_is_named_and_waited_on_by_nobody(
    made_run, photos, tmp_path, monkeypatch, capsys
):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "huge.jpg").write_bytes(bytes(100_000))
    monkeypatch.setattr("jaxcap.inputs.photo_files.MOST_BYTES", 90_000)
    assert run_command(made_run, tmp_path, "/dev/zero", photos / "colour.jpg", "--beam", 1) == 2
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    said = [line.split("/")[-1] for line in err.splitlines() if line.startswith("error")]
    assert [line.split(" ")[0] for line in said] == [
        "gone.jpg",
        "huge.jpg",
        "loop.jpg",
        "pipe.jpg",
        "zero",
    ]
    assert "more than 0.1 MB" in said[1] and "a pipe or a device" in said[3]


def test_hidden_files_are_no_photos_and_no_link_is_followed_round(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".b.png", ".hidden/c.jpg", "d.jpg/e.JPEG", "f.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "round").symlink_to(tmp_path)
    assert find_photos([tmp_path]) == [tmp_path / "a.jpg", tmp_path / "d.jpg" / "e.JPEG"]
    assert (
        find_photos([tmp_path / ".b.png", tmp_path / "round"])[0] == tmp_path / ".b.png"
    )  # named, so meant


def test_the_workdir_is_only_read(made_run, photos):
    def state():
        return {path: path.stat().st_mtime_ns for path in [made_run, *made_run.rglob("*")]}

    before = state()
    run_command(made_run, photos / "colour.jpg", "--beam", 1)
    assert state() == before


def test_a_place_for_drawings_is_looked_at_before_the_work(made_run, photos, monkeypatch):
    monkeypatch.setattr(restore, "restore_best", None)
    with pytest.raises(UserError, match="cannot write to"):
        run_command(made_run, photos, "--attention", photos / "colour.jpg" / "out")


def test_long_names_are_cut_and_kept_apart(made_run, photos, tmp_path):
    for last in "ab":
        (tmp_path / f"{'é' * 122}{last}.jpg").write_bytes((photos / "colour.jpg").read_bytes())
    (tmp_path / f"{'n' * 246}.jpg").write_bytes((photos / "colour.jpg").read_bytes())
    assert run_command(made_run, tmp_path, "--beam", 1, "--attention", tmp_path / "out") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    stems = ("n" * 200, f"{'é' * 100}-2", "é" * 100)
    assert names == sorted(f"{stem}.{kind}" for stem in stems for kind in ("gif", "png"))


def test_a_photo_in_the_folder_of_drawings_is_not_drawn_over(made_run, photos, tmp_path):
    photo = tmp_path / "A.png"
    photo.write_bytes((photos / "grey.PNG").read_bytes())
    assert run_command(made_run, photo, "--beam", 1, "--attention", tmp_path) == 0
    assert photo.read_bytes() == (photos / "grey.PNG").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A-2.gif", "A-2.png", "A.png"]


def test_json_is_whole_when_drawing_fails_on_the_way(
    made_run, photos, tmp_path, monkeypatch, capsys
):
    def full(path, content):
        raise UserError("no space left")

    monkeypatch.setattr(drawings, "write_atomically", full)
    with pytest.raises(UserError, match="no space left"):
        run_command(made_run, photos, "--beam", 1, "--json", "--attention", tmp_path)
    assert len(answers(capsys)) == 1


def test_json_without_a_caption_is_an_empty_list(made_run, photos, capsys):
    assert run_command(made_run, photos / "cut.jpg", "--beam", 1, "--json") == 2
    assert answers(capsys) == []


MEASURED = """import re, sys
from jaxcap import caption
caption.main(sys.argv[1:])
# Of this program alone: what getrusage tells counts the parent's memory in.
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])"""


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="Linux tells the peak of the memory there"
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_many_large_photos_take_no_more_memory_than_one(made_run, tmp_path, mode):
    """A photo of 24 megapixels takes 72 MB decoded, and several times that while it is decoded."""
    Image.new(mode, (6000, 4000), (200, 30, 40, 128)[: len(mode)]).save(
        tmp_path / "0.png", compress_level=1
    )
    for number in range(1, 16):
        os.link(tmp_path / "0.png", tmp_path / f"{number}.png")
    arguments = ["--workdir", str(made_run), "--beam", "1", "--batch-size", "64", str(tmp_path)]
    command = [sys.executable, "-c", MEASURED, *arguments]
    said = subprocess.run(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    *captions, peak = said.splitlines()
    assert len(captions) == 16
    assert int(peak) < 950_000  # kB
