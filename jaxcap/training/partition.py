"""Which parameters are trained, at which rate: one list of rules splits them into two trees."""

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax


class Rule(NamedTuple):
    """How fast some parameters learn, and from when on.

    Attributes:
      pattern: a glob over a parameter's path.
      rate: multiplies the learning rate; 0 freezes.
      epoch: the first of the run, from 1, in which they learn; until then they stay as they are.
    """

    pattern: str
    rate: float
    epoch: int = 1


# The first that fits decides. A plain pair is a rule from the first epoch on.
Rules = Sequence[Rule | tuple[str, float]]


def read_rules(config: Mapping[str, Any]) -> list[Rule]:
    """Returns the rules of a config.

    A denoiser is frozen; then come `encoder.rates`, the embedding at the rate of its fastest rows
    (see `assign_row_rates`), and the decoder at 1.

    Raises:
      ValueError: a rule of `encoder.rates` is not written as `read_rule` wants it.
    """
    rules = [Rule("encoder/denoiser/*", 0.0)]
    for text in config["encoder"]["rates"]:
        rule = read_rule(text)
        rules.append(rule._replace(pattern=f"encoder/backbone/{rule.pattern}"))
    rules.append(Rule("decoder/embed/*", max(_read_embedding_rates(config["embedding"]))))
    rules.append(Rule("decoder/*", 1.0))
    return rules


def read_rule(text: str) -> Rule:
    """Reads a rule such as "layer4_*:0.1", or "layer4_*:0.1@6" for one from epoch 6 on.

    Raises:
      ValueError: it is not written so, its rate is no finite number of at least 0, its epoch no
        whole number of at least 1, or it has an epoch and the rate 0.
    """
    pattern, colon, numbers = text.rpartition(":")
    if not colon or not pattern:
        raise ValueError(f"{text!r} is not GLOB:RATE, as layer4_*:0.1")
    number, at, epoch = numbers.partition("@")
    rate = float(number)
    if not 0 <= rate < float("inf"):
        raise ValueError(f"{text!r} has a rate that is not a finite number of at least 0")
    if not at:
        return Rule(pattern, rate)
    if not (epoch.isascii() and epoch.isdecimal()) or int(epoch) < 1:
        raise ValueError(f"{text!r} has an epoch that is not a whole number of at least 1")
    if not rate:
        raise ValueError(f"{text!r} begins to learn at the rate 0")
    return Rule(pattern, rate, int(epoch))


def assign_rates(params: Any, rules: Rules) -> Any:
    """Gives every parameter the multiplier of its learning rate.

    Args:
      params: nested dicts of arrays or of their shapes.
      rules: see `Rules`.

    Returns:
      The same tree of floats.

    Raises:
      ValueError: parameters that no rule covers; some are named.
    """
    return jax.tree.map(lambda rule: rule.rate, _assign_rules(params, rules), is_leaf=_is_rule)


def assign_epochs(params: Any, rules: Rules) -> Any:
    """Gives every parameter the first epoch in which it learns; otherwise as `assign_rates`.

    Returns:
      The same tree of whole numbers from 1.
    """
    return jax.tree.map(lambda rule: rule.epoch, _assign_rules(params, rules), is_leaf=_is_rule)


def _assign_rules(params: Any, rules: Rules) -> Any:
    """Gives every parameter its `Rule`."""
    uncovered = []

    def assign(path: tuple, _: Any) -> Rule:
        name = "/".join(str(key.key) for key in path)
        for rule in rules:
            if fnmatch.fnmatchcase(name, rule[0]):
                return Rule(*rule)
        uncovered.append(name)
        return Rule(name, 0.0)

    assigned = jax.tree_util.tree_map_with_path(assign, params)
    if uncovered:
        raise ValueError(
            f"no rule gives a rate to {len(uncovered)} parameters, as {', '.join(uncovered[:3])}: "
            "end the rules with one for all others, as *:0"
        )
    return assigned


def assign_row_rates(rates: Any, embedding: Mapping[str, Any], found: np.ndarray) -> Any:
    """Gives the rows of the word embedding multipliers of their own.

    Args:
      rates: from `assign_rates`.
      embedding: the section `embedding` of a config.
      found: bool [V], which words have an imported vector.

    Returns:
      A tree like `rates` whose leaves multiply them: 1, and for the embedding float32 [V, 1], 0
      where a row is frozen. None where all rows have one rate.
    """
    rate, missing = _read_embedding_rates(embedding)
    if rate == missing:
        return None
    rows = np.where(found, rate, missing) / max(rate, missing)
    row_rates = jax.tree.map(lambda _: 1.0, rates)
    row_rates["decoder"]["embed"]["embedding"] = rows.astype(np.float32)[:, None]
    return row_rates


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


def count_parameters(params: Any, rates: Any, row_rates: Any = None) -> dict[str, int]:
    """Counts the numbers that are "trained" and those that are "frozen".

    Args:
      params: nested dicts of arrays.
      rates: from `assign_rates`.
      row_rates: from `assign_row_rates`.
    """
    if row_rates is None:
        row_rates = jax.tree.map(lambda _: 1.0, rates)

    def count_trained(leaf: Any, rate: float, rows: Any) -> int:
        return leaf.size // np.size(rows) * np.count_nonzero(rate * rows)

    trained = sum(jax.tree.leaves(jax.tree.map(count_trained, params, rates, row_rates)))
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    return {"trained": trained, "frozen": total - trained}


def count_frozen_rows(embedding: Mapping[str, Any], words: int, found: int) -> int:
    """Counts the rows that stay as they are of a word embedding of which others learn.

    Args:
      embedding: the section `embedding` of a config.
      words: V.
      found: how many of them have an imported vector.
    """
    rate, missing = _read_embedding_rates(embedding)
    if rate == missing:
        return 0
    if not rate:
        return found
    return 0 if missing else words - found


def _read_embedding_rates(embedding: Mapping[str, Any]) -> tuple[float, float]:
    """Returns the rates of words with an imported vector and of those without."""
    rate = embedding["rate"]
    missing = embedding["missing_rate"]
    return rate, missing if missing >= 0 else rate


def _is_rule(node: Any) -> bool:
    return isinstance(node, Rule)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)
