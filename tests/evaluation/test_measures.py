"""Measures of captions and attention."""

import dataclasses
import json

import numpy as np
import pytest

from jaxcap.decoding.captions import Caption
from jaxcap.evaluation import result as results
from jaxcap.evaluation import splits, tables
from jaxcap.evaluation.measures import measure_attention, measure_grounding
from jaxcap.experiment.restore import restore_best
from tests.evaluation.runs import (
    from_file,
)

pytestmark = pytest.mark.usefixtures("cache")


def test_scenes_in_which_nothing_is_named_have_dashes(made_run, scored, recwarn):
    _, split = splits.load_scored(restore_best(made_run).config, "val")
    caption = Caption(["a"], np.ones((1, 16)) / 16, np.ones(1), 0.0)
    captions = [caption] * len(split)
    grounding, scenes = measure_grounding(split, captions, (4, 4))
    attention = measure_attention(captions, (4, 4)) | grounding
    changed = dataclasses.replace(from_file(scored), attention=attention, scenes=scenes)
    written = json.loads(results.to_json(changed))
    assert written["attention"]["pointing"] == {"value": None, "low": None, "high": None}
    lines = tables.format_result(changed)
    [row] = [line for line in lines if line.startswith("pointing game")]
    assert row.split()[2:] == ["-"] * 4
    assert "nan" not in "\n".join(lines)
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]
