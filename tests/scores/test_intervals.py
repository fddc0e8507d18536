"""Scores with their intervals."""

from jaxcap.scores.intervals import estimate_scores
from jaxcap.scores.tokenizer import tokenize_pairs
from tests.scores.corpora import HYPOTHESES, METRICS, REFERENCES


def test_an_interval_holds_its_value_and_repeats_with_its_seed():
    hypotheses, references = tokenize_pairs(HYPOTHESES, REFERENCES)
    for metric in METRICS:
        rows = metric.statistics(hypotheses, references)

        def estimate(seed, metric=metric, rows=rows):
            options = {"resamples": 200, "seed": seed}
            return estimate_scores(metric.NAMES, rows, metric.from_statistics, **options)

        result = estimate(0)
        assert result == estimate(0)
        assert result != estimate(1)
        for score in result.values():
            assert score.low < score.value < score.high
