"""Five differently worded captions of a drawn scene, in the plain lower-case English of Flickr's
captions.
"""

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
_SIZE_SAID = 0.6  # how often the size is mentioned
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
    what strikes them first. A decoder that looks before it knows its last word could not tell which
    of two objects that word began.

    Args:
      objects: one to three, each with "shape", "colour", "size" and "box" = (y0, x0, y1, x1) in
        0..1.
      rng: chooses the sentences and whether a size is said.

    Returns:
      Five captions of at most 18 words, none the same as another.
    """
    ordered = sorted(objects, key=lambda thing: list(_SIZES).index(thing["size"]), reverse=True)
    return tuple(
        _write(sentence, ordered, rng) for sentence in rng.sample(_SENTENCES[len(ordered)], 5)
    )


def _write(sentence: str, objects: Sequence[Mapping[str, Any]], rng: random.Random) -> str:
    """Fills one sentence with the objects, which come from the largest to the smallest."""
    words = {"place": _place(objects[0])}
    named = dict(zip("abc", objects, strict=False))
    for letter, thing in named.items():
        size = rng.choice(_SIZES[thing["size"]]) if rng.random() < _SIZE_SAID else ""
        noun = f"{size} {thing['colour']} {thing['shape']}".strip()
        words[letter] = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
        words[letter.upper()] = " ".join(
            f"the {size} {thing['shape']} is {thing['colour']}".split()
        )
    for (one, thing), (other, beside) in itertools.permutations(named.items(), 2):
        words[one + other] = _relation(thing, beside, _SHORT)
        words[f"{one}{other}_"] = _relation(thing, beside, _FULL)
    return sentence.format(**words)


def _relation(one: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> str:
    """Says where `one` stands as seen from `other`, along the axis on which they are farther
    apart.
    """
    (y, x), (other_y, other_x) = _centre(one), _centre(other)
    left, right, above, below = names
    if abs(x - other_x) >= abs(y - other_y):
        return left if x < other_x else right
    return above if y < other_y else below


def _place(thing: Mapping[str, Any]) -> str:
    """Says in which ninth of the picture the object's centre lies."""
    y, x = _centre(thing)
    return _PLACES[int(y * 3)][int(x * 3)]


def _centre(thing: Mapping[str, Any]) -> tuple[float, float]:
    y0, x0, y1, x1 = thing["box"]
    return (y0 + y1) / 2, (x0 + x1) / 2
