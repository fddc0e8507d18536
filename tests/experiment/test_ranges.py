"""The ranges of the config's keys: the table is whole, and what lies outside ends in one line that
names it.
"""

import math
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import base, denoiser_base
from jaxcap import decoding, train, word2vec
from jaxcap.data import scenes
from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import ranges
from jaxcap.experiment.check import check
from jaxcap.experiment.kinds import CAPTIONER, DENOISER
from jaxcap.experiment.ranges import KEYS, Flag, OneOf, Place, Real, Rule, Several, Whole
from jaxcap.text import Vocabulary
from jaxcap.training import optim

ROOT = Path(__file__).parents[2]
EXPERIMENTS = [
    path
    for path in sorted((ROOT / "experiments").glob("*.py"))
    if not path.stem.startswith("ablation_")
]
BASE = ROOT / "experiments" / "base.py"
TWO_PROTOCOLS = str(Path(BASE).with_name("flickr30k_small.py"))
NUMBERS = (math.nan, math.inf, -math.inf)


def outside(allowed):
    """Values just outside of a range, and values of other types."""
    match allowed:
        case Whole():
            return [*beyond(allowed), *NUMBERS, float(allowed.at_least), True, "1", None]
        case Real():
            return [*beyond(allowed), *NUMBERS, 10**400, 10**5000, True, "1", None]
        case OneOf():
            return ["no such choice", "", 0, None]
        case Flag():
            return [0, 1, "true", None]
        case Rule():
            return ["layer4", ":1", "*:-1", "*:nan", "*:inf", "*:", "", 1.0, None]
        case Place():
            return ["a\0b", "x" * 256, "~no-such-user/x", "\ud800", 3, None]
        case Several():
            one = inside(allowed.each)[0]
            return [(), one, [one], None, *((one, wrong) for wrong in outside(allowed.each))]


def typed_outside(allowed):
    """What can be typed and lies just outside of a range, or is no value of its type."""
    match allowed:
        case Whole() | Real():
            return [*map(str, beyond(allowed)), "nan", "inf", "-inf", "1e400", "many", ""]
        case OneOf():
            return ["no such choice", ""]
        case Flag():
            return ["perhaps", "2", ""]
        case Rule():
            return ["layer4", "*:-1", "*:many", "*:1@0", "*:0@2", "*:1@soon"]
        case Place():
            return ["x" * 256, "~no-such-user/x"]
        case Several():
            one = inside(allowed.each)[0]
            return [
                "",
                "()",
                f"{one},,",
                *(f"{one},{wrong or ' ,'}" for wrong in typed_outside(allowed.each)),
            ]


def beyond(allowed):
    """The nearest numbers below and above a range."""
    if isinstance(allowed, Whole):
        return [allowed.at_least - 1] + ([] if allowed.at_most is None else [allowed.at_most + 1])
    low = allowed.above if allowed.at_least is None else allowed.at_least - 1e-6
    high = allowed.below if allowed.at_most is None else allowed.at_most + 1e-6
    return [low, 1e39 if high is None else high]


def inside(allowed):
    """The outermost values of a range."""
    match allowed:
        case Whole():
            return [allowed.at_least, 2**40 if allowed.at_most is None else allowed.at_most]
        case Real():
            low = allowed.above + 1e-30 if allowed.at_least is None else allowed.at_least
            high = 1e38 if allowed.at_most is None and allowed.below is None else allowed.at_most
            return [low, (low + 1) / 2, allowed.below - 1e-7 if high is None else high]
        case OneOf():
            return list(allowed.choices)
        case Flag():
            return [True, False]
        case Rule():
            return ["*:0", "layer4_*:0.1", "layer4_*:0.1@6", "*:1e38"]
        case Place():
            return ["", "a", "/a/" + "x" * 255, "~/ä"]
        case Several():
            return [(one,) for one in inside(allowed.each)] + [tuple(inside(allowed.each))]


def written(folder, key, value):
    """An experiment file that gives a key a value, of whatever type."""
    section, _, name = f"config.{key}".rpartition(".")
    file = folder / "mine.py"
    file.write_text(
        "import math\nimport base\ninf, nan = math.inf, math.nan\n\n\ndef get_config():\n"
        f"    config = base.get_config().unlock()\n    del {section}.{name}\n"
        f"    {section}.{name} = {value!r}\n    return config\n",
        encoding="utf-8",
    )
    (folder / "base.py").write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    return file


