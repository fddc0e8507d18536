"""Ablations: files load, every mistake is one line before anything runs, nothing is written."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from jaxcap import ablate
from jaxcap.ablation import grid, plan, record
from jaxcap.errors import UserError
from jaxcap.experiment import catalog, defaults
from jaxcap.experiment import config as configs
from tests.ablation import grids

# A shipped ablation may name a key that this version does not have yet.
HAS_MISSING_RATE = "missing_rate" in defaults.embedding()


def resolve(path, typed=()):
    ablation = grid.load_ablation(path)
    return ablation, grid.resolve_arms(ablation, path.parent, configs.read_overrides(typed))[0]


def run(path, *arguments):
    return ablate.main(["--config", str(path), "--workdir", str(path.parent / "grid"), *arguments])


def test_overrides_come_in_their_order_shared_typed_arm(tmp_path):
    path = grids.write(tmp_path, {"plain": {}, "wide": {"decoder.hidden": 9}})
    typed = ["--config.decoder.hidden=10", "--config.decoder.attention=6"]
    _, arms = resolve(path, typed)
    assert (arms["plain"].decoder.hidden, arms["wide"].decoder.hidden) == (10, 9)
    assert {config.decoder.attention for config in arms.values()} == {6}
    assert {config.images.size for config in arms.values()} == {32}
    ablation = grid.add_overrides(grid.load_ablation(path), ["wide:decoder.hidden=11"])
    arms, _ = grid.resolve_arms(ablation, tmp_path, configs.read_overrides(typed))
    assert arms["wide"].decoder.hidden == 11


@pytest.mark.parametrize(
    ("arms", "fields", "arguments", "said"),
    [
        ({"a": {"decoder.hiden": 9}}, {}, [], "arm a: unknown config key 'decoder.hiden': did you"),
        ({"a": {"decoder.hidden": 0}}, {}, [], "arm a: decoder.hidden=0: must be a whole number"),
        ({"a": {"decoder.hidden": "9"}}, {}, [], "arm a: decoder.hidden='9': must be a whole"),
        ({"a": {"seed": 1}}, {}, [], "arm a: seed is no key of an ablation"),
        ({"a": {"embedding.kind": "word2vec"}}, {}, [], "arm a: embedding.kind=word2vec needs"),
        ([("a", {}), ("A", {})], {}, [], "two arms are called a"),
        ({"a/b": {}}, {}, [], "arm 'a/b': a name must be a letter and"),
        ({"a": {}}, {"seeds": (1, 2, 1)}, [], "two seeds are 1: each"),
        ({"a": {}}, {"seeds": ()}, [], "the ablation has no seeds"),
        ({"a": {}}, {"seeds": (-1,)}, [], "seed -1: must be a whole number"),
        ({"a": {}}, {"metric": "BLEU"}, [], "metric='BLEU' of the ablation: must be one of BLEU-1"),
        ({"a": {}}, {"split": "train"}, [], "split='train' of the ablation: must be one of val"),
        ({"a": {}}, {"base": "quickstrat"}, [], "no experiment is called 'quickstrat': did you"),
        ({"a": {}}, {}, ["--seeds", "0,0"], "two seeds are 0"),
        ({"a": {}}, {}, ["--seeds", "x"], "--seeds: x: must be a tuple"),
        ({"abc": {}}, {}, ["--arms", "abd"], "no arm is called 'abd': did you mean 'abc'?"),
        ({"a": {}}, {}, ["--arm", "b:seed=1"], "no arm is called 'b'"),
        ({"a": {}}, {}, ["--arm", "a"], "--arm a: must be NAME:KEY=VALUE"),
        ({"a": {}}, {}, ["--arm", "a:train.epochs=0"], "train.epochs=0: must be a whole number"),
        ({"a": {}}, {}, ["--config.train.epoch=1"], "unknown config key 'train.epoch'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(arms, fields, arguments, said, tmp_path):
    path = grids.write(tmp_path, arms, **fields)
    with pytest.raises(UserError, match=f"^[^\n]*{re.escape(said)}[^\n]*$"):
        run(path, *arguments)
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "defines no get_ablation()"),
        ("def get_ablation():\n    return 3", "must return an Ablation of Arms"),
        ("def get_ablation():\n    1 / 0", "line 2: the experiment cannot be used: ZeroDiv"),
        ("def get_config():\n    pass", "is an experiment and no ablation"),
    ],
)
def test_a_file_that_is_no_ablation_is_named(text, said, tmp_path):
    path = tmp_path / "ablation_x.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(said)):
        grid.load_ablation(path)


def test_an_ablation_is_no_experiment_and_an_experiment_no_ablation(tmp_path):
    with pytest.raises(UserError, match="is an ablation of jaxcap ablate, not an experiment"):
        configs.load(grids.write(tmp_path))
    with pytest.raises(UserError, match="ablation_decoder is an ablation: jaxcap ablate runs it"):
        catalog.find_experiment("ablation_decoder")
    with pytest.raises(UserError, match="flickr8k is an experiment of jaxcap train; an ablation"):
        catalog.find_ablation("flickr8k")
    with pytest.raises(UserError, match="did you mean 'ablation_words'"):
        catalog.find_ablation("ablation_word")


def test_an_arm_without_its_file_is_left_out_and_it_is_said_how_to_give_it(tmp_path, capsys):
    path = tmp_path / "ablation_x.py"
    path.write_text(
        "from jaxcap.ablation.grid import Ablation, Arm\n"
        "WANTS = ('embedding.path',)\n"
        "KIND = {'embedding.kind': 'word2vec'}\n"
        "def get_ablation():\n"
        "    own = Arm('own', {**KIND, 'embedding.path': ''}, WANTS)\n"
        "    arms = (Arm('plain'), Arm('all', KIND, WANTS), own)\n"
        f"    return Ablation(base='quickstart', arms=arms, shared={grids.SHARED!r})\n",
        encoding="utf-8",
    )
    assert run(path, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "3 cells of seeds 0, 1, 2" in out
    assert "arm all is left out, for embedding.path is empty: give it with --config.emb" in out
    assert "arm own is left out, for embedding.path is empty: give it with --arm own:emb" in out
    assert run(path, "--dry-run", "--config.embedding.path=F", "--arm=own:embedding.path=G") == 0
    assert "9 cells" in capsys.readouterr().out
    with pytest.raises(UserError, match="no arm is left: arm own is left out"):
        run(path, "--arms", "own")


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    path = grids.write(tmp_path)
    assert run(path, "--dry-run") == 0
    out = capsys.readouterr().out
    assert "9 cells of seeds 0, 1, 2" in out and "0 finished, 6 to train, 9 to score" in out
    assert "cost: not known before the first cell is finished" in out
    assert sorted(tmp_path.iterdir()) == [path]


def test_arms_that_differ_in_their_search_alone_share_a_training(tmp_path):
    """The first of them trains; also where a later call runs another of them alone."""
    path = grids.write(tmp_path)
    ablation, arms = resolve(path)
    known = record.open_grid(tmp_path / "grid", ablation, arms)
    listed = plan.list_cells(known, arms, (3, 4))
    assert [(cell.name, cell.training) for cell in listed] == [
        ("plain/seed_3", "plain/seed_3"),
        ("greedy/seed_3", "plain/seed_3"),
        ("wide/seed_3", "wide/seed_3"),
        ("plain/seed_4", "plain/seed_4"),
        ("greedy/seed_4", "plain/seed_4"),
        ("wide/seed_4", "wide/seed_4"),
    ]
    assert [cell.config.seed for cell in listed] == [3, 3, 3, 4, 4, 4]
    (cell,) = plan.list_cells(known, {"greedy": arms["greedy"]}, (3,))
    assert cell.training == "plain/seed_3"


def test_a_folder_of_another_grid_is_refused_and_more_arms_are_welcome(tmp_path):
    folder = tmp_path / "grid"
    ablation, arms = resolve(grids.write(tmp_path))
    record.write_grid(folder, record.open_grid(folder, ablation, arms))
    assert record.open_grid(folder, ablation, arms).arms.keys() == arms.keys()
    for changed, said in (
        ({"arms": grids.ARMS | {"wide": {"decoder.hidden": 7}}}, "wide: decoder.hidden: 9 -> 7"),
        ({"arms": grids.ARMS | {"greedy": {}}}, "greedy: search.kind: greedy -> beam"),
        ({"metric": "BLEU-4"}, "metric: CIDEr-D -> BLEU-4"),
        ({"split": "test"}, "split: val -> test"),
        ({"shared": grids.SHARED | {"train.epochs": 2}}, "plain: train.epochs: 1 -> 2"),
    ):
        ablation, arms = resolve(grids.write(tmp_path, **changed))
        with pytest.raises(UserError, match=f"holds another grid .*{re.escape(said)}"):
            record.open_grid(folder, ablation, arms)
    more = {"first": {"decoder.hidden": 5}, **grids.ARMS}
    free = grids.SHARED | {"images.workers": 2}
    ablation, arms = resolve(grids.write(tmp_path, more, shared=free, seeds=(7,)))
    assert list(record.open_grid(folder, ablation, arms).arms) == [*grids.ARMS, "first"]


def test_a_key_that_is_newer_than_the_grid_has_its_default(tmp_path):
    folder = tmp_path / "grid"
    ablation, arms = resolve(grids.write(tmp_path))
    known = record.open_grid(folder, ablation, arms)
    for values in known.arms.values():
        del values["loss.label_smoothing"]
    record.write_grid(folder, known)
    record.open_grid(folder, ablation, arms)


@pytest.mark.parametrize("name", sorted(catalog.list_ablations()))
def test_a_shipped_ablation_says_what_it_is_and_its_command_is_right(name, tmp_path, capsys):
    if name == "ablation_words" and not HAS_MISSING_RATE:
        pytest.skip("needs the key embedding.missing_rate")
    text = catalog.find_ablation(name).read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring.splitlines()[0].endswith((".", "?"))
    (arguments,) = re.findall(r"(?ms)^  jaxcap ablate (.*)\Z", docstring)
    arguments = shlex.split(arguments.replace("\\\n", " "))
    assert ablate.main([*arguments, "--dry-run", "--workdir", str(tmp_path / "grid")]) == 0
    out = capsys.readouterr().out
    assert "left out" not in out
    if name == "ablation_search":
        assert "24 cells" in out and "3 to train" in out


def test_every_shipped_ablation_rests_on_a_shipped_experiment():
    for path in catalog.list_ablations().values():
        ablation = grid.load_ablation(path)
        grid.check_ablation(ablation)
        assert ablation.base in catalog.list_experiments()
        assert Path(path).stem.startswith("ablation_")
