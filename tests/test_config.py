"""Configs: experiment files load, overrides keep types, mistakes are named in one line."""

from pathlib import Path

import pytest

from jaxcap import config as configs
from jaxcap.errors import UserError

EXPERIMENTS = sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))
BASE = str(EXPERIMENTS[0].parent / "base.py")


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_has_the_keys_of_the_base_and_no_others(path):
    base, other = configs.flatten(configs.load(BASE)), configs.flatten(configs.load(str(path)))
    assert base.keys() == other.keys()
    assert {key: type(value) for key, value in base.items()} == {key: type(value) for key, value in other.items()}


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("--config.seed=7", "seed", 7),
        ("--config.train.learning_rate=1e-3", "train.learning_rate", 1e-3),
        ("--config.train.clip_norm=2", "train.clip_norm", 2.0),
        ("--config.embedding.trainable=false", "embedding.trainable", False),
        ("--config.data.dir=~/a=b", "data.dir", "~/a=b"),
        ("--config.encoder.stage_sizes=(1, 2)", "encoder.stage_sizes", (1, 2)),
        ("--config.encoder.stage_sizes=1,2", "encoder.stage_sizes", (1, 2)),
        ("--config.images.views=('plain',)", "images.views", ("plain",)),
        ("--config.images.views=plain,mirror", "images.views", ("plain", "mirror")),
    ],
)
def test_overrides_keep_the_type_of_their_key(argument, key, value):
    found = configs.flatten(configs.load(BASE, [argument]))[key]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--config.train.batchsize=3", "did you mean 'train.batch_size'"),
        ("--config.data.dri=x", "did you mean 'data.dir'"),
        ("--config.train.epochs=many", "train.epochs=.*: must be a whole number"),
        ("--config.train.epochs=1.5", "train.epochs=.*: must be a whole number"),
        ("--config.embedding.trainable=perhaps", "must be true or false"),
        ("--config.encoder.stage_sizes=(1, 'a')", "must be a tuple"),
        ("--config.train.epochs", "has no value"),
    ],
)
def test_wrong_overrides_are_named(argument, said):
    with pytest.raises(UserError, match=said):
        configs.load(BASE, [argument])


def test_missing_file_and_files_that_are_no_experiments(tmp_path):
    with pytest.raises(UserError, match="no experiment file at .*nowhere.py"):
        configs.load(str(tmp_path / "nowhere.py"))
    broken = {
        "empty.py": "",
        "typo.py": "import base\ndef get_config():\n    config = base.get_config()\n    config.data.nmae = 'x'\n",
        "syntax.py": "def get_config(:\n",
    }
    (tmp_path / "base.py").write_text(Path(BASE).read_text())
    for name, text in broken.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=name):
            configs.load(str(tmp_path / name))


def test_neighbours_of_an_experiment_are_not_mixed_up(tmp_path):
    """Two experiments in two folders each get the base beside them."""
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "base.py").write_text(Path(BASE).read_text().replace('"seed": 0', f'"seed": {seed}'))
        (folder / "mine.py").write_text("import base\n\n\ndef get_config():\n    return base.get_config()\n")
    assert [configs.load(str(tmp_path / str(seed) / "mine.py")).seed for seed in (1, 2)] == [1, 2]


def test_json_round_trip_and_differences():
    config = configs.load(BASE)
    again = configs.from_json(configs.to_json(config))
    assert configs.flatten(again) == configs.flatten(config)
    assert configs.differences(config, again) == []
    other = configs.load(BASE, ["--config.train.epochs=3", "--config.images.views=('plain',)"])
    assert configs.differences(config, other) == [
        "images.views: ('plain', 'mirror') -> ('plain',)",
        f"train.epochs: {config.train.epochs} -> 3",
    ]
