"""Several processes that train one model together, each on devices of its own.

All of them make the same calls in the same order. For a process by itself nothing here does
anything.
"""

import atexit
import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np

from jaxcap.errors import UserError, print_error

T = TypeVar("T")

HEARTBEAT = 60  # seconds until JAX ends the processes of which one has ended
_GRACE = 5.0  # seconds that the first process, through which all talk, ends after the others
_LENGTHS = 1024  # texts are filled up to multiples of so many bytes; each length is compiled


@dataclasses.dataclass(frozen=True)
class Place:
    """Which of several processes this one is.

    Attributes:
      coordinator: host and port where the first process listens; "" where JAX finds out by itself.
      count: of processes.
      index: of this one, from 0.
      wait: seconds for all to start.
    """

    coordinator: str
    count: int
    index: int
    wait: int


def count() -> int:
    """Returns how many processes train together."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def get_index() -> int:
    """Returns which of them this one is, from 0."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def is_first() -> bool:
    """Tells whether this process is the one that writes and prints."""
    return get_index() == 0


def take_share(size: int) -> slice:
    """Returns which items of a batch of `size` belong to this process's devices."""
    each = size // count()
    return slice(get_index() * each, (get_index() + 1) * each)


@contextlib.contextmanager
def join(place: Place | None) -> Iterator[None]:
    """Trains together with other processes for the length of the block; once in a process.

    The first one alone prints; the others print the error that ends them.

    Args:
      place: which process this is; None for one by itself.

    Raises:
      UserError: they do not find each other, or another one ended within the block.
    """
    if place is None:
        yield
        return
    _initialize(place)
    try:
        with contextlib.nullcontext() if is_first() else _mute():
            yield
    except BaseException as error:
        # The collectives of processors; on accelerators JAX aborts the process within HEARTBEAT.
        is_lost = isinstance(error, RuntimeError | ValueError) and "Gloo" in str(error)
        is_mistake = is_lost or isinstance(error, UserError | OSError)
        # JAX's own end waits for the others, which may wait for this one.
        atexit.register(_leave, 2 if is_mistake else 1)
        if is_lost:
            raise UserError(
                "another process has ended or cannot be reached: see what it says, and start all "
                "of them again"
            ) from error
        raise


def gather_texts(text: str) -> list[str]:
    """Returns every process's text, in their order."""
    if count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = _gather(np.int32(len(data)))
    longest = int(lengths.max())
    padded = np.zeros(longest + -longest % _LENGTHS, np.uint8)
    padded[: len(data)] = data
    texts = []
    for row, length in zip(_gather(padded), lengths, strict=True):
        texts.append(row[:length].tobytes().decode())
    return texts


def tell(function: Callable[[], T]) -> T:
    """Calls a function in the first process alone and returns in all what it returned.

    Args:
      function: returns what JSON can hold.

    Raises:
      UserError: in all, what the function raised.
    """
    if count() == 1:
        return function()
    mistake = ""
    value: Any = None
    if is_first():
        try:
            value = function()
        except (UserError, OSError) as error:
            mistake = str(error)
    mistake, value = json.loads(gather_texts(json.dumps([mistake, value]))[0])
    if mistake:
        raise UserError(mistake)
    return value


@contextlib.contextmanager
def fail_together() -> Iterator[None]:
    """Waits at the end of the block for all processes; what one of them raised, all raise.

    Nothing in the block may wait for other processes, unless it raises in all of them.
    """
    if count() == 1:
        yield
        return
    mistake = ""
    try:
        yield
    except (UserError, OSError) as error:
        mistake = str(error)
    found = gather_texts(mistake)
    if mistake:
        raise UserError(mistake)
    for index, of_other in enumerate(found):
        if of_other:
            raise UserError(f"process {index}: {of_other}")


@contextlib.contextmanager
def hold_once(hold: Callable[[], contextlib.AbstractContextManager[None]]) -> Iterator[None]:
    """Enters, for the length of the block, what only one process can hold: the first one does.

    Args:
      hold: makes what is entered.

    Raises:
      UserError: in all, if it cannot be entered.
    """
    with contextlib.ExitStack() as stack:
        tell(lambda: stack.enter_context(hold()))
        yield


def check_same(facts: Mapping[str, str]) -> None:
    """Makes sure that all processes were started alike.

    Args:
      facts: by name, what must be the same in all.

    Raises:
      UserError: in all; a process and what is different in it are named.
    """
    found = [json.loads(text) for text in gather_texts(json.dumps(dict(facts)))]
    for index, of_process in enumerate(found):
        for name in sorted(found[0].keys() | of_process.keys()):
            first = found[0].get(name)
            other = of_process.get(name)
            if first != other:
                raise UserError(
                    f"process {index} has another {name} than the first process ({other}, not "
                    f"{first}): start all with the same command, version and files"
                )


def broadcast(tree: Any) -> Any:
    """Returns in all processes the first one's arrays; of one process, `tree` itself."""
    if count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(tree)


def _gather(array: Any) -> np.ndarray:
    """Returns the arrays of all processes, of equal shapes, stacked."""
    # Here, because a process by itself need not wait for the import.
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(array)


def _initialize(place: Place) -> None:
    """Finds the other processes."""
    options: dict[str, Any] = {}
    if place.coordinator:
        options["coordinator_address"] = place.coordinator
        options["num_processes"] = place.count
        options["process_id"] = place.index
        options["cluster_detection_method"] = "deactivate"
        if place.index == 0:
            _check_port(place.coordinator)
    handler = signal.getsignal(signal.SIGTERM)
    with _end_after(place.wait, _explain_waiting(place)):
        try:
            jax.distributed.initialize(
                **options,
                initialization_timeout=place.wait + 60,  # at which JAX aborts the process
                heartbeat_timeout_seconds=HEARTBEAT,
            )
        except (ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            if place.coordinator:
                raise UserError(f"--coordinator {place.coordinator}: {reason}") from error
            raise UserError(
                f"--distributed: JAX finds no cluster here that it knows ({reason}): give "
                "--coordinator, --processes and --process"
            ) from error
        jax.process_count()  # meets the others' devices
    # JAX has put its own in place, which does not end the process.
    signal.signal(signal.SIGTERM, handler)


def _check_port(coordinator: str) -> None:
    """Makes sure that the first process can listen, for JAX ends with a crash where it cannot."""
    port = int(coordinator.rpartition(":")[2])
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(("", port))
    except OSError as error:
        raise UserError(
            f"--coordinator {coordinator}: port {port} cannot be used here ({error.strerror}): "
            "choose another one, for all processes"
        ) from error


def _explain_waiting(place: Place) -> str:
    if place.coordinator and place.index == 0:
        return (
            f"not all {place.count} processes have joined at {place.coordinator} within "
            f"{place.wait} s: start every one of them, or give them longer with --wait"
        )
    return (
        f"the processes have not found each other{place.coordinator and ' at '}"
        f"{place.coordinator} within {place.wait} s: start every one of them, see that the first "
        "one's port can be reached from here, or give them longer with --wait"
    )


@contextlib.contextmanager
def _end_after(seconds: float, message: str) -> Iterator[None]:
    """Ends the process with one line if the block takes longer."""

    def end() -> None:
        print_error(message)
        os._exit(2)  # the thread that waits in JAX cannot be stopped otherwise

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _mute() -> Iterator[None]:
    """Prints nothing in the block."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _leave(code: int) -> None:
    """Ends the process without JAX's end."""
    sys.stdout.flush()
    if is_first():
        time.sleep(_GRACE)  # else JAX aborts the others before they have said why they end
    os._exit(code)
