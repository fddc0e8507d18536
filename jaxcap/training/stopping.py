"""The signals that stop a training, of which all processes take notice at the same step."""

import signal
from typing import Any, Self

from jaxcap import parallel, processes


class Stop:
    """Turns the first SIGTERM or Ctrl-C into a request, which the loop obeys after its step.

    The second one ends the process, as if there were no handler. Of several processes any may be
    asked, and all of them obey.
    """

    def __init__(self) -> None:
        self._asked = 0  # the number of the signal that asked this process; 0 while none did
        self._agreed = 0  # the one that all processes know of
        self._pending: Any = None  # what they are finding out
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @property
    def signal(self) -> int:
        """The number of the signal that is obeyed; 0 while there is none."""
        return self._asked if processes.count() == 1 else self._agreed

    def is_due(self, *, wait: bool = False) -> bool:
        """Tells whether to stop: all processes ask at the same steps, and get the same answer.

        Args:
          wait: know of all that was asked by now. Else the answer of several processes is that of
            their question before, so that none has to wait for the others.
        """
        if processes.count() > 1 and not self._agreed:
            before = self._pending
            self._pending = parallel.start_maximum(self._asked)
            known = self._pending if wait else before
            # A request stays, so that the later answer holds the earlier one.
            self._agreed = 0 if known is None else int(known)
        return self.signal != 0

    def _ask(self, number: int, _: Any) -> None:
        self._asked = number
        signal.signal(number, self._handlers[number])