def changed(key, value):
    """The base config with a value of whatever type."""
    config = configs.load(BASE)
    section, _, name = key.rpartition(".")
    part = config[section] if section else config
    with part.unlocked():
        del part[name]  # and its type
        part[name] = value
    return config


def test_every_key_has_a_range_and_every_range_a_key():
    assert configs.flatten(base.get_config()).keys() == KEYS.keys()
    assert configs.flatten(denoiser_base.get_config()).keys() == DENOISER.keys.keys()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_lies_in_the_ranges(path):
    kind = DENOISER if path.stem.startswith("denoiser") else CAPTIONER
    configs.check(configs.load(path, kind=kind), kind)


@pytest.mark.parametrize("key", KEYS)
def test_what_lies_inside_passes_and_can_be_typed(key):
    for value in inside(KEYS[key]):
        configs.check(changed(key, value))
        # The base has one protocol alone.
        path = TWO_PROTOCOLS if key == configs.PROTOCOL else BASE
        found = configs.load(path, [f"--config.{key}={value}"])
        assert configs.flatten(found)[key] == value
        configs.check(found)


@pytest.mark.parametrize("key", KEYS)
def test_what_lies_outside_is_named_with_its_key_and_range(key):
    for value in outside(KEYS[key]):
        with pytest.raises(UserError) as mistake:
            check(changed(key, value))
        said = str(mistake.value)
        assert said.startswith(f"{key}=") and said.endswith(f": must be {KEYS[key]}")
        assert "\n" not in said and len(said) < 500
        assert value == 10**5000 or ranges.shorten(repr(value)) in said


@pytest.mark.parametrize("key", KEYS)
def test_what_is_typed_outside_is_named_as_it_was_typed(key):
    for text in typed_outside(KEYS[key]):
        with pytest.raises(UserError) as mistake:
            configs.load(BASE, [f"--config.{key}={text}"])
        assert str(mistake.value) == f"{key}={ranges.shorten(text)}: must be {KEYS[key]}"


@pytest.mark.parametrize("key", KEYS)
def test_a_value_outside_ends_the_command_before_anything_is_written(key, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("JAXCAP_CACHE", str(cache))
    run = ["--workdir", str(tmp_path / "run")]
    value = outside(KEYS[key])[0]
    with pytest.raises(UserError, match=f"^{key}="):
        train.main(["--config", str(written(tmp_path, key, value)), *run])
    with pytest.raises(UserError, match=f"^{key}="):
        train.main(["--config", str(BASE), *run, f"--config.{key}", "~no-such-user,,"])
    assert not list(cache.iterdir())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        (
            "--config.train.clip_norm=-1",
            "train.clip_norm=-1: must be a finite number of at least 0 (0: no clipping)",
        ),
        (
            "--config.seed=" + "9" * 30,
            f"seed={'9' * 30}: must be a whole number from 0 to 2,147,483,647",
        ),
        (
            "--config.images.views=",
            "images.views=: must be a tuple of at least one value, each one of plain, mirror, "
            "centre, "
            "centre_mirror, top_left, top_left_mirror, top_right, top_right_mirror, bottom_left, "
            "bottom_left_mirror, bottom_right, bottom_right_mirror",
        ),
    ],
    ids=["a number", "a seed", "no view"],
)
def test_a_value_outside_is_one_line_on_stderr_and_code_2(argument, line, tmp_path):
    command = [
        sys.executable,
        "-m",
        "jaxcap.train",
        "--config",
        str(BASE),
        "--workdir",
        str(tmp_path / "run"),
    ]
    done = subprocess.run([*command, argument], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {line}\n")
    assert not (tmp_path / "run").exists()


def test_all_wrong_values_are_named_at_once():
    config = changed("seed", -1)
    config.train.epochs = 0
    with pytest.raises(UserError, match=r"^seed=-1: must be .*; train.epochs=0: must be "):
        configs.check(config)


def test_ends_that_belong_not_to_a_range_are_taken_as_float32_sees_them():
    part = Real(at_least=0, below=1)
    assert part.holds(1 - 1e-7) and not part.holds(1 - 1e-9)
    positive = Real(above=0)
    assert positive.holds(1e-40) and not positive.holds(1e-50)
    assert positive.holds(np.sqrt(2.0)) and positive.holds(3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", (1,)),
        ("1,", (1,)),
        ("(1)", (1,)),
        ("(1, 2)", (1, 2)),
        ("[1,2]", (1, 2)),
        (" 1 , 2 ", (1, 2)),
    ],
)
def test_a_tuple_is_typed_with_brackets_or_without(text, value):
    assert KEYS["encoder.stage_sizes"].read(text) == value


