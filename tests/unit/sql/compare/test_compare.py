"""Results are equal, or the first reason why not is named and shown."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.compare import compare
from slm.sql.results import Expected, ResultSet, Row, Segment, strictly_ordered, unordered

CELLS = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32),
    st.sampled_from(["", "a", "5", "05", "5.0", "\udcff"]),
    st.binary(max_size=1),
)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[CELLS] * width), max_size=6).map(lambda rows: ResultSet(("",) * width, rows))
)


def reason(gold: list[Row], prediction: list[Row], *, ordered: bool = False) -> str:
    ours, theirs = (ResultSet(("",) * len(rows[0]), rows) for rows in (gold, prediction))
    return compare((strictly_ordered if ordered else unordered)(ours), theirs).reason


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_does_not_matter(table: ResultSet, rng: random.Random) -> None:
    columns = rng.sample(range(len(table.labels)), len(table.labels))
    rows = [tuple(row[j] for j in columns) for row in rng.sample(table.rows, len(table.rows))]
    assert compare(unordered(table), ResultSet(table.labels, rows)).reason == "equal"


@given(TABLES, st.randoms(use_true_random=False))
def test_with_order_only_columns_may_move(table: ResultSet, rng: random.Random) -> None:
    columns = rng.sample(range(len(table.labels)), len(table.labels))
    rows = [tuple(row[j] for j in columns) for row in table.rows]
    assert compare(strictly_ordered(table), ResultSet(table.labels, rows)).reason == "equal"


@given(TABLES, TABLES)
def test_comparison_is_symmetric(left: ResultSet, right: ResultSet) -> None:
    assert compare(unordered(left), right).reason == compare(unordered(right), left).reason


@given(TABLES.filter(lambda table: bool(table.rows)), st.randoms(use_true_random=False))
def test_one_other_cell_is_seen(table: ResultSet, rng: random.Random) -> None:
    rows = list(table.rows)
    at, column = rng.randrange(len(rows)), rng.randrange(len(table.labels))
    rows[at] = (*rows[at][:column], "something else", *rows[at][column + 1 :])
    assert compare(unordered(table), ResultSet(table.labels, rows)).reason == "values"


@pytest.mark.parametrize(
    ("gold", "prediction", "ordered", "expected"),
    [
        ([("a", 1), ("b", 2)], [(2, "b"), (1, "a")], False, "equal"),
        ([("a", 1), ("b", 2)], [("a", 2), ("b", 1)], False, "values"),
        ([("a",), ("a",), ("b",)], [("a",), ("b",), ("b",)], False, "multiplicity_only"),
        ([("a",), ("a",)], [("a",)], False, "multiplicity_only"),
        ([("a",)], [("a",), ("a",)], True, "multiplicity_only"),
        ([("a", 1), ("a", 1)], [(1, "a")], False, "multiplicity_only"),
        ([(0.3,), (0.1 + 0.2,)], [(0.3,)], False, "multiplicity_only"),
        ([("a",), ("a",)], [("b",)], False, "row_count"),
        ([("a",), ("b",)], [("a",)], False, "row_count"),
        ([(1,), (2,)], [(2,), (1,)], False, "equal"),
        ([(1,), (2,)], [(2,), (1,)], True, "order"),
        ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], True, "order"),
        ([(1,), (2,)], [(2,), (3,)], True, "values"),
        ([(1,)], [(1, 1)], False, "columns"),
        ([(1, 1)], [(1,), (1,)], False, "columns"),
    ],
)
def test_reasons(gold: list[Row], prediction: list[Row], ordered: bool, expected: str) -> None:
    assert reason(gold, prediction, ordered=ordered) == expected


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ([(1,), (2,), (8,)], "equal"),
        ([(2,), (1,), (8,)], "order"),
        ([(9,), (2,), (1,)], "order"),
        ([(1,), (8,), (9,)], "values"),
        ([(1,), (2,)], "row_count"),
        ([(1,), (2,), (8,), (9,)], "row_count"),
    ],
)
def test_where_limit_cuts_a_tie(prediction: list[Row], expected: str) -> None:
    gold = Expected(("n",), (Segment([(1,)], 1), Segment([(2,)], 1), Segment([(8,), (9,)], 1)))
    assert compare(gold, ResultSet(("n",), prediction)).reason == expected


def test_the_permutation_is_told() -> None:
    gold = unordered(ResultSet(("a", "b", "c"), [(1, "x", None)]))
    assert compare(gold, ResultSet(("c", "a", "b"), [(None, 1, "x")])).permutation == (1, 2, 0)
    assert compare(gold, ResultSet(("b", "a", "c"), [(1, "x", None)])).permutation is None


def test_columns_are_counted_even_without_rows() -> None:
    outcome = compare(unordered(ResultSet(("a", "b"), [])), ResultSet(("a",), []))
    assert (outcome.reason, outcome.detail) == ("columns", "the gold has 2 columns, the prediction 1")
    assert compare(unordered(ResultSet(("a",), [])), ResultSet(("b",), [])).reason == "equal"


@pytest.mark.parametrize(
    ("gold", "prediction", "detail"),
    [
        (
            unordered(ResultSet(("n",), [("fiat",)])),
            [("fiat",), ("fiat",)],
            "the gold has 1 rows, the prediction 2; ('fiat',) is 1 × in the gold, 2 × in the prediction",
        ),
        (
            strictly_ordered(ResultSet(("n",), [(1,), (2,)])),
            [(2,), (1,)],
            "row 1 of the gold is (1,), of the prediction (2,)",
        ),
        (
            unordered(ResultSet(("n",), [(0.1 + 0.2,), (5,)])),
            [(0.3,), (6,)],
            "(5,) is 1 × in the gold, 0 × in the prediction; (6,) is 0 × in the gold, 1 × in the prediction",
        ),
        (
            Expected(("n",), (Segment([(1,), (2,)], 1),)),
            [(3,)],
            "(3,) is 0 × in the gold, 1 × in the prediction",
        ),
    ],
)
def test_the_difference_is_shown(gold: Expected, prediction: list[Row], detail: str) -> None:
    assert compare(gold, ResultSet(("n",), prediction)).detail == detail


def test_details_are_short() -> None:
    gold, prediction = ResultSet(("n",), [("x" * 10_000,)]), ResultSet(("n",), [("y" * 10_000,)] * 2)
    assert 0 < len(compare(unordered(gold), prediction).detail or "") <= 300


def test_30_000_rows_are_compared_quickly() -> None:
    gold = [(n, f"name {n % 1000}", n / 7) for n in range(30_000)]
    prediction = [(n, name, value * (1 + 1e-9)) for n, name, value in reversed(gold)]
    start = time.monotonic()
    assert reason(gold, prediction) == "equal"
    assert reason(gold, [*prediction[:-1], (0, "name 1", 0.0)]) == "values"
    assert time.monotonic() - start < 10
