"""Rules, rates, and the two trees that they make of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.experiment.defaults import get_config
from jaxcap.training.partition import (
    Rule,
    assign_epochs,
    assign_rates,
    combine,
    count_parameters,
    partition,
    read_rule,
    read_rules,
)

PARAMS = {
    "encoder": {"backbone": {"conv1": {"kernel": jnp.ones(3)}, "layer4_0": {"bias": jnp.ones(2)}}},
    "decoder": {"embed": {"embedding": jnp.ones(5)}, "head": {"bias": jnp.ones(7)}},
}


def test_the_first_rule_that_fits_decides():
    config = get_config()
    config.encoder.rates = ("layer4_*:0.1", "*:0")
    config.embedding.rate = 0.5
    rates = assign_rates(PARAMS, read_rules(config))
    assert rates == {
        "encoder": {"backbone": {"conv1": {"kernel": 0.0}, "layer4_0": {"bias": 0.1}}},
        "decoder": {"embed": {"embedding": 0.5}, "head": {"bias": 1.0}},
    }
    assert count_parameters(PARAMS, rates) == {"trained": 14, "frozen": 3}


def test_all_parameters_without_a_rule_are_counted_and_some_are_named():
    with pytest.raises(ValueError, match="2 parameters, as encoder/backbone/conv1/kernel"):
        assign_rates(PARAMS, [("decoder/*", 1.0)])


def test_a_rule_may_begin_in_a_later_epoch():
    config = get_config()
    config.encoder.rates = ("layer4_*:0.1@6", "*:0")
    rules = read_rules(config)
    assert rules[1] == Rule("encoder/backbone/layer4_*", 0.1, 6)
    assert assign_epochs(PARAMS, rules) == {
        "encoder": {"backbone": {"conv1": {"kernel": 1}, "layer4_0": {"bias": 6}}},
        "decoder": {"embed": {"embedding": 1}, "head": {"bias": 1}},
    }
    assert assign_rates(PARAMS, rules)["encoder"]["backbone"]["layer4_0"] == {"bias": 0.1}
    assert read_rule("*:1@1") == read_rule("*:1")


@pytest.mark.parametrize(
    "text",
    [
        *("", "layer4", ":1", "*:", "*:x", "*:-1", "*:nan", "*:inf"),
        *("*:1@", "*:1@0", "*:1@-1", "*:1@2.5", "*:1@x", "*:@2", "*:1@2@3", "*:0@2"),
    ],
)
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(ValueError):
        read_rule(text)


@pytest.mark.parametrize("rules", [[("*", 1.0)], [("*", 0.0)], [("encoder/*", 0.0), ("*", 2.0)]])
def test_combine_undoes_partition(rules):
    rates = assign_rates(PARAMS, rules)
    trainable, frozen = partition(PARAMS, rates)
    leaves = len(jax.tree.leaves(trainable)) + len(jax.tree.leaves(frozen))
    assert leaves == len(jax.tree.leaves(PARAMS))
    jax.tree.map(np.testing.assert_array_equal, combine(trainable, frozen), PARAMS)
