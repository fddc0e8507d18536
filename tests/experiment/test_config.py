"""Configs: experiment files load, overrides keep types, mistakes are named in one line."""

from pathlib import Path

import pytest

from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment.kinds import CAPTIONER, DENOISER

EXPERIMENTS = [
    path
    for path in sorted((Path(__file__).parents[2] / "experiments").glob("*.py"))
    if not path.stem.startswith("ablation_")
]
BASE = str(EXPERIMENTS[0].parent / "base.py")


def kind_of(path):
    return DENOISER if path.stem.startswith("denoiser") else CAPTIONER


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_has_the_keys_of_the_base_and_no_others(path):
    kind = kind_of(path)
    base = configs.flatten(configs.load(path.with_name(f"{kind.base}.py"), kind=kind))
    other = configs.flatten(configs.load(str(path), kind=kind))
    assert base.keys() == other.keys()
    assert {key: type(value) for key, value in base.items()} == {
        key: type(value) for key, value in other.items()
    }


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_of_the_other_kind_is_named(path):
    own = kind_of(path)
    other = CAPTIONER if own is DENOISER else DENOISER
    said = f"{path.name} is an experiment of jaxcap {own.command}, not of jaxcap {other.command}$"
    with pytest.raises(UserError, match=said):
        configs.load(path, kind=other)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("--config.noise.gausian=1", "did you mean 'noise.gaussian'.*denoising/defaults.py lists"),
        ("--config.decoder.hidden=1", "unknown config key 'decoder.hidden'"),
        ("--config.noise.gaussian=2", "noise.gaussian=2: must be a number of at least 0 and at"),
        ("--config.denoiser.widths=0", "denoiser.widths=0: must be a tuple"),
    ],
)
def test_the_keys_of_a_denoiser_are_its_own(override, said):
    path = EXPERIMENTS[0].with_name("denoiser.py")
    with pytest.raises(UserError, match=said):
        configs.load(path, [override], DENOISER)


@pytest.mark.parametrize(
    ("argument", "key", "value"),
    [
        ("--config.seed=7", "seed", 7),
        ("--config.train.learning_rate=1e-3", "train.learning_rate", 1e-3),
        ("--config.train.clip_norm=2", "train.clip_norm", 2.0),
        ("--config.data.download=true", "data.download", True),
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
        ("--config.data.download=perhaps", "must be true or false"),
        ("--config.encoder.stage_sizes=(1, 'a')", "must be a tuple"),
        ("--config.train.epochs", "has no value"),
    ],
)
def test_wrong_overrides_are_named(argument, said):
    with pytest.raises(UserError, match=said):
        configs.load(BASE, [argument])


START = "import base\n\n\ndef get_config():\n    config = base.get_config()\n"  # five lines


