"""CIDEr-D as coco-caption computes it: n-grams of 1 to 4 words, sigma 6.

Vedantam et al. 2015, https://arxiv.org/abs/1411.5726.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxcap.scores.ngrams import Ngram, ngram_counts

NAMES = ("CIDEr-D",)
_LONGEST = 4
_SIGMA = 6.0  # of the Gaussian penalty on the difference in length
_SCALE = 10.0  # of the published scores


class _Vectors(NamedTuple):
    """What is compared of one caption.

    Attributes:
      weights: for n = 1 .. 4, its n-grams, weighted by how few images have them.
      norms: the lengths of these four vectors.
      length: its length as the original counts it for the penalty, in bigrams.
    """

    weights: list[dict[Ngram, float]]
    norms: list[float]
    length: int


class Scorer:
    """CIDEr-D against the references of N images, whose document frequencies are counted once.

    Args:
      references: the words of at least one reference for each image.
    """

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]):
        self._references = references
        documents = _document_counts(references)
        # The idf of an n-gram: the log of all images over those whose references have it.
        self._idf = {gram: math.log(len(references) / count) for gram, count in documents.items()}
        self._idf_of_unseen = math.log(max(len(references), 1))

    def __call__(self, image: int, captions: Sequence[Sequence[str]]) -> list[float]:
        """Scores captions of one image: ten times the mean tf-idf similarity to its references.

        Args:
          image: its index among the references.
          captions: the words of each.

        Returns:
          A score for each caption, in 0 .. 10.
        """
        references = [self._weigh(words) for words in self._references[image]]
        scores = []
        for words in captions:
            vectors = self._weigh(words)
            total = sum(_similarity(vectors, reference) for reference in references)
            scores.append(_SCALE * total / len(references))
        return scores

    def _weigh(self, words: Sequence[str]) -> _Vectors:
        """Returns the tf-idf vectors of a caption."""
        counts = ngram_counts(words, _LONGEST)
        weights = []
        for of_n in counts:
            idf = self._idf
            weights.append(
                {gram: n * idf.get(gram, self._idf_of_unseen) for gram, n in of_n.items()}
            )
        norms = [math.hypot(*of_n.values()) for of_n in weights]
        return _Vectors(weights, norms, counts[1].total())


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
    scores = []
    for image, words in zip(range(len(references)), hypotheses, strict=True):
        scores.append(scorer(image, [words])[0])
    return np.stack([np.array(scores, np.float64), np.ones(len(scores))], axis=1)


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes the mean score of images from summed statistics: [..., 2] to [..., 1]."""
    return total[..., :1] / total[..., 1:]


def _document_counts(references: Sequence[Sequence[Sequence[str]]]) -> Counter[Ngram]:
    """Counts in how many images' references each n-gram stands."""
    images: Counter[Ngram] = Counter()
    for texts in references:
        grams: set[Ngram] = set()
        for text in texts:
            for counts in ngram_counts(text, _LONGEST):
                grams.update(counts)
        images.update(grams)
    return images


def _similarity(ours: _Vectors, theirs: _Vectors) -> float:
    """Returns the mean over n of the clipped cosine, times the penalty on length."""
    cosines = []
    for n in range(_LONGEST):
        other = theirs.weights[n]
        product = 0.0
        for gram, weight in ours.weights[n].items():
            if gram in other:
                # Clipped, so that repeating a word of the reference wins nothing.
                product += min(weight, other[gram]) * other[gram]
        norms = ours.norms[n] * theirs.norms[n]
        cosines.append(product / norms if norms else 0.0)
    penalty = math.exp(-((ours.length - theirs.length) ** 2) / (2 * _SIGMA**2))
    return sum(cosines) / len(cosines) * penalty
