"""Dataclasses as JSON: the round trip, and the fields that are refused."""

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest

from jaxcap.io.records import from_json, to_values


@dataclass(frozen=True)
class Inner:
    value: float
    note: str | None = None


@dataclass(frozen=True)
class Outer:
    count: int
    flag: bool
    inner: Inner
    many: tuple[Inner, ...]
    named: dict[str, Inner]
    anything: dict[str, Any]
    other: Inner | None


OUTER = Outer(
    count=2,
    flag=True,
    inner=Inner(0.1 + 0.2),
    many=(Inner(1.0, "a"), Inner(2.0)),
    named={"é": Inner(-1e-300)},
    anything={"x": [1, "two", None]},
    other=None,
)


def changed(path, value):
    """The JSON of `OUTER` with another value at a path of keys; a value of ... deletes the key."""
    values = json.loads(json.dumps(to_values(OUTER)))
    part = values
    for key in path[:-1]:
        part = part[key]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return json.dumps(values)


def test_a_record_comes_back_as_it_was():
    assert from_json(Outer, json.dumps(to_values(OUTER))) == OUTER


def test_nan_is_null_and_comes_back_as_nan():
    values = to_values(Inner(math.nan))
    assert values == {"value": None}
    assert math.isnan(from_json(Inner, json.dumps(values)).value)


def test_only_a_default_none_is_left_out():
    values = to_values(OUTER)
    assert values["other"] is None
    assert "note" not in values["inner"] and values["many"][0]["note"] == "a"


def test_a_whole_number_stands_for_a_float():
    assert type(from_json(Inner, '{"value": 3}').value) is float


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["count"], ..., "no 'count'"),
        (["many", 1, "value"], ..., r"no 'many\[1\].value'"),
        (["named", "é", "new"], 1, "unknown field 'named.é.new'"),
        (["count"], True, "'count' is not of type int"),
        (["count"], None, "'count' is not of type int"),
        (["flag"], 1, "'flag' is not of type bool"),
        (["inner"], [], "'inner' is not an object"),
        (["inner", "value"], "3", "'inner.value' is not a number"),
        (["many"], {}, "'many' is not a list"),
        (["named"], 3, "'named' is not an object"),
    ],
    ids=str,
)
def test_a_field_that_does_not_fit_is_named(path, value, said):
    with pytest.raises(ValueError, match=said):
        from_json(Outer, changed(path, value))
