"""Captions as words, and words as numbers: the `Vocabulary` turns one into the other."""

import dataclasses
import functools
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxcap.errors import UserError

PAD, START, END, UNK = 0, 1, 2, 3
SPECIALS = ("<pad>", "<start>", "<end>", "<unk>")
PUNCTUATION = '.,!?:;"()[]'
TOKENIZERS = ("words", "keras")
# The marks that Keras's Tokenizer takes for spaces, without < and >.
_KERAS_FILTERS = dict.fromkeys(map(ord, '!"#$%&()*+,-./:;=?@[\\]^_`{|}~\t\n'), " ")


def split_words(caption: str, *, keep_punctuation: bool = False) -> list[str]:
    """Splits a caption into lower-case words, without the punctuation around them.

    Args:
      caption: the caption as it was written.
      keep_punctuation: each mark around a word becomes a word of its own instead of being dropped.
        Marks inside a word ("t-shirt", "o.k") stay in it either way.

    Returns:
      The words in order; none of them is empty.
    """
    words = []
    for chunk in caption.lower().split():
        word = chunk.strip(PUNCTUATION)
        if not keep_punctuation:
            words.append(word)
            continue
        # How many marks stand before the word: all of a chunk that is nothing but marks.
        before = len(chunk) - len(chunk.lstrip(PUNCTUATION)) if word else len(chunk)
        words.extend([*chunk[:before], word, *chunk[before + len(word) :]])
    return [word for word in words if word]


def split_words_as_keras(caption: str) -> list[str]:
    """Splits a caption as the Tokenizer of Keras does, when its filters leave < and > out.

    Lower case, marks are spaces, words stand between spaces; an apostrophe is no mark.
    """
    return [word for word in caption.lower().translate(_KERAS_FILTERS).split(" ") if word]


def split_captions(
    captions: Iterable[Iterable[str]], section: Mapping[str, Any]
) -> list[list[list[str]]]:
    """Splits all captions of some images into words, once for all that needs them.

    Args:
      captions: of each image, such as `Split.captions`.
      section: the config's section `text`, of which tokenizer and keep_punctuation count here.

    Returns:
      For each image, for each of its captions, the words; a caption of marks alone has none.
    """
    split = split_words_as_keras
    if section["tokenizer"] == "words":
        split = functools.partial(split_words, keep_punctuation=section["keep_punctuation"])
    # Equal words share one string: with a string each, the captions of Flickr30k take three times
    # the memory.
    shared: dict[str, str] = {}
    images = []
    for of_image in captions:
        sentences = []
        for caption in of_image:
            words = split(caption)
            sentences.append([shared.setdefault(word, word) for word in words])
        images.append(sentences)
    return images


def one_line(text: str) -> str:
    """Returns text on one line: white space as single spaces, control characters as U+FFFD."""
    shown = []
    for character in text:
        if character.isspace():
            shown.append(" ")
        elif unicodedata.category(character) in ("Cc", "Cs"):
            shown.append("\ufffd")
        else:
            shown.append(character)
    return " ".join("".join(shown).split())


def count_words(captions: Iterable[Sequence[str]]) -> Counter[str]:
    """Counts how often each word occurs in `captions`, each given as its words."""
    return Counter(word for words in captions for word in words)


def fits(words: Sequence[str], max_length: int, *, end_mark: bool = True) -> bool:
    """Tells whether a caption's words fit `max_length` positions with <start> and <end>."""
    return len(words) <= count_places(max_length, end_mark=end_mark)


