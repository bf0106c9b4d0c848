"""What a gold expects: counts and orders."""

import pytest

from slm.sql.results import Expected, Refused, ResultSet, Segment, strictly_ordered, unordered

ROWS = ((1, "a"), (1, "a"), (2, None))
RESULT = ResultSet(("n", "t"), ROWS)


def test_without_order_all_rows_are_one_segment():
    assert unordered(RESULT) == Expected(("n", "t"), (Segment(ROWS, 3),))


def test_with_a_total_order_each_row_is_one():
    assert strictly_ordered(RESULT) == Expected(("n", "t"), tuple(Segment((row,), 1) for row in ROWS))


@pytest.mark.parametrize(
    ("expected", "count"),
    [
        (unordered(RESULT), 3),
        (strictly_ordered(RESULT), 3),
        (unordered(ResultSet(("n",), ())), 0),
        (strictly_ordered(ResultSet(("n",), ())), 0),
        (Expected(("n",), (Segment(((1,),), 1), Segment(((2,), (3,), (4,)), 2))), 3),
    ],
)
def test_count_is_what_is_taken_not_what_there_is(expected, count):
    assert expected.count == count


def test_a_refusal_says_why():
    refused = Refused("timeout", "stopped after 1 s")
    assert (refused.reason, refused.detail) == ("timeout", "stopped after 1 s")
    assert "timeout" in str(refused)
    assert Refused("no_sql").detail is None