@pytest.fixture
def beside_base(tmp_path):
    """A folder with the base's copy, for experiments that import it."""
    (tmp_path / "base.py").write_text(Path(BASE).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


BROKEN = {
    "an unknown name": (
        START + "    config.seed = seed\n",
        "mine.py, line 6: .*NameError: name 'seed'",
    ),
    "a division": (START + "    config.seed = 1 // 0\n", "mine.py, line 6: .*ZeroDivisionError"),
    "a missing file": (
        START + "    open('nowhere')\n",
        "mine.py, line 6: .*No such file .*'nowhere'",
    ),
    "an exit": (START + "    raise SystemExit(3)\n", "mine.py, line 6: .*SystemExit: 3"),
    "an exit without a word": ("import sys\nsys.exit()\n", "mine.py, line 2: .*SystemExit$"),
    "any other": ("class Odd(BaseException):\n    pass\nraise Odd\n", "mine.py, line 3: .*Odd$"),
    "many lines": (START + "    raise ValueError('one\\ntwo')\n", "ValueError: one two$"),
    "no end": (START.replace("base.get", "get"), "mine.py, line 5: .*RecursionError"),
    "a typing mistake": (
        START + "    config.data.nmae = 'x'\n",
        'line 6: .*Did you mean "name" instead of "nmae"',
    ),
    "a mistyped section": (
        START + "    config.dat.name = 'x'\n",
        'line 6: .*Did you mean "data" instead of "dat"',
    ),
    "a string for a number": (
        START + "    config.seed = 'many'\n",
        "mine.py, line 6: .*'seed'.*many",
    ),
    "an unknown module": (
        "import nothing_of_this_name\n",
        "mine.py, line 1: .*nothing_of_this_name",
    ),
    "bad syntax": ("seed = 1\ndef get_config(:\n", "mine.py, line 2: .*SyntaxError"),
    "a bad neighbour": ("import neighbour\n", "neighbour.py, line 2: .*SyntaxError"),
    "nothing in it": ("", r"mine.py defines no get_config\(\)"),
    "no function": ("get_config = 3\n", "mine.py: .*not callable"),
    "an argument": (
        "def get_config(name):\n    pass\n",
        "mine.py: .*missing 1 required positional argument",
    ),
    "no return": (
        START,
        r"mine.py: get_config\(\) returns nothing: let it end with `return config`",
    ),
    "a dict": (START + "    return config.to_dict()\n", "mine.py: .* returns a dict"),
    "a frozen config": (
        START
        + "    from ml_collections import FrozenConfigDict\n    return FrozenConfigDict(config)\n",
        "mine.py: .* returns a FrozenConfigDict",
    ),
    "another key": (
        START + "    config.unlock().train.epoch = 3\n    return config\n",
        "mine.py has an unknown config key 'train.epoch': did you mean 'train.epochs'",
    ),
    "a number for a key": (
        "from ml_collections import ConfigDict\n\n\ndef get_config():\n    return ConfigDict({1: "
        "2})\n",
        "mine.py has an unknown config key '1'",
    ),
    "a lost key": (
        START + "    del config.unlock().seed\n    return config\n",
        "mine.py lacks 1 of the keys, seed",
    ),
    "a lost section": (
        START + "    config.unlock().show = {}\n    return config\n",
        "mine.py lacks 2 of the keys, show",
    ),
    "an empty reference": (
        START + "    from ml_collections.config_dict import required_placeholder\n"
        "    config.unlock().seed = required_placeholder(int)\n    return config\n",
        "mine.py: .*None value found in required reference",
    ),
}


@pytest.mark.parametrize(("text", "said"), BROKEN.values(), ids=BROKEN)
def test_an_experiment_that_fails_is_named_with_its_line(text, said, beside_base):
    (beside_base / "neighbour.py").write_text("seed = 1\nseed =\n", encoding="utf-8")
    file = beside_base / "mine.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said) as mistake:
        configs.load(file)
    assert "\n" not in str(mistake.value)


def test_an_experiment_of_another_encoding_is_named(tmp_path):
    (tmp_path / "mine.py").write_bytes("name = 'Bücher'\n".encode("latin-1"))
    with pytest.raises(UserError, match="mine.py, line 1: .*utf-8"):
        configs.load(tmp_path / "mine.py")


def test_ctrl_c_in_an_experiment_stops_the_command(tmp_path):
    (tmp_path / "mine.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        configs.load(tmp_path / "mine.py")


def test_what_an_experiment_prints_is_no_error(beside_base, capsys):
    (beside_base / "mine.py").write_text(
        START + "    print('so far')\n    return config\n", encoding="utf-8"
    )
    assert configs.load(beside_base / "mine.py").seed == 0
    assert capsys.readouterr().out == "so far\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "nowhere.py",
            "no experiment file at .*nowhere.py: --config takes one such as "
            "experiments/quickstart.py",
        ),
        ("base", "no experiment file at .*base: did you mean .*base.py"),
        ("", "is a folder: --config takes a Python file"),
        ("notes.txt", "notes.txt is no Python file"),
        ("x" * 300, "File name too long"),
    ],
    ids=["missing", "without .py", "a folder", "a text", "a long name"],
)
def test_a_file_that_is_no_experiment_is_named(name, said, beside_base):
    (beside_base / "notes.txt").write_text("no Python", encoding="utf-8")
    with pytest.raises(UserError, match=said):
        configs.load(beside_base / name)


