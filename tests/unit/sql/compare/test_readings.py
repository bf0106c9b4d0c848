"""BIRD's and the test-suite script's answers, quirks included; the second also against a plain reimplementation."""

import itertools
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.compare import readings
from slm.sql.results import ResultSet, Row

CELLS = st.sampled_from([None, 0, 1, 1.0, 1.5, -0.0, 0.0, "1", "1a", "a", b"a", 10, 9])


def result(rows: list[Row], width: int | None = None) -> ResultSet:
    return ResultSet(("",) * (width or (len(rows[0]) if rows else 1)), rows)


def plainly(gold: list[Row], prediction: list[Row], *, ordered: bool) -> bool:
    """`result_eq` by its description: quick rejection of unordered rows, then every permutation of columns."""
    if not gold and not prediction:
        return True
    if len(gold) != len(prediction) or len(gold[0]) != len(prediction[0]):
        return False
    ours, theirs = (
        [tuple(sorted(row, key=lambda cell: str(cell) + str(type(cell)))) for row in rows]
        for rows in (gold, prediction)
    )
    if ours != theirs if ordered else set(ours) != set(theirs):
        return False
    orders = itertools.permutations(range(len(gold[0])))
    permuted = ([tuple(row[k] for k in order) for row in prediction] for order in orders)
    return any(gold == rows if ordered else Counter(gold) == Counter(rows) for rows in permuted)


@given(st.integers(1, 4).flatmap(lambda w: st.lists(st.tuples(*[CELLS] * w), max_size=4)), st.data())
def test_the_suite_agrees_with_every_permutation_tried(gold: list[Row], data: st.DataObject) -> None:
    rng = data.draw(st.randoms(use_true_random=False))
    width = len(gold[0]) if gold else 1
    order = rng.sample(range(width), width)
    prediction = [tuple(row[k] for k in order) for row in gold]
    if data.draw(st.booleans()):
        rng.shuffle(prediction)
    if prediction and data.draw(st.booleans()):
        prediction[0] = data.draw(st.tuples(*[CELLS] * width))
    if data.draw(st.booleans()):
        prediction = [tuple(float(cell) if isinstance(cell, int) else cell for cell in row) for row in prediction]
    for ordered in (False, True):
        mine = readings.test_suite(result(gold), result(prediction), ordered=ordered)
        assert mine is plainly(gold, prediction, ordered=ordered)


@pytest.mark.parametrize(
    ("gold", "prediction", "bird", "suite", "ordered"),
    [
        ([(1,)], [(1,)], True, True, True),
        ([(1,), (2,)], [(2,), (1,)], True, True, False),
        ([(1,), (1,)], [(1,)], True, False, False),
        ([(1, "a")], [("a", 1)], False, True, True),
        ([(1,)], [(1.0,)], True, True, True),
        ([(1,)], [("1",)], False, False, False),
        ([(1, 1.5)], [(1.0, 1.5)], True, False, False),
        ([(0.1 + 0.2,)], [(0.3,)], False, False, False),
        ([(None,)], [(None,)], True, True, True),
        ([("caf\udce9",)], [("caf\udce9",)], False, True, True),
        ([("caf\udce9",)], [("caf",)], False, True, True),
        ([("café",)], [("café",)], True, True, True),
        ([], [(1,)], False, False, False),
    ],
)
def test_readings(gold: list[Row], prediction: list[Row], bird: bool, suite: bool, ordered: bool) -> None:
    assert readings.bird(result(gold), result(prediction)) is bird
    assert readings.test_suite(result(gold), result(prediction), ordered=False) is suite
    assert readings.test_suite(result(gold), result(prediction), ordered=True) is ordered


def test_two_empty_results_are_equal_whatever_their_columns() -> None:
    assert readings.bird(result([], 2), result([], 1))
    assert readings.test_suite(result([], 2), result([], 1), ordered=True)


def test_twelve_boolean_columns_do_not_hang() -> None:
    rng = random.Random(1)  # noqa: S311
    rows = [tuple(rng.randrange(2) for _ in range(12)) for _ in range(200)]
    order = rng.sample(range(12), 12)
    prediction = [tuple(row[k] for k in order) for row in rng.sample(rows, 200)]
    # Two bits trade places between two rows: each row keeps its sum and each column too, so nothing is rejected early.
    at = next(
        (a, b, j, k)
        for a in range(200)
        for b in range(200)
        for j in range(12)
        for k in range(12)
        if (prediction[a][j], prediction[a][k], prediction[b][j], prediction[b][k]) == (1, 0, 0, 1)
    )
    wrong = [list(row) for row in prediction]
    for row, j, k in ((at[0], at[2], at[3]), (at[1], at[3], at[2])):
        wrong[row][j], wrong[row][k] = 0, 1
    start = time.monotonic()
    assert readings.test_suite(result(rows), result(prediction), ordered=False)
    assert not readings.test_suite(result(rows), result([tuple(row) for row in wrong]), ordered=False)
    assert time.monotonic() - start < 5
