"""Work done in threads ahead of its use."""

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    pool: Executor | None = None,
    window: int = 2,
) -> Iterator[Result]:
    """Yields task(item) for each item, in order, while threads work on the next ones.

    Args:
      task: what to do with an item.
      items: taken one by one, as there is room in the window.
      pool: the threads; None for one thread of its own, which does one item after the other.
      window: how many items are at work or wait to be taken, the one to be yielded among them; it
        bounds the memory that results take.

    Raises:
      Exception: whatever `task` raises, when its item is reached; later items are dropped.
    """
    with contextlib.ExitStack() as stack:
        if pool is None:
            pool = stack.enter_context(ThreadPoolExecutor(1))
        pending: collections.deque[Future[Result]] = collections.deque()
        try:
            for item in items:
                pending.append(pool.submit(task, item))
                if len(pending) >= window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
