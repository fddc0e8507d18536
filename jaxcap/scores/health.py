"""The health of generated captions: how varied they are, how they repeat, what they overuse."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from jaxcap.scores.ngrams import Ngram, ngram_counts

# Words that a whole sentence hardly ever ends in ("on", "by" and "behind" may): fewer than 1 in 500
# references does.
_WORDS = """a about across after against along among an and are as at be because been before being
    beneath beside between but could does during for from had has have having his if in into is its
    my near next of onto or our over she so some than that the their these they this those through
    to toward towards under until upon very was we were when where which while who whose will with
    within without would your"""
FUNCTION_WORDS = frozenset(_WORDS.split())
_PHRASE_LENGTHS = (3, 4, 5)  # in words
# In standard errors. Thousands of phrases are compared, so that 2 would be met by chance.
_Z_THRESHOLD = 3.0


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Measures of a set of captions; all but the first two are parts of the captions, 0 to 1.

    Attributes:
      distinct_words: different words in all captions.
      mean_length: words a caption.
      unique: different captions.
      repeats_2: an n-gram of 2 words stands twice in the caption.
      repeats_3: the same of 3 words.
      repeats_4: the same of 4 words.
      stutters: a word stands twice in a row.
      ends_in_function_word: the last word is one that sentences do not end in.
      empty: no word at all.
      novel: not among the training captions; None where these are not known.
    """

    distinct_words: int
    mean_length: float
    unique: float
    repeats_2: float
    repeats_3: float
    repeats_4: float
    stutters: float
    ends_in_function_word: float
    empty: float
    novel: float | None = None


@dataclass(frozen=True)
class Phrase:
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


def summarize(
    captions: Sequence[Sequence[str]], known: Collection[tuple[str, ...]] | None = None
) -> Summary:
    """Measures a set of captions; the references' own summary tells what is usual.

    Args:
      captions: the words of at least one caption.
      known: the training captions as tuples of words, cut as `captions` are; without it novelty is
        left out.

    Returns:
      The measures.
    """
    texts = [tuple(caption) for caption in captions]
    count = len(texts)
    words = {word for text in texts for word in text}
    novel = None
    if known is not None:
        known = set(known)
        novel = sum(text not in known for text in texts) / count
    return Summary(
        distinct_words=len(words),
        mean_length=sum(map(len, texts)) / count,
        unique=len(set(texts)) / count,
        repeats_2=sum(_repeats_ngram(text, 2) for text in texts) / count,
        repeats_3=sum(_repeats_ngram(text, 3) for text in texts) / count,
        repeats_4=sum(_repeats_ngram(text, 4) for text in texts) / count,
        stutters=sum(_stutters(text) for text in texts) / count,
        ends_in_function_word=sum(_ends_in_function_word(text) for text in texts) / count,
        empty=sum(not text for text in texts) / count,
        novel=novel,
    )


def find_overused(
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
    ours = _count_phrases(captions)
    theirs = _count_phrases(references)
    overused = []
    for words, count in ours.items():
        if count < least or words[-1] in FUNCTION_WORDS:
            continue
        phrase = _compare(words, count, len(captions), theirs[words], len(references))
        if phrase.z >= _Z_THRESHOLD and phrase.rate >= times * phrase.reference_rate:
            overused.append(phrase)
    return sorted(_drop_nested(overused), key=lambda phrase: (-phrase.z, phrase.words))[:most]


def _repeats_ngram(text: tuple[str, ...], n: int) -> bool:
    return any(count > 1 for count in ngram_counts(text, n)[-1].values())


def _stutters(text: tuple[str, ...]) -> bool:
    return any(word == following for word, following in zip(text, text[1:], strict=False))


def _ends_in_function_word(text: tuple[str, ...]) -> bool:
    return bool(text) and text[-1] in FUNCTION_WORDS


def _count_phrases(captions: Sequence[Sequence[str]]) -> Counter[Ngram]:
    """Counts in how many captions each phrase stands."""
    counts: Counter[Ngram] = Counter()
    for words in captions:
        by_length = ngram_counts(words, max(_PHRASE_LENGTHS))
        phrases: set[Ngram] = set()
        for n in _PHRASE_LENGTHS:
            phrases.update(by_length[n - 1])
        counts.update(phrases)
    return counts


def _compare(words: Ngram, ours: int, captions: int, theirs: int, references: int) -> Phrase:
    """Compares how many captions and how many references use a phrase."""
    # Half a caption more in each cell of the table keeps the logarithms finite.
    cells = [ours + 0.5, captions - ours + 0.5, theirs + 0.5, references - theirs + 0.5]
    log_odds = math.log(cells[0] / cells[1]) - math.log(cells[2] / cells[3])
    error = math.sqrt(sum(1 / cell for cell in cells))
    return Phrase(
        words=" ".join(words),
        captions=ours,
        rate=ours / captions,
        reference_rate=theirs / references,
        z=log_odds / error,
    )


def _drop_nested(phrases: Sequence[Phrase]) -> list[Phrase]:
    """Drops phrases of which two thirds of the uses stand inside one longer phrase."""
    around: Counter[str] = Counter()  # the most captions of any longer phrase around each
    for phrase in phrases:
        words = phrase.words.split()
        for n in range(min(_PHRASE_LENGTHS), len(words)):
            for start in range(len(words) - n + 1):
                part = " ".join(words[start : start + n])
                around[part] = max(around[part], phrase.captions)
    return [phrase for phrase in phrases if 3 * around[phrase.words] < 2 * phrase.captions]
