"""Writing captions with a captioner: the search over its one-step function, as one pure function of a batch."""

from collections.abc import Callable
from typing import Any

import jax

from jaxcap import search
from jaxcap.models.captioner import Captioner


def one_step(model: Captioner, params: Any, batch: dict[str, jax.Array], beams: int) -> tuple[search.Step, Any]:
    """Prepares a batch for search.

    Args:
      model: the captioner.
      params: its parameters.
      batch: "features" [B, L, D] or "images" [B, S, S, 3].
      beams: K.

    Returns:
      The step (carry, tokens [B, K]) -> (carry, logits [B, K, V], attention [B, K, L]), and the first carry.
    """
    variables = {"params": params}
    regions = model.apply(variables, batch, method="regions")
    memory, carry = model.apply(variables, regions, beams, method="start")
    return lambda carry, tokens: model.apply(variables, carry, memory, tokens, method="step"), carry


def greedy(model: Captioner, rules: search.Rules) -> Callable[[Any, dict[str, jax.Array]], search.Hypotheses]:
    """Returns the pure function (params, batch) -> hypotheses that takes the likeliest word at every step."""

    def caption(params: Any, batch: dict[str, jax.Array]) -> search.Hypotheses:
        return search.greedy(*one_step(model, params, batch, 1), rules)

    return caption
