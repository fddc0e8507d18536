"""What several runs of one process have in common is made once."""

import json
from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")


class Shared:
    """Keeps what was made, by what decides it."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Any] = {}

    def get(self, what: str, decided_by: Any, make: Callable[[], T]) -> T:
        """Returns what was made of equal values before, or makes it.

        Args:
          what: names the kind of thing.
          decided_by: all that it depends on, as JSON can hold it.
          make: makes it; what it returns must not be changed by anyone.
        """
        key = (what, json.dumps(decided_by, sort_keys=True))
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])