@pytest.mark.parametrize("text", ["", "()", "(", "1,,2", "(1", "1;2", "(1,(2))", "1.5"])
def test_what_is_no_tuple_is_refused(text):
    with pytest.raises(ValueError, match="must be a tuple"):
        KEYS["encoder.stage_sizes"].read(text)


def test_the_ends_of_the_seeds_are_taken_by_all_that_draw():
    for seed in (0, ranges.SEED.at_most):
        jax.random.fold_in(jax.random.key(seed), seed)
        np.random.default_rng((seed, 1))
        scenes.draw_scene(0, 32, seed)
        vocabulary = Vocabulary.build({"dog": 2, "cat": 2}, 1)
        vectors = word2vec.train_vectors([["dog", "cat"]] * 3, vocabulary, dim=4, seed=seed)
        assert np.isfinite(vectors.matrix).all()


@pytest.mark.parametrize("schedule", optim.SCHEDULES)
def test_the_longest_training_has_a_learning_rate_at_its_ends(schedule):
    most = {
        key.removeprefix("train."): allowed.at_most
        for key, allowed in KEYS.items()
        if isinstance(allowed, Whole)
    }
    section = {"schedule": schedule, "learning_rate": 1e-3, "decay_factor": 0.5}
    for warmup in (0, most["warmup_steps"]):
        rate = optim.build_schedule(most | section | {"warmup_steps": warmup}, 113_287)
        for step in (0, 1, 2**31 - 1):
            assert np.isfinite(jax.jit(rate)(np.int32(step)))
    assert most["epochs"] * 113_287 < 2**31  # COCO's training photos, one in each step


@pytest.mark.parametrize("number", [*NUMBERS, -1.0])
def test_the_search_itself_takes_no_number_outside(number):
    with pytest.raises(UserError, match="length_normalization is"):
        decoding.Rules(length_normalization=number)
    with pytest.raises(UserError, match="temperature is"):
        decoding.sample(None, None, None, None, decoding.Rules(), temperature=number)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["encoder.stage_sizes=1,1,1,1,1,1", "images.size=64"],
            "images.size=64: must be at least 128 for the 6 stages",
        ),
        (["images.resize=200"], "images.resize=200 is smaller than the crop images.size=224"),
        (["encoder.levels=5"], "encoder.levels=5: must be from 1 to 4"),
        (
            ["encoder.backbone=inception", "images.size=74"],
            "images.size=74: must be at least 75 for encoder.backbone=inception",
        ),
        (["encoder.backbone=inception", "encoder.levels=2"], "encoder.levels=2: must be 1"),
        (["encoder.backbone=inception", "encoder.pool=ceil"], "encoder.pool=ceil: no pool"),
        (["encoder.pool=counted"], "encoder.pool=counted: no pool of encoder.backbone=resnet"),
        (["search.min_length=19"], "min_length is 19"),
        (["self_critical.epochs=1"], "set train.select=CIDEr-D"),
        (["images.augment=views", "encoder.rates=*:1"], "images.augment=views"),
        (
            ["images.augment=views", "encoder.rates=layer4_*:1,conv1/*:0.1,*:0"],
            "train it from its first stage on",
        ),
        (["encoder.rates=layer4_*:0.1@9,*:0", "train.epochs=8"], "begins after the 8 epochs"),
        (["encoder.rates=layer4_*:0.1"], "no rule gives a rate to"),
    ],
)
def test_two_keys_that_contradict_each_other_are_named(overrides, said):
    config = configs.load(BASE, [f"--config.{override}" for override in overrides])
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        check(config)
