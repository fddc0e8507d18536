"""What is memoized is made once for equal arguments, and anew for others."""

import dataclasses

import numpy as np
import pytest

from jaxcap import memoize


@dataclasses.dataclass(frozen=True)
class Point:
    x: int


@pytest.fixture
def build():
    return memoize.memoize(lambda *arguments, **keywords: object())


VALUES = [
    1,
    1.0,
    True,
    "1",
    (1,),
    [1],
    {"a": 1},
    {"a": 1.0},
    {"b": 1},
    {"a": {"a": 1}},
    Point(1),
    Point(2),
    np.zeros(2),
    np.zeros(2, np.float32),
    np.zeros((1, 2)),
    np.ones(2),
    None,
]


def copy(value):
    """An equal value that is another object, where there is one."""
    if isinstance(value, dict):
        return {key: copy(of_key) for key, of_key in reversed(value.items())}
    if isinstance(value, np.ndarray):
        return value.copy()
    return dataclasses.replace(value) if isinstance(value, Point) else value


def test_equal_arguments_get_the_same_and_others_not(build):
    made = [build(value) for value in VALUES[: memoize.KEPT]]
    assert len(set(map(id, made))) == len(made)
    assert [build(copy(value)) for value in VALUES[: memoize.KEPT]] == made


def test_keywords_count_in_any_order(build):
    made = build(1, a=2, b=[3])
    assert build(1, b=[3], a=2) is made
    assert build(1, a=2) is not made
    assert build(1, a=[3], b=2) is not made


def test_what_was_used_longest_ago_goes_first(build):
    first = build(0)
    second = build(1)
    for number in range(2, memoize.KEPT):
        build(number)
    assert build(0) is first
    build(memoize.KEPT)
    assert build(0) is first
    assert build(1) is not second


def test_an_array_that_cannot_be_compared_is_refused(build):
    with pytest.raises(TypeError, match="unhashable"):
        build({1, 2})
