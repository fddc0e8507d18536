"""The data that a config names: splits, their captions as words, and the vocabulary."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from jaxcap.data import datasets
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.text import Vocabulary, count_words, split_captions

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


def build_vocabulary(
    config: ConfigDict, sentences: Mapping[str, Sentences]
) -> tuple[Vocabulary, dict[str, float]]:
    """Builds the vocabulary from the training captions (or from all, as the originals did).

    Args:
      config: resolved.
      sentences: by split, from `text.split_captions`.

    Returns:
      The vocabulary, and each split's rate of out-of-vocabulary words.
    """
    counts = {}
    for name, of_split in sentences.items():
        counts[name] = count_words(words for captions in of_split for words in captions)
    counted = counts["train"]
    if config.text.vocabulary == "all":
        # The originals counted every caption there is, also of photos that are in no list.
        (every,) = split_captions([datasets.all_captions(config.data)], config.text)
        counted = count_words(every)
    text = config.text
    vocabulary = Vocabulary.build(
        counted,
        text.min_count,
        max_words=text.max_words,
        ties="first" if text.tokenizer == "keras" else "alphabet",
    )
    return vocabulary, {name: vocabulary.unknown_rate(count) for name, count in counts.items()}