def count_places(max_length: int, *, end_mark: bool = True) -> int:
    """Counts the words for which `max_length` positions have a place beside <start> and <end>."""
    return max_length - 1 - end_mark


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words that a captioner knows; a word's place in `words` is its number.

    V is `len(vocabulary)`.

    Attributes:
      words: the four specials <pad>, <start>, <end>, <unk>, then every other word once.

    Raises:
      UserError: the specials do not stand first, or a word stands there twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIALS)] != SPECIALS:
            raise UserError(
                f"not a vocabulary: it must begin with {' '.join(SPECIALS)}, not {self.words[:4]}"
            )
        if len(set(self.words)) < len(self.words):
            word, count = Counter(self.words).most_common(1)[0]
            raise UserError(
                f"not a vocabulary: {word!r} stands in it {count} times; every word must stand once"
            )

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        min_count: int = 1,
        *,
        max_words: int = 0,
        ties: str = "alphabet",
    ) -> "Vocabulary":
        """Returns the vocabulary of the words seen at least `min_count` times.

        Args:
          counts: how often each word was seen.
          min_count: fewer are too few.
          max_words: how many words the vocabulary has at most, the specials among them: the most
            frequent stay; 0: all.
          ties: the order of words seen equally often: by "alphabet", or "first": as they stand in
            `counts`, which is Keras's rule.

        Raises:
          UserError: no word is left.
        """
        # A caption that spells out "<start>" must not end sentences: such words stay out and are
        # encoded as <unk>.
        kept = [
            word for word, count in counts.items() if count >= min_count and word not in SPECIALS
        ]
        if not kept:
            raise UserError(
                f"no word of the captions is seen {min_count} times or more: lower text.min_count"
            )

        def rank(word: str) -> tuple[int, str]:
            return -counts[word], word if ties == "alphabet" else ""

        ranked = sorted(kept, key=rank)  # stable, so that equals keep the order of `counts`
        if max_words:
            ranked = ranked[: max(max_words - len(SPECIALS), 1)]
        return cls(SPECIALS + tuple(ranked))

    def __len__(self) -> int:
        return len(self.words)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        """The number of every word that captions may hold, so not of the specials."""
        return {word: number for number, word in enumerate(self.words) if number >= len(SPECIALS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ when a word or the order of the words differs."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def index(self, word: str) -> int:
        """Returns the number of a caption's `word`; `UNK` also where it spells a special."""
        return self._numbers.get(word, UNK)

    def encode(self, words: Sequence[str], max_length: int) -> np.ndarray:
        """Encodes one caption as <start>, its words, <end>, then <pad> up to `max_length`.

        Args:
          words: the caption's words; those that do not fit (see `fits`) are cut off before <end>.
          max_length: T, with <start> and <end> counted.

        Returns:
          int32 [T].

        Raises:
          UserError: `max_length` leaves no place for a word.
        """
        return self.encode_all([words], max_length)[0][0]

    def encode_all(
        self, captions: Sequence[Sequence[str]], max_length: int, *, end_mark: bool = True
    ) -> tuple[np.ndarray, int]:
        """Encodes N captions as `encode` does, and counts those that were cut.

        Args:
          captions: the words of each.
          max_length: T.
          end_mark: False begins captions with <pad> and ends them with nothing.

        Returns:
          int32 [N, T], and how many captions did not fit.

        Raises:
          UserError: `max_length` leaves no place for a word.
        """
        if max_length < 3:
            raise UserError(
                f"text.max_length is {max_length}: it must be at least 3, for <start>, one word "
                "and <end>"
            )
        tokens = np.full((len(captions), max_length), PAD, np.int32)  # [N, T]
        tokens[:, 0] = START if end_mark else PAD
        ending = [END] if end_mark else []
        places = count_places(max_length, end_mark=end_mark)
        for row, words in zip(tokens, captions, strict=True):
            numbers = [self.index(word) for word in words[:places]] + ending
            row[1 : len(numbers) + 1] = numbers
        cut = sum(not fits(words, max_length, end_mark=end_mark) for words in captions)
        return tokens, cut

    def decode(self, tokens: Sequence[int] | np.ndarray) -> list[str]:
        """Returns the words of `tokens` [T] up to the first <end>, leaving out every special."""
        words = []
        for number in np.asarray(tokens).tolist():
            if number == END:
                break
            if number >= len(SPECIALS):
                words.append(self.words[number])
        return words

    def unknown_rate(self, counts: Mapping[str, int]) -> float:
        """Returns the fraction of all occurrences whose word is unknown; 0 where there are none."""
        unknown = sum(count for word, count in counts.items() if self.index(word) == UNK)
        return unknown / max(sum(counts.values()), 1)

    def to_json(self) -> str:
        """Returns the vocabulary as a JSON list, one word a line."""
        return json.dumps(self.words, ensure_ascii=False, indent=0)

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """Reads what `to_json` wrote.

        Raises:
          UserError: `text` is no list of words, lacks the specials, or holds a word twice.
        """
        try:
            words = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(
                f"not a vocabulary: broken JSON in line {error.lineno} ({error.msg})"
            ) from error
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError("not a vocabulary: it must be a JSON list of words")
        return cls(tuple(words))
