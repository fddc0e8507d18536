"""Five differently worded captions of a scene, in the plain lower-case English of Flickr's."""

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

# {a} {b} {c} are objects ("a small red circle") from the largest to the smallest, {A} {B} {C}
# statements about them ("the small circle is red"), {ab} how a stands to b; {ab_} says it in full.
# The longest sentence has 18 words.
_SENTENCES = {
    1: (
        "{a} {place}",
        "there is {a} {place}",
        "a picture of {a}",
        "{A}",
        "{place} there is {a}",
        "just {a} and nothing else",
        "{a} on a plain background",
    ),
    2: (
        "{a} {ab} {b}",
        "{a} is {ab_} {b}",
        "there is {a} {ab_} {b}",
        "{a} with {b} {ba_} it",
        "a picture of {b} and {a}",
        "{A} and {B}",
        "{a} and {b}",
    ),
    3: (
        "{a}, {b} and {c}",
        "there is {a}, {b} and {c}",
        "a picture of {c}, {b} and {a}",
        "{a} {ab} {b} and {ac} {c}",
        "{A}, {B} and {C}",
        "{a} and {b} with {c}",
        "we see {c} {cb} {b} and also {a}",
    ),
}
_SIZES = {
    "small": ("small", "small", "little"),
    "medium": ("",),
    "large": ("large", "large", "big"),
}
_SIZE_MENTIONED = 0.6  # how often
_SHORT = ("left of", "right of", "above", "below")
_FULL = ("to the left of", "to the right of", "above", "below")
_PLACES = (
    ("in the upper left corner", "at the top", "in the upper right corner"),
    ("on the left", "in the middle", "on the right"),
    ("in the lower left corner", "at the bottom", "in the lower right corner"),
)


def describe(objects: Sequence[Mapping[str, Any]], rng: random.Random) -> tuple[str, ...]:
    """Writes five captions of a scene; each names the colour and the shape of every object.

    The order in which objects are named follows from how a sentence begins, as people name first
    what strikes them first. A decoder that attends before it knows its last word could not tell
    which of two objects that word began.

    Args:
      objects: one to three, each with "shape", "colour", "size" and "box" = (y0, x0, y1, x1) in
        0..1.
      rng: chooses the sentences and whether a size is mentioned.

    Returns:
      Five captions of at most 18 words, none the same as another.
    """
    ordered = sorted(objects, key=_size_rank, reverse=True)
    sentences = rng.sample(_SENTENCES[len(ordered)], 5)
    return tuple(_fill(sentence, ordered, rng) for sentence in sentences)


def _size_rank(thing: Mapping[str, Any]) -> int:
    return list(_SIZES).index(thing["size"])


def _fill(sentence: str, objects: Sequence[Mapping[str, Any]], rng: random.Random) -> str:
    """Fills one sentence with the objects, which come from the largest to the smallest."""
    phrases = {"place": _describe_place(objects[0])}
    lettered = dict(zip("abc", objects, strict=False))
    for letter, thing in lettered.items():
        size = rng.choice(_SIZES[thing["size"]]) if rng.random() < _SIZE_MENTIONED else ""
        noun = f"{size} {thing['colour']} {thing['shape']}".strip()
        article = "an" if noun[0] in "aeiou" else "a"
        phrases[letter] = f"{article} {noun}"
        # Split and joined, because the size may be empty.
        statement = f"the {size} {thing['shape']} is {thing['colour']}".split()
        phrases[letter.upper()] = " ".join(statement)
    for (one, thing), (other, reference) in itertools.permutations(lettered.items(), 2):
        phrases[one + other] = _relate(thing, reference, _SHORT)
        phrases[f"{one}{other}_"] = _relate(thing, reference, _FULL)
    return sentence.format(**phrases)


def _relate(one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> str:
    """Says where `one` stands seen from `other`, along the axis on which they are farther apart."""
    y, x = _center(one)
    other_y, other_x = _center(other)
    left, right, above, below = names
    if abs(x - other_x) >= abs(y - other_y):
        return left if x < other_x else right
    return above if y < other_y else below


def _describe_place(thing: Mapping[str, Any]) -> str:
    """Says in which ninth of the picture the object's center lies."""
    y, x = _center(thing)
    return _PLACES[int(y * 3)][int(x * 3)]


def _center(thing: Mapping[str, Any]) -> tuple[float, float]:
    y0, x0, y1, x1 = thing["box"]
    return (y0 + y1) / 2, (x0 + x1) / 2
