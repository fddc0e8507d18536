"""What was made of equal arguments is made once.

JAX traces and compiles a function anew for every Python object, so what several runs of one process
compile, those of an ablation above all, has to be the same object.
"""

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np
from ml_collections import ConfigDict

KEPT = 16  # results of a function; the one that was used longest ago goes first

F = TypeVar("F", bound=Callable)


def memoize(function: F) -> F:
    """Returns the function such that equal arguments get the same result.

    Args:
      function: whose arguments are hashable, or mappings, lists and arrays of such, which must not
        be changed afterwards; whose result neither, and depends on nothing else.
    """

    @functools.lru_cache(maxsize=KEPT)
    def call_once(call: _Call) -> Any:
        return function(*call.arguments, **call.keywords)

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        return call_once(_Call(arguments, keywords))

    return call  # type: ignore[return-value]


class _Call:
    """Arguments that compare by their values."""

    def __init__(self, arguments: tuple, keywords: Mapping[str, Any]):
        self.arguments = arguments
        self.keywords = keywords
        self._key = (_freeze(arguments), _freeze(keywords))

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Call) and self._key == other._key


def _freeze(value: Any) -> Hashable:
    """Returns what is equal for equal values, and hashable."""
    if isinstance(value, (Mapping, ConfigDict)):
        return tuple((key, _freeze(value[key])) for key in sorted(value))
    if type(value) in (list, tuple):
        return type(value), tuple(map(_freeze, value))
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    # 1 and 1.0 and True are equal, and not traced to the same program.
    return type(value), value
