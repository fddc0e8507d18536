"""Which parameters are trained, at which rate: one list of rules splits them into two trees."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

# (glob over a parameter's path, multiplier of its learning rate); the first that fits decides.
Rules = Sequence[tuple[str, float]]


def read_rules(config: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Returns the rules of a config.

    A denoiser is frozen; then come `encoder.rates`, `embedding.rate`, and the decoder at 1.

    Raises:
      ValueError: a rule of `encoder.rates` is not written as "glob:rate".
    """
    rules = [("encoder/denoiser/*", 0.0)]
    for rule in config["encoder"]["rates"]:
        pattern, rate = read_rule(rule)
        rules.append((f"encoder/backbone/{pattern}", rate))
    rules.append(("decoder/embed/*", config["embedding"]["rate"]))
    rules.append(("decoder/*", 1.0))
    return rules


def read_rule(text: str) -> tuple[str, float]:
    """Reads a rule such as "layer4_*:0.1".

    Raises:
      ValueError: it is not written so, or its rate is no finite number of at least 0.
    """
    pattern, colon, number = text.rpartition(":")
    if not colon or not pattern:
        raise ValueError(f"{text!r} is not GLOB:RATE, as layer4_*:0.1")
    rate = float(number)
    if not 0 <= rate < float("inf"):
        raise ValueError(f"{text!r} has a rate that is not a finite number of at least 0")
    return pattern, rate


def assign_rates(params: Any, rules: Rules) -> Any:
    """Gives every parameter the multiplier of its learning rate.

    Args:
      params: nested dicts of arrays or of their shapes.
      rules: see `Rules`; 0 freezes.

    Returns:
      The same tree of floats.

    Raises:
      ValueError: parameters that no rule covers; some are named.
    """
    uncovered = []

    def assign(path: tuple, _: Any) -> float:
        name = "/".join(str(key.key) for key in path)
        for pattern, rate in rules:
            if fnmatch.fnmatchcase(name, pattern):
                return rate
        uncovered.append(name)
        return 0.0

    rates = jax.tree_util.tree_map_with_path(assign, params)
    if uncovered:
        raise ValueError(
            f"no rule gives a rate to {len(uncovered)} parameters, as {', '.join(uncovered[:3])}: "
            "end the rules with one for all others, as *:0"
        )
    return rates


def partition(params: Any, rates: Any) -> tuple[Any, Any]:
    """Splits parameters into those that are trained and those that are frozen.

    Args:
      params: nested dicts of arrays.
      rates: from `assign_rates`.

    Returns:
      Two trees of the shape of `params`, with optax's `MaskedNode`, which has no leaves, in place
      of the other's parameters.
    """
    trainable = jax.tree.map(lambda p, r: p if r else optax.MaskedNode(), params, rates)
    frozen = jax.tree.map(lambda p, r: optax.MaskedNode() if r else p, params, rates)
    return trainable, frozen


def combine(trainable: Any, frozen: Any) -> Any:
    """Puts together again what `partition` has split."""
    return jax.tree.map(
        lambda t, f: f if _is_masked(t) else t, trainable, frozen, is_leaf=_is_masked
    )


def count_parameters(params: Any, rates: Any) -> dict[str, int]:
    """Counts the numbers that are "trained" and those that are "frozen"."""
    counts = {}
    for name, part in zip(("trained", "frozen"), partition(params, rates), strict=True):
        counts[name] = sum(leaf.size for leaf in jax.tree.leaves(part))
    return counts


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)
