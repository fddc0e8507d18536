"""Several systems scored together, and the notes on how to read the scores."""

import numpy as np

from jaxcap.evaluation import meteor, scoring
from jaxcap.scores.intervals import Estimate


def test_cider_of_one_image_is_zero_and_the_result_says_so():
    scored, notes = scoring.score({"run": ["a red bird"]}, [["a red bird", "a bird"]])
    assert scored["run"].scores["CIDEr-D"] == Estimate(0, 0, 0)
    assert any("always 0" in note for note in notes)


def test_java_that_does_not_start_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setattr(meteor, "_java", lambda: str(tmp_path / "no" / "java"))
    monkeypatch.setattr(meteor, "_program", lambda: tmp_path / "meteor.jar")
    scored, notes = scoring.score({"a": ["a dog"]}, [["a dog"]])
    assert "METEOR" not in scored["a"].scores
    assert any("METEOR's Java program could not be started" in note for note in notes)


def test_meteor_is_scored_for_every_system_in_one_call(monkeypatch):
    """Each system gets its own rows back: here a row is the number of its caption's words."""
    calls = []

    def counted(hypotheses, references):
        calls.append(len(hypotheses))
        assert len(hypotheses) == len(references)
        return np.tile(np.array([[len(words)] for words in hypotheses], float), 23)

    monkeypatch.setattr(meteor, "statistics", counted)
    scored, notes = scoring.score({"a": ["a b c", "a"], "b": ["a b", "a b"]}, [["a b"], ["a c"]])
    assert calls == [4]
    assert scored["a"].rows["METEOR"][:, 0].tolist() == [3, 1]
    assert scored["b"].rows["METEOR"][:, 0].tolist() == [2, 2]
    assert "METEOR" in scored["a"].scores
    assert not any("METEOR" in note for note in notes)
