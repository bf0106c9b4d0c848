"""Results are equal as multisets, in order where that counts, and a difference is always seen."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.compare import Cell, ResultSet, Row, compare

CELLS = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, width=32),
    st.sampled_from(["", "a", "5", "05", "5.0", "\udcff"]),
    st.binary(max_size=1),
)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[CELLS] * width), max_size=6).map(lambda rows: ResultSet(width, rows))
)


def reason(gold: list[Row], prediction: list[Row], *, ordered: bool = False) -> str:
    return compare(ResultSet(len(gold[0]), gold), ResultSet(len(prediction[0]), prediction), ordered=ordered)[0]


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_does_not_matter(table: ResultSet, rng: random.Random) -> None:
    columns = rng.sample(range(table.columns), table.columns)
    rows = [tuple(row[j] for j in columns) for row in rng.sample(table.rows, len(table.rows))]
    assert compare(table, ResultSet(table.columns, rows), ordered=False) == ("correct", None)


@given(TABLES, st.randoms(use_true_random=False))
def test_with_order_only_columns_may_move(table: ResultSet, rng: random.Random) -> None:
    columns = rng.sample(range(table.columns), table.columns)
    rows = [tuple(row[j] for j in columns) for row in table.rows]
    assert compare(table, ResultSet(table.columns, rows), ordered=True) == ("correct", None)


@given(TABLES, TABLES)
def test_comparison_is_symmetric(left: ResultSet, right: ResultSet) -> None:
    assert compare(left, right, ordered=False)[0] == compare(right, left, ordered=False)[0]


@given(TABLES.filter(lambda table: bool(table.rows)), st.randoms(use_true_random=False))
def test_one_other_cell_is_seen(table: ResultSet, rng: random.Random) -> None:
    rows = list(table.rows)
    at, column = rng.randrange(len(rows)), rng.randrange(table.columns)
    rows[at] = (*rows[at][:column], "something else", *rows[at][column + 1 :])
    assert compare(table, ResultSet(table.columns, rows), ordered=False)[0] == "wrong_values"


@pytest.mark.parametrize(
    ("gold", "prediction", "equal"),
    [
        (1, 1.0, True),
        (2**53 + 1, float(2**53), True),  # within 1e-6, since one of them is a float
        (2**53 + 1, 2**53, False),
        (9_000_000_000_000_000_001, 9_000_000_000_000_000_002, False),
        (0.1 + 0.2, 0.3, True),
        (1.0, 1.0000005, True),
        (1.0, 1.00001, False),
        (0.0, 1e-12, True),
        (None, 0, False),
        (None, "", False),
        (None, None, True),
        ("5", 5, True),
        ("05", 5, False),
        ("5.0", 5.0, True),
        ("5.0", "5", False),
        ("5.50", 5.5, False),
        ("-7", -7, True),
        ("1_0", 10, False),
        ("a", "A", False),
        ("a", "a ", False),
        ("a", b"a", False),
        ("\udcff", "\udcfe", False),
        (float("inf"), float("inf"), True),
    ],
)
def test_cells(gold: Cell, prediction: Cell, equal: bool) -> None:
    for left, right in ((gold, prediction), (prediction, gold)):
        assert (reason([(left,)], [(right,)]) == "correct") is equal
        assert (reason([(left, "x")], [("x", right)], ordered=True) == "correct") is equal


def test_multiplicity_counts() -> None:
    assert reason([("a",), ("a",), ("b",)], [("a",), ("b",), ("b",)]) == "wrong_values"
    assert reason([("a",), ("a",)], [("a",)]) == "row_count"


def test_rows_stay_together() -> None:
    assert reason([("a", 1), ("b", 2)], [("a", 2), ("b", 1)]) == "wrong_values"


def test_order_is_named_as_the_only_difference() -> None:
    assert reason([(1,), (2,)], [(2,), (1,)]) == "correct"
    verdict = compare(ResultSet(1, [(1,), (2,)]), ResultSet(1, [(2,), (1,)]), ordered=True)
    assert verdict == ("row_order", "row 1 of the gold is (1,), of the prediction (2,)")
    assert reason([(1,), (2,)], [(2,), (3,)], ordered=True) == "wrong_values"


def test_columns_are_counted_even_without_rows() -> None:
    assert compare(ResultSet(2, []), ResultSet(1, []), ordered=False)[0] == "column_count"
    assert compare(ResultSet(1, []), ResultSet(1, []), ordered=False)[0] == "correct"


def test_the_difference_is_shown() -> None:
    detail = compare(ResultSet(1, [("fiat",)]), ResultSet(1, [("fiat",), ("fiat",)]), ordered=False)[1]
    assert detail == "the gold has 1 rows, the prediction 2; ('fiat',) is 1 × in the gold, 2 × in the prediction"


def test_floats_that_swap_places_within_the_tolerance() -> None:
    gold = [(1.0, 2.0), (1.0 + 1e-9, 1.0)]
    assert reason(gold, [(1.0 + 1e-9, 2.0), (1.0, 1.0)]) == "correct"
    assert reason(gold, [(1.0 + 1e-9, 2.0), (1.0, 1.1)]) == "wrong_values"


def test_equal_floats_with_other_last_bits_among_many() -> None:
    gold = [(0.1 + 0.2, float(n)) for n in range(1000)] + [(0.3, n + 0.5) for n in range(1000)]
    prediction = [(0.3, float(n)) for n in range(1000)] + [(0.1 + 0.2, n + 0.5) for n in range(1000)]
    assert reason(gold, prediction) == "correct"
    assert reason(gold, [*prediction[1:], (0.3, 7.0)]) == "wrong_values"


@pytest.mark.parametrize("ordered", [False, True])
def test_many_alike_columns_do_not_hang(ordered: bool) -> None:
    rng = random.Random(1)  # noqa: S311
    gold = [tuple(rng.randrange(2) for _ in range(12)) for _ in range(60)]
    shuffled = rng.sample(range(12), 12)
    prediction = [tuple(row[j] for j in shuffled) for row in gold]
    identity = [tuple(int(i == j) for j in range(12)) for i in range(12)]
    other = [*identity[1:], identity[1]]  # each column but two still holds a single 1
    start = time.monotonic()
    assert reason(gold, prediction, ordered=ordered) == "correct"
    assert reason(identity, other, ordered=ordered) == "wrong_values"
    assert time.monotonic() - start < 5


def test_100_000_rows_are_compared_quickly() -> None:
    gold = [(n, f"name {n % 1000}", n / 7) for n in range(100_000)]
    prediction = [(n, name, value * (1 + 1e-9)) for n, name, value in reversed(gold)]
    start = time.monotonic()
    assert reason(gold, prediction) == "correct"
    assert reason(gold, [*prediction[:-1], (0, "name 1", 0.0)]) == "wrong_values"
    assert time.monotonic() - start < 10
