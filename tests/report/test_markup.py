"""HTML as nested calls."""

import pytest

from jaxcap.report import markup


@pytest.mark.parametrize(
    ("value", "said"), [(None, "–"), (float("nan"), "–"), (-0.5, "−0.5"), (12, "12.0")]
)
def test_numbers_are_written_for_readers(value, said):
    assert markup.number(value) == said


def test_text_is_escaped_and_markup_is_not():
    inner = markup.element("b", "<&>")
    assert inner == "<b>&lt;&amp;&gt;</b>"
    assert markup.element("p", inner, None, "x") == f"<p>{inner}x</p>"
    assert markup.element("p", title='"') == '<p title="&quot;"></p>'


def test_attributes_that_are_none_or_false_are_left_out():
    assert markup.element("img", alt=None, hidden=False) == "<img>"
    assert markup.element("img", hidden=True, data_x=1) == '<img hidden data-x="1">'
