"""The health of generated captions: how varied they are, where they stutter, which phrases they
wear out.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from jaxcap.scores.ngrams import ngram_counts

# Words that a whole sentence hardly ever ends in ("on", "by" and "behind" may): fewer than 1 in 500
# references does.
_WORDS = """a about across after against along among an and are as at be because been before being beneath beside
    between but could does during for from had has have having his if in into is its my near next of onto or
    our over she so some than that the their these they this those through to toward towards under until upon
    very was we were when where which while who whose will with within without would your"""
FUNCTION_WORDS = frozenset(_WORDS.split())
_REPEATED = (2, 3, 4)
_PHRASES = (3, 4, 5)
_Z_THRESHOLD = (
    3.0  # standard errors; thousands of phrases are compared, so 2 would be met by chance
)


class Phrase(NamedTuple):
    """A phrase that captions use more often than references do.

    Attributes:
      words: the phrase.
      captions: how many captions use it.
      rate: the part of the captions that uses it.
      reference_rate: the part of the references that uses it.
      z: the log odds ratio of the two rates in multiples of its standard error.
    """

    words: str
    captions: int
    rate: float
    reference_rate: float
    z: float


def summary(
    captions: Sequence[Sequence[str]], known: Collection[tuple[str, ...]] | None = None
) -> dict[str, float]:
    """Measures a set of captions; the references' own summary tells what is usual.

    Args:
      captions: the words of at least one caption.
      known: the training captions as tuples of words, cut as `captions` are; without it novelty is
        left out.

    Returns:
      distinct_words; mean_length in words; and parts of the captions, 0 to 1: unique (different
      captions over all), novel (not in `known`), repeats_2, repeats_3 and repeats_4 (an n-gram
      stands twice in the caption), stutters (a word stands twice in a row), ends_in_function_word,
      empty.
    """
    texts = [tuple(caption) for caption in captions]
    parts = {
        "unique": len(set(texts)) / len(texts),
        **{f"repeats_{n}": _part(texts, lambda text, n=n: _repeats(text, n)) for n in _REPEATED},
        "stutters": _part(
            texts, lambda text: any(a == b for a, b in zip(text, text[1:], strict=False))
        ),
        "ends_in_function_word": _part(
            texts, lambda text: bool(text) and text[-1] in FUNCTION_WORDS
        ),
        "empty": _part(texts, lambda text: not text),
    }
    if known is not None:
        known = set(known)
        parts["novel"] = _part(texts, lambda text: text not in known)
    return {
        "distinct_words": len({word for text in texts for word in text}),
        "mean_length": sum(map(len, texts)) / len(texts),
        **parts,
    }


def _part(texts: Sequence[tuple[str, ...]], has_it: Callable[[tuple[str, ...]], bool]) -> float:
    return sum(map(has_it, texts)) / len(texts)


def _repeats(text: tuple[str, ...], n: int) -> bool:
    return any(count > 1 for count in ngram_counts(text, n)[-1].values())


def overused(
    captions: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    *,
    times: float = 2.0,
    least: int = 5,
    most: int = 20,
) -> list[Phrase]:
    """Finds the phrases of 3 to 5 words that captions use far more often than references do.

    Counted is in how many captions a phrase stands. The order is that of the log odds ratio of the
    two rates over its standard error, with half a caption added to each count (Monroe et al. 2008,
    "Fightin' Words", https://doi.org/10.1093/pan/mpn018, with Jeffreys' prior). A phrase that ends
    in a function word is left out, and so is one that stands inside one longer overused phrase in
    at least two thirds of its uses.

    Args:
      captions: the words of each caption.
      references: the words of each reference of the same images.
      times: how many times as often as the references a phrase must be used.
      least: the fewest captions that use a phrase.
      most: how many phrases to return.

    Returns:
      The phrases, the most surely overused first.
    """
    ours, theirs = _phrase_counts(captions), _phrase_counts(references)
    found = [
        _compared(phrase, count, len(captions), theirs[phrase], len(references))
        for phrase, count in ours.items()
        if count >= least and phrase[-1] not in FUNCTION_WORDS
    ]
    worn = [
        phrase
        for phrase in found
        if phrase.z >= _Z_THRESHOLD and phrase.rate >= times * phrase.reference_rate
    ]
    return sorted(_whole(worn), key=lambda phrase: (-phrase.z, phrase.words))[:most]


def _phrase_counts(captions: Sequence[Sequence[str]]) -> Counter[tuple[str, ...]]:
    """Counts in how many captions each phrase stands."""
    counts = Counter()
    for words in captions:
        of_n = ngram_counts(words, max(_PHRASES))
        counts.update({phrase for n in _PHRASES for phrase in of_n[n - 1]})
    return counts


def _compared(
    phrase: tuple[str, ...], ours: int, captions: int, theirs: int, references: int
) -> Phrase:
    cells = [ours + 0.5, captions - ours + 0.5, theirs + 0.5, references - theirs + 0.5]
    log_odds = math.log(cells[0] / cells[1]) - math.log(cells[2] / cells[3])
    error = math.sqrt(sum(1 / cell for cell in cells))
    return Phrase(" ".join(phrase), ours, ours / captions, theirs / references, log_odds / error)


def _whole(phrases: Sequence[Phrase]) -> list[Phrase]:
    """Leaves out the phrases that stand inside one longer phrase in at least two thirds of their
    uses.
    """
    inside = Counter()  # the most captions of any longer phrase around each
    for phrase in phrases:
        words = phrase.words.split()
        for n in range(min(_PHRASES), len(words)):
            for part in zip(*(words[i:] for i in range(n)), strict=False):
                inside[" ".join(part)] = max(inside[" ".join(part)], phrase.captions)
    return [phrase for phrase in phrases if 3 * inside[phrase.words] < 2 * phrase.captions]
