"""CIDEr-D as coco-caption computes it (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726): n 1
to 4, sigma 6.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcap.scores.ngrams import ngram_counts

NAMES = ("CIDEr-D",)
_LONGEST = 4
_SIGMA = 6.0

Counts = list[Counter[tuple[str, ...]]]  # of the n-grams of one caption, for n = 1 .. 4


class _Vectors(NamedTuple):
    """What is compared of one caption.

    Attributes:
      weights: for n = 1 .. 4, its n-grams, weighted by how few images have them.
      norms: the lengths of these four vectors.
      words: its length as the original counts it for the penalty, in bigrams.
    """

    weights: list[dict[tuple[str, ...], float]]
    norms: list[float]
    words: int


class Scorer:
    """CIDEr-D against the references of N images, whose document frequencies are counted once.

    Args:
      references: the words of at least one reference for each image.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]):
        self._references = references
        self._unseen = math.log(max(len(references), 1))
        images = Counter()
        for texts in references:
            images.update(
                {
                    gram
                    for text in texts
                    for counts in ngram_counts(text, _LONGEST)
                    for gram in counts
                }
            )
        # The idf of every n-gram: the log of images over images that have it.
        self._rarity = {gram: math.log(len(references) / count) for gram, count in images.items()}

    def __call__(self, image: int, captions: Sequence[Sequence[str]]) -> list[float]:
        """Scores captions of the image at an index: ten times the mean tf-idf similarity to its
        references.
        """
        references = [self._vectors(words) for words in self._references[image]]
        return [
            10.0
            * sum(_similarity(vectors, reference) for reference in references)
            / len(references)
            for vectors in map(self._vectors, captions)
        ]

    def _vectors(self, words: Sequence[str]) -> _Vectors:
        counts: Counts = ngram_counts(words, _LONGEST)
        weights = [
            {gram: n * self._rarity.get(gram, self._unseen) for gram, n in of_n.items()}
            for of_n in counts
        ]
        return _Vectors(
            weights, [math.hypot(*of_n.values()) for of_n in weights], counts[1].total()
        )


def statistics(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> np.ndarray:
    """Scores each image with `Scorer`.

    The document frequencies come from all references given here. A bootstrap over the rows keeps
    them fixed: its interval speaks of other images scored with these frequencies. For a single
    image every weight, and so the score, is 0.

    Args:
      hypotheses: the words of one caption for each of N images.
      references: the words of at least one reference for each image.

    Returns:
      The image's score and 1, so that sums over images give sum and count. [N, 2]
    """
    scorer = Scorer(references)
    scores = [
        scorer(image, [words])[0]
        for image, words in zip(range(len(references)), hypotheses, strict=True)
    ]
    return np.stack([np.array(scores, np.float64), np.ones(len(scores))], axis=1)


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes the mean score of images from summed statistics: [..., 2] to [..., 1]."""
    return total[..., :1] / total[..., 1:]


def _similarity(ours: _Vectors, theirs: _Vectors) -> float:
    """Returns the mean over n of the clipped cosine, with the Gaussian penalty on the difference in
    length.
    """
    cosines = []
    for mine, other, norms in zip(
        ours.weights, theirs.weights, zip(ours.norms, theirs.norms, strict=True), strict=True
    ):
        product = sum(
            min(weight, other[gram]) * other[gram] for gram, weight in mine.items() if gram in other
        )
        cosines.append(product / math.prod(norms) if all(norms) else 0.0)
    return (
        sum(cosines)
        / len(cosines)
        * math.exp(-((ours.words - theirs.words) ** 2) / (2 * _SIGMA**2))
    )
