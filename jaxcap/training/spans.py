"""Spans: several steps of training as one program, which reads its batches on the devices.

Where the cached features and the captions lie on the devices, a step needs no more of the host than
which photos come next. So the plan of many steps is sent at once, and a compiled loop makes them.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcap import parallel
from jaxcap.inputs.batches import TrainingBatches, shorten
from jaxcap.inputs.plan import Plan
from jaxcap.text import PAD
from jaxcap.training.capacity import choose_words


class Resident(NamedTuple):
    """What spans read, on every device.

    Attributes:
      arrays: "features" [N, views, L, D] float16 and "tokens" [N, C, T] int32 of all photos.
      name: of the features in a batch, see `Captioner.regions`.
      span: the most steps of a span.
    """

    arrays: Mapping[str, jax.Array]
    name: str
    span: int


class Span(NamedTuple):
    """Steps that are made by one call.

    Attributes:
      rows: the photos of each step, [S, B], or [S, N, B] where N replicas read batches of their
        own.
      batch: what the call takes: a batch where it makes one step, else the plan of S steps.
      chosen: what the call takes besides, by keyword.
      is_scanned: the call makes its steps in a loop, and its metrics have an axis of steps.
    """

    rows: np.ndarray
    batch: Mapping[str, Any]
    chosen: Mapping[str, int]
    is_scanned: bool

    def __len__(self) -> int:
        """Returns S."""
        return len(self.rows)


def plan_spans(
    orders: Sequence[TrainingBatches], epoch: int, first: int, size: int, every: int
) -> Iterator[Span]:
    """Yields the spans of an epoch.

    They follow from the arguments but `first`, and every step is computed with as many positions as
    the epoch needs. So a run that was cut off behind a span changes no bit of what it comes to.

    Args:
      orders: of the replicas' batches; one where they share it.
      epoch: its number from 0.
      first: the step of the epoch to begin with.
      size: the most steps of a span.
      every: spans also end after so many steps of the run, and with its epochs.
    """
    plans = [order.plan_epoch(epoch) for order in orders]
    tokens = [
        order.take_tokens(plan, slice(None)) for order, plan in zip(orders, plans, strict=True)
    ]
    # The same for all replicas, which one program trains.
    kept = shorten(np.stack(tokens, axis=1))  # [steps, N, B, C, T]
    spread = parallel.spread({"tokens": kept}, lambda name: 2)
    chosen = {"length": kept.shape[-1], **choose_words(spread)}
    arrays = _stack_plans(plans, orders[0].choice)
    for start, end in cut_spans(len(kept), epoch * len(kept), size, every):
        if end <= first:
            continue
        begin = max(start, first)
        part = {name: array[begin:end] for name, array in arrays.items()}
        yield Span(part["rows"], part, chosen, is_scanned=True)


def cut_spans(steps: int, before: int, size: int, every: int) -> list[tuple[int, int]]:
    """Cuts the steps of an epoch into spans, of few different lengths: each is compiled by itself.

    Args:
      steps: of the epoch.
      before: steps of the run before it.
      size: the most steps of a span.
      every: spans also end after so many steps of the run.

    Returns:
      Each span's first step in the epoch, and the one behind its last.
    """
    ends = [end - before for end in range(before + 1, before + steps) if end % every == 0]
    spans: list[tuple[int, int]] = []
    start = 0
    for end in (*ends, steps):
        parts = -(-(end - start) // size)
        cuts = [start + (end - start) * part // parts for part in range(parts + 1)]
        spans += itertools.pairwise(cuts)
        start = end
    return spans


def scan_steps(step: Callable, name: str) -> Callable:
    """Returns the function that makes the steps of a span.

    Args:
      step: (state, frozen, batch, **others) -> (state, metrics), of one model or of a stack.
      name: of the features in its batch.

    Returns:
      (state, (frozen, arrays), plan, length=..., **others) -> (state, metrics [S, ...]), with
      `Resident.arrays`, and of the captions as many positions as `length` says.
    """

    def take_steps(
        state: Any, constants: tuple[Any, Any], plan: Mapping[str, jax.Array], **others: Any
    ) -> tuple[Any, Any]:
        frozen, arrays = constants
        length = others.pop("length")

        def advance(state: Any, planned: Mapping[str, jax.Array]) -> tuple[Any, Any]:
            batch = {
                name: arrays["features"][planned["rows"], planned["views"]],
                "tokens": read_tokens(arrays["tokens"], planned, length),
            }
            return step(state, frozen, batch, **others)

        return jax.lax.scan(advance, state, plan)

    return take_steps


def read_tokens(tokens: jax.Array, planned: Mapping[str, jax.Array], length: int) -> jax.Array:
    """Reads the captions of a batch: all of each photo, or the one that was drawn.

    Args:
      tokens: [N, C, T].
      planned: "rows" and "real" [..., B] and, where one is drawn, "captions" [..., B].
      length: how many positions are read.

    Returns:
      [..., B, C or 1, length], all padding where a photo only fills the batch up.
    """
    rows = planned["rows"]
    if "captions" in planned:
        of_photos = tokens[rows, planned["captions"]][..., None, :]
    else:
        of_photos = tokens[rows]
    return jnp.where(planned["real"][..., None, None], of_photos[..., :length], PAD)


def _stack_plans(plans: Sequence[Plan], choice: str) -> dict[str, np.ndarray]:
    """Returns the arrays of an epoch's plans: [steps, B], or [steps, N, B] of several."""
    names = ["rows", "views", "real"]
    if choice != "all":
        names.append("captions")
    arrays = {}
    for name in names:
        of_plans = [getattr(plan, name) for plan in plans]
        arrays[name] = of_plans[0] if len(plans) == 1 else np.stack(of_plans, axis=1)
    return arrays
