"""The data that a config names: splits, their captions as words, and the vocabulary."""

from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from jaxcap.data import datasets
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.text import Vocabulary, count_words, split_words

Sentences = list[list[list[str]]]  # the words of each caption of each photo


def load_splits(config: ConfigDict) -> dict[str, Split]:
    """Prepares (once) and opens the data set that the config names.

    Raises:
      UserError: raw files are missing or wrong, or make no train or no val split.
    """
    splits = datasets.load(config.data)
    for name in ("train", "val"):
        if name not in splits:
            raise UserError(
                f"training needs a {name} split, and {config.data.name} here has only "
                f"{', '.join(splits)}"
            )
    return splits


def split_captions(captions: Sequence[Sequence[str]], *, keep_punctuation: bool) -> Sentences:
    """Splits the captions of each photo into words."""
    sentences = []
    for of_photo in captions:
        words = [split_words(caption, keep_punctuation=keep_punctuation) for caption in of_photo]
        sentences.append(words)
    return sentences


def build_vocabulary(
    config: ConfigDict, sentences: Mapping[str, Sentences]
) -> tuple[Vocabulary, dict[str, float]]:
    """Builds the vocabulary from the training captions (or from all, as the originals did).

    Args:
      config: resolved.
      sentences: by split, from `split_captions`.

    Returns:
      The vocabulary, and each split's rate of out-of-vocabulary words.
    """
    counts = {}
    for name, of_split in sentences.items():
        counts[name] = count_words(words for captions in of_split for words in captions)
    counted = counts["train"]
    if config.text.vocabulary == "all":
        # The originals counted every caption there is, also of photos that are in no list.
        keep = config.text.keep_punctuation
        captions = datasets.all_captions(config.data)
        counted = count_words(split_words(text, keep_punctuation=keep) for text in captions)
    vocabulary = Vocabulary.build(counted, config.text.min_count)
    return vocabulary, {name: vocabulary.unknown_rate(count) for name, count in counts.items()}
