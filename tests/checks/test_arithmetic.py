"""The self-test: it finds what is wrong in this jaxlib, and any wrong operation it is given."""

from importlib import metadata

import numpy as np
import pytest

from jaxcap.checks import arithmetic

LABELS = [operation.name for operation in arithmetic.OPERATIONS]
KNOWN = "the maximum of a product with a constant"


def spoil(change):
    """Returns a "compiler" whose results have one number changed."""

    def compile_function(function):
        def compute(*inputs):
            values = np.array(function(*inputs))
            values.flat[7] = change(values.flat[7], np.abs(values).max())
            return values

        return compute

    return compile_function


def test_this_jaxlib_is_right_but_for_the_fault_that_is_known():
    wrong = []
    for operation in arithmetic.OPERATIONS:
        if arithmetic.measure_error(operation) > 1e-5:
            wrong.append(operation.name)
    known = metadata.version("jaxlib") in ("0.10.2", "0.12.0.1")
    # Not every processor takes the path that is wrong.
    assert wrong in ([], [KNOWN]) if known else wrong == []


@pytest.mark.parametrize("operation", arithmetic.OPERATIONS, ids=LABELS)
@pytest.mark.parametrize(
    "change",
    [lambda value, most: value + 1e-3 * most, lambda value, most: np.nan],
    ids=["a thousandth off", "no number"],
)
def test_one_wrong_number_is_caught_and_the_operation_named(operation, change, monkeypatch):
    monkeypatch.setattr(arithmetic, "OPERATIONS", (operation,))
    (finding,) = arithmetic.check_arithmetic(spoil(change))
    assert finding.name == "arithmetic"
    assert operation.name in finding.found


@pytest.mark.parametrize(
    ("version", "advice"),
    [("0.10.2", "XLA_FLAGS=--xla_cpu"), ("9.9.9", "install another version")],
)
def test_the_flag_is_advised_where_it_is_known_to_help(version, advice, monkeypatch):
    """A jaxlib that does not know a flag aborts."""
    monkeypatch.setattr(arithmetic, "OPERATIONS", arithmetic.OPERATIONS[:1])
    monkeypatch.setattr(metadata, "version", lambda _: version)
    (finding,) = arithmetic.check_arithmetic(spoil(lambda value, most: np.nan))
    assert f"jaxlib {version} on " in finding.found
    assert finding.advice.count("XLA_FLAGS") == advice.count("XLA_FLAGS")
    assert advice in finding.advice


def test_a_right_operation_is_no_finding(monkeypatch):
    monkeypatch.setattr(arithmetic, "OPERATIONS", arithmetic.OPERATIONS[:1])
    assert arithmetic.check_arithmetic() == []
