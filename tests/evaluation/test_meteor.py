"""METEOR: the formula over golden counts, and what goes wrong with its program."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxcap.errors import UserError
from jaxcap.evaluation import meteor
from jaxcap.scores.tokenizer import tokenize_pairs
from tests.scores.corpora import (
    HYPOTHESES,
    REFERENCES,
    WANTED,
    needs_java,
    nlg_eval,
)


def test_meteor_from_the_programs_golden_counts(monkeypatch):
    """The formula over summed counts gives the program's own scores, of single images and of the
    corpus.
    """
    monkeypatch.setattr(meteor, "_run", lambda orders: WANTED["meteor_counts"])
    rows = meteor.statistics(*tokenize_pairs(HYPOTHESES, REFERENCES))
    np.testing.assert_allclose(
        meteor.from_statistics(rows)[:, 0], WANTED["images"]["METEOR"], atol=1e-9
    )
    assert meteor.from_statistics(rows.sum(0))[0] == pytest.approx(
        WANTED["corpus"]["METEOR"], abs=1e-9
    )


@pytest.mark.slow
@needs_java
def test_meteor_in_a_french_java_is_the_figure_published_by_nlg_eval(monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=fr -Duser.country=FR")
    rows = meteor.statistics(*nlg_eval())
    assert meteor.from_statistics(rows.sum(0))[0] == pytest.approx(0.295797, abs=1e-6)


def test_without_java_meteor_says_so_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs Java") as error:
        meteor.statistics([["a"]], [[["a"]]])
    assert "\n" not in str(error.value)


def test_without_its_package_meteor_says_so_in_one_line(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"jaxcap\[java\]") as error:
        meteor.statistics([["a"]], [[["a"]]])
    assert "\n" not in str(error.value)


def test_a_java_that_fails_is_named_with_its_reason(monkeypatch, tmp_path):
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'Error: no memory' >&2\nexit 3\n")
    java.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(java))
    monkeypatch.setattr(meteor, "_program", lambda: Path("meteor.jar"))
    with pytest.raises(UserError, match="code 3: Error: no memory"):
        meteor.statistics([["a"]], [[["a"]]])


def test_an_answer_that_is_no_list_of_counts_is_refused(monkeypatch):
    monkeypatch.setattr(meteor, "_run", lambda orders: ["Error: specify SCORE"])
    with pytest.raises(UserError, match="Error: specify SCORE"):
        meteor.statistics([["a"]], [[["a"]]])