@pytest.mark.parametrize("wrong", ["None", "'many'", "True"])
def test_a_value_that_the_file_forced_in_is_found_unless_it_is_overridden(wrong, beside_base):
    forced = f"    with config.ignore_type():\n        config.train.epochs = {wrong}\n"
    text = START + forced + "    return config\n"
    (beside_base / "mine.py").write_text(text, encoding="utf-8")
    with pytest.raises(
        UserError, match=f"^train.epochs={wrong}: must be a whole number from 1 to 10,000$"
    ):
        configs.check(configs.load(beside_base / "mine.py"))
    config = configs.load(beside_base / "mine.py", ["--config.train.epochs=3"])
    configs.check(config)
    assert config.train.epochs == 3


def test_of_one_key_given_twice_the_last_counts():
    assert configs.load(BASE, ["--config.seed=1", "--config.seed=2"]).seed == 2


def test_an_override_reaches_the_keys_that_refer_to_it(beside_base):
    text = START + "    config.images.size = config.data.get_ref('scene_size')\n    return config\n"
    (beside_base / "mine.py").write_text(text, encoding="utf-8")
    assert configs.load(beside_base / "mine.py", ["--config.data.scene_size=64"]).images.size == 64


@pytest.mark.parametrize(
    ("typed", "overrides", "others"),
    [
        (["--config", "a.py", "--config.seed=3"], ["--config.seed=3"], ["--config", "a.py"]),
        (["--config.seed", "3", "--config", "a.py"], ["--config.seed=3"], ["--config", "a.py"]),
        (["--config.seed", "-1"], ["--config.seed=-1"], []),
        (["--config.data.dir", "a=b"], ["--config.data.dir=a=b"], []),
        (["--config.seed", "--workdir", "x"], ["--config.seed"], ["--workdir", "x"]),
        (["--config.seed"], ["--config.seed"], []),
        (["--config.data.dir="], ["--config.data.dir="], []),
        ([], [], []),
    ],
    ids=lambda value: " ".join(value),
)
def test_overrides_are_typed_with_an_equals_sign_or_a_space(typed, overrides, others):
    assert configs.split(typed) == (overrides, others)


def test_neighbours_of_an_experiment_are_not_mixed_up(tmp_path):
    """Two experiments in two folders each get the base beside them."""
    base = """from jaxcap.experiment import defaults


def get_config():
    config = defaults.get_config()
    config.seed = {seed}
    return config
"""
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "base.py").write_text(base.format(seed=seed), encoding="utf-8")
        (folder / "mine.py").write_text(START + "    return config\n", encoding="utf-8")
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


PUBLISHED = [path for path in EXPERIMENTS if path.stem.startswith(("flickr30k", "coco_"))]


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_system_has_two_protocols_and_overrides_win(path):
    sound = configs.flatten(configs.load(path))
    assert configs.flatten(configs.load(path, ["--config.protocol=sound"])) == sound
    reported = configs.flatten(configs.load(path, ["--config.protocol=reported"]))
    assert sound["protocol"] == "sound"
    assert reported["protocol"] == "reported"
    assert reported["data.splits"] != sound["data.splits"]
    assert (sound["text.vocabulary"], reported["text.vocabulary"]) == ("train", "all")
    # In whatever order they are typed.
    typed = ["--config.text.vocabulary=train", "--config.protocol=reported"]
    mixed = configs.flatten(configs.load(path, typed))
    assert mixed == reported | {"text.vocabulary": "train"}


def test_the_last_protocol_counts():
    typed = ["--config.protocol=reported", "--config.protocol=sound"]
    found = configs.flatten(configs.load(PUBLISHED[0], typed))
    assert found == configs.flatten(configs.load(PUBLISHED[0]))


def test_a_protocol_that_an_experiment_does_not_know_is_one_line():
    with pytest.raises(UserError, match="protocol=reported: .*base.py has one protocol"):
        configs.load(BASE, ["--config.protocol=reported"])
    with pytest.raises(UserError, match="protocol=other: must be one of sound, reported"):
        configs.load(PUBLISHED[0], ["--config.protocol=other"])
