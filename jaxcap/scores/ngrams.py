"""Counts of the word sequences of a caption."""

from collections import Counter
from collections.abc import Sequence

Ngram = tuple[str, ...]


def ngram_counts(words: Sequence[str], longest: int) -> list[Counter[Ngram]]:
    """Counts the n-grams of a caption.

    Args:
      words: the caption's words.
      longest: the largest n.

    Returns:
      The counts of its n-grams for n = 1 .. longest.
    """
    # The tokenizer joins "22 3/4" by a no-break space; coco-caption's BLEU and CIDEr-D then see two
    # words.
    words = " ".join(words).split()
    counts = []
    for n in range(1, longest + 1):
        shifted = [words[start:] for start in range(n)]
        counts.append(Counter(zip(*shifted, strict=False)))
    return counts
