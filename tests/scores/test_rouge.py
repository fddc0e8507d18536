"""ROUGE-L against brute force."""

import itertools

import pytest

from jaxcap.scores import rouge
from tests.scores.corpora import (
    random_captions,
)


def test_rouge_finds_the_longest_common_subsequence():
    """With one reference the score follows from the length that brute force over all subsequences
    finds.
    """
    hypotheses, references = random_captions(2, references=1)
    values = rouge.from_statistics(rouge.statistics(hypotheses, references))[:, 0]
    for words, (reference,), value in zip(hypotheses, references, values, strict=True):
        longest = max(
            n
            for n in range(len(words) + 1)
            for kept in itertools.combinations(words, n)
            if _is_subsequence(kept, reference)
        )
        precision = longest / len(words)
        recall = longest / len(reference)
        wanted = 2.44 * precision * recall / (recall + 1.44 * precision) if longest else 0
        assert value == pytest.approx(wanted)


def _is_subsequence(part, whole):
    rest = iter(whole)
    return all(word in rest for word in part)
