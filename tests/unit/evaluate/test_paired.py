"""Paired differences: only questions on which two systems differ count, and the interval keeps its promise."""

import random

import pytest

from slm.evaluate import paired_difference
from slm.records import Verdict


def verdicts(marks: str) -> list[Verdict]:
    return [Verdict(example_id=str(place), correct=mark == "x", reason="-") for place, mark in enumerate(marks)]


def test_what_is_counted():
    found = paired_difference(verdicts("xx..x"), verdicts("x.xxx"))
    assert (found.gained, found.lost, found.total) == (2, 1, 5)
    assert found.value == pytest.approx(0.2)
    assert found.low < 0 < found.high


def test_equal_systems_differ_by_nothing_and_more_questions_make_that_surer():
    few, many = (paired_difference(verdicts("x." * size), verdicts("x." * size)) for size in (8, 200))
    assert few.value == many.value == 0
    assert few.low == -few.high
    assert many.high < few.high / 10


def test_other_questions_are_refused():
    with pytest.raises(ValueError, match="same questions"):
        paired_difference(verdicts("xx"), verdicts("x"))
    with pytest.raises(ValueError, match="at least one"):
        paired_difference([], [])


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    chance = random.Random(3)  # noqa: S311 - a draw that can be repeated
    held = 0
    for _ in range(2000):
        first, second = [], []
        for _ in range(40):
            draw = chance.random()  # both right 50 %, only the first 15 %, only the second 5 %, none 30 %
            first.append("x" if draw < 0.65 else ".")
            second.append("x" if draw < 0.5 or 0.65 <= draw < 0.7 else ".")
        found = paired_difference(verdicts("".join(first)), verdicts("".join(second)))
        held += found.low <= -0.10 <= found.high
    assert 0.935 < held / 2000 < 0.985
