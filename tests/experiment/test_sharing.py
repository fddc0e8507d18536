"""Several runs of one process make what they have in common once."""

import numpy as np

from jaxcap.experiment import build
from jaxcap.experiment import config as configs
from jaxcap.experiment.sharing import Shared
from tests.small_run import QUICKSTART, SMALL


def load(**overrides):
    values = SMALL | {key.replace("__", "."): value for key, value in overrides.items()}
    return configs.load(
        str(QUICKSTART), [f"--config.{key}={value}" for key, value in values.items()]
    )


def test_a_thing_is_made_once_of_equal_values():
    made = []
    shared = Shared()
    for values in ({"a": 1, "b": (2,)}, {"b": [2], "a": 1}, {"a": 2, "b": (2,)}):
        shared.get("thing", values, lambda: made.append(1))
    shared.get("other", {"a": 2, "b": (2,)}, lambda: made.append(1))
    assert len(made) == 3


def test_experiments_that_share_are_those_that_do_not(cache, monkeypatch):
    """Another seed and another decoder read the splits once; other words or data are read anew."""
    loaded = []
    load_splits = build.load_splits
    monkeypatch.setattr(
        build, "load_splits", lambda config: loaded.append(1) or load_splits(config)
    )
    shared = Shared()
    first = build.build_experiment(load(), shared=shared)
    other = build.build_experiment(load(seed=6, decoder__hidden=9), shared=shared)
    assert len(loaded) == 1
    assert other.splits is first.splits and other.vocabulary is first.vocabulary
    alone = build.build_experiment(load(seed=6, decoder__hidden=9))
    assert (other.vocabulary, other.contents) == (alone.vocabulary, alone.contents)
    np.testing.assert_array_equal(other.captions["train"].tokens, alone.captions["train"].tokens)
    assert len(loaded) == 2
    rare = build.build_experiment(load(text__min_count=40), shared=shared)
    assert len(loaded) == 2 and len(rare.vocabulary) < len(first.vocabulary)
    build.build_experiment(load(data__scenes=40), shared=shared)
    assert len(loaded) == 3
