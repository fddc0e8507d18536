"""The parts of a table."""

from jaxcap.report import cells
from tests.report.pages import Parsed, estimate


def test_a_bar_ends_where_its_value_stands():
    drawn = Parsed(cells.draw_bar(estimate(0.5, 0.1), [0.25], most=1.0))
    assert "50.00%" in drawn.attributes("width")
    assert {"25.00%", "40.00%", "60.00%"} <= set(drawn.attributes("x1"))
