"""Frozen dataclasses as JSON and back, each field checked; NaN is null."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from jaxcap.io import plain

T = TypeVar("T")


def to_values(record: Any) -> Any:
    """Returns a dataclass as nested dicts, lists and scalars that JSON can hold.

    A field whose value is None is left out where None is its default.

    Args:
      record: a dataclass whose fields are dataclasses, tuples, dicts or scalars.
    """
    return plain.values(_to_values(record))


def from_json(kind: type[T], text: str) -> T:
    """Reads a dataclass from the JSON that `to_values` describes.

    Args:
      kind: the dataclass. Its fields may be of the types str, int, float, bool, Any, a dataclass,
        tuple[X, ...], dict[str, X], and X | None.
      text: the JSON.

    Raises:
      ValueError: the text is no JSON, or a field is unknown, missing or of another type; the error
        names it.
    """
    return _decode(kind, json.loads(text), "")


def _to_values(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        values = {}
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if item is not None or field.default is not None:
                values[field.name] = _to_values(item)
        return values
    if isinstance(value, Mapping):
        return {key: _to_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_values(item) for item in value]
    return value


def _decode(kind: Any, value: Any, name: str) -> Any:
    """Returns `value` as a value of the type `kind`.

    Args:
      kind: a type, see `from_json`.
      value: what JSON has in its place.
      name: of the field, as "run.config"; empty for the whole.
    """
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _decode_record(kind, value, name)
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        (wanted,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _decode(wanted, value, name)
    if origin is tuple:
        _check(isinstance(value, list), name, "a list")
        return tuple(_decode(arguments[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        _check(isinstance(value, dict), name, "an object")
        return {key: _decode(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    if kind is float:
        if value is None:
            return math.nan
        _check(type(value) in (int, float), name, "a number")
        return float(value)
    _check(type(value) is kind, name, f"of type {kind.__name__}")  # True is an int too
    return value


def _decode_record(kind: Any, value: Any, name: str) -> Any:
    """Returns a JSON object as the dataclass `kind`; see `_decode`."""
    _check(isinstance(value, dict), name or kind.__name__, "an object")
    hints = typing.get_type_hints(kind)
    prefix = f"{name}." if name else ""
    for key in value:
        if key not in hints:
            raise ValueError(f"unknown field '{prefix}{key}'")
    decoded = {}
    for field in dataclasses.fields(kind):
        if field.name in value:
            decoded[field.name] = _decode(
                hints[field.name], value[field.name], f"{prefix}{field.name}"
            )
        elif field.default is dataclasses.MISSING:
            raise ValueError(f"no '{prefix}{field.name}'")
    return kind(**decoded)


def _check(holds: bool, name: str, wanted: str) -> None:
    if not holds:
        raise ValueError(f"'{name}' is not {wanted}")
