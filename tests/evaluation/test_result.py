"""The result of an evaluation as JSON."""

import dataclasses
import json
import math

import pytest

from jaxcap.decoding.strategy import Sampling
from jaxcap.evaluation import result as results
from jaxcap.scores.intervals import Estimate
from tests.report.pages import result


def test_a_result_comes_back_as_it_was():
    whole = dataclasses.replace(result(), scores={"BLEU-4": Estimate(0.1, 0.05, 1 / 3)})
    assert results.from_json(results.to_json(whole)) == whole
    assert results.from_json(results.to_json(whole, ascii_only=True)) == whole


def test_samples_come_back_and_a_search_says_nothing_of_them():
    """As in files from before there were samples, which are read as searches."""
    searched = json.loads(results.to_json(result()))["search"]
    assert "sampling" not in searched
    search = dataclasses.replace(result().search, beam=None, sampling=Sampling(0.7, seed=3))
    sampled = dataclasses.replace(result(), search=search)
    again = results.from_json(results.to_json(sampled))
    assert again.search == search
    assert again.search.describe() == "sampling (temperature 0.7, seed 3)"


def test_the_members_of_an_ensemble_come_back_and_a_single_run_has_none():
    """As in files from before there were ensembles, which are read as single runs'."""
    single = json.loads(results.to_json(result()))["run"]
    assert "members" not in single
    alone = {"BLEU-4": Estimate(0.1, 0.05, 1 / 3)}
    members = (
        results.Member(workdir="a", folder="/a", step=3, epoch=1, val_loss=2.5, scores=alone),
        results.Member(workdir="b", folder="/b", step=6, epoch=2, val_loss=None),
    )
    run = dataclasses.replace(result().run, step=None, epoch=None, val_loss=None, members=members)
    written = results.to_json(dataclasses.replace(result(), run=run))
    assert "scores" not in json.loads(written)["run"]["members"][1]
    assert results.from_json(written).run == run
    assert run.describe() == "the ensemble of 2 (a, b)"


def test_a_score_that_does_not_exist_is_null():
    written = json.loads(results.to_json(result()))
    assert written["scores"]["METEOR"] == {"value": None, "low": None, "high": None}
    assert math.isnan(results.from_json(results.to_json(result())).scores["METEOR"].value)


def test_the_novelty_is_left_out_where_it_is_not_known():
    written = json.loads(results.to_json(result()))
    assert "novel" in written["health"]["captions"]
    assert "novel" not in written["health"]["references"]


def test_a_missing_or_unknown_field_is_named():
    written = json.loads(results.to_json(result()))
    del written["run"]["step"]
    with pytest.raises(ValueError, match=r"no 'run\.step'"):
        results.from_json(json.dumps(written))
    written = json.loads(results.to_json(result())) | {"more": 1}
    with pytest.raises(ValueError, match="unknown field 'more'"):
        results.from_json(json.dumps(written))
