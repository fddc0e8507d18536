"""CIDEr-D as coco-caption computes it (Vedantam et al. 2015, https://arxiv.org/abs/1411.5726): n 1 to 4, sigma 6."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxcap.scores.ngrams import ngram_counts

NAMES = ("CIDEr-D",)
_LONGEST = 4
_SIGMA = 6.0

Counts = list[Counter[tuple[str, ...]]]  # of the n-grams of one caption, for n = 1 .. 4
Weights = list[dict[tuple[str, ...], float]]  # the same n-grams, weighted by how few images have them


def statistics(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> np.ndarray:
    """Scores each image: ten times the mean tf-idf similarity of its caption to its references.

    The document frequencies come from all references given here. A bootstrap over the rows keeps them fixed: its
    interval speaks of other images scored with these frequencies. For a single image every weight, and so the score,
    is 0.

    Args:
      hypotheses: the words of one caption for each of N images.
      references: the words of at least one reference for each image.

    Returns:
      The image's score and 1, so that sums over images give sum and count. [N, 2]
    """
    counts = [[ngram_counts(text, _LONGEST) for text in texts] for texts in references]
    rarity = _rarity(counts)
    scores = [
        _image(ngram_counts(words, _LONGEST), texts, rarity, math.log(max(len(references), 1)))
        for words, texts in zip(hypotheses, counts, strict=True)
    ]
    return np.stack([np.array(scores, np.float64), np.ones(len(scores))], axis=1)


def from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes the mean score of images from summed statistics: [..., 2] to [..., 1]."""
    return total[..., :1] / total[..., 1:]


def consensus(captions: Sequence[Sequence[Sequence[str]]]) -> list[list[float]]:
    """Scores every caption of an image against the image's other captions.

    This is the weight of a caption in consensus-based training (Phan, Henter, Miyao and Satoh 2017,
    https://arxiv.org/abs/1712.09532, "WXE"): what several people said counts for more than what one did.

    Args:
      captions: the words of the captions of N images, whose document frequencies are used.

    Returns:
      For each image, the CIDEr-D of each of its captions; 0 for a caption without others.
    """
    counts = [[ngram_counts(text, _LONGEST) for text in texts] for texts in captions]
    rarity = _rarity(counts)
    return [_agreement(texts, rarity) for texts in counts]


def _agreement(texts: Sequence[Counts], rarity: dict[tuple[str, ...], float]) -> list[float]:
    weights = [_weighted(text, rarity, 0.0) for text in texts]
    scores = []
    for one, text in enumerate(texts):
        others = [
            _similarity(weights[one], weights[other], _bigrams(text) - _bigrams(texts[other]))
            for other in range(len(texts))
            if other != one
        ]
        scores.append(10.0 * sum(others) / max(len(others), 1))
    return scores


def _rarity(references: Sequence[Sequence[Counts]]) -> dict[tuple[str, ...], float]:
    """Returns the idf of every n-gram of the references: the log of images over images that have it."""
    images = Counter()
    for texts in references:
        images.update({gram for text in texts for counts in text for gram in counts})
    return {gram: math.log(len(references) / count) for gram, count in images.items()}


def _image(words: Counts, references: Sequence[Counts], rarity: dict[tuple[str, ...], float], unseen: float) -> float:
    weights = _weighted(words, rarity, unseen)
    similarities = [
        _similarity(weights, _weighted(reference, rarity, unseen), _bigrams(words) - _bigrams(reference))
        for reference in references
    ]
    return 10.0 * sum(similarities) / len(similarities)


def _weighted(counts: Counts, rarity: dict[tuple[str, ...], float], unseen: float) -> Weights:
    return [{gram: count * rarity.get(gram, unseen) for gram, count in of_n.items()} for of_n in counts]


def _bigrams(counts: Counts) -> int:
    """Returns the length that the penalty compares, which the original counts in bigrams."""
    return counts[1].total()


def _similarity(hypothesis: Weights, reference: Weights, difference: int) -> float:
    """Returns the mean over n of the clipped cosine, with the Gaussian penalty on the difference in length."""
    cosines = []
    for ours, theirs in zip(hypothesis, reference, strict=True):
        product = sum(min(weight, theirs[gram]) * theirs[gram] for gram, weight in ours.items() if gram in theirs)
        norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
        cosines.append(product / norms if norms else 0.0)
    return sum(cosines) / len(cosines) * math.exp(-(difference**2) / (2 * _SIGMA**2))
