"""A prediction's rows are a choice from the gold's segments, in their order."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.compare import matches
from slm.sql.compare.cells import same_row
from slm.sql.results import Expected, ResultSet, Row, Segment, strictly_ordered, unordered

CELLS = st.sampled_from([None, "a", "1", 1, 1.0, 1 + 6e-7, 1 + 1.2e-6, 1 + 1.8e-6, 2, float("nan")])
ROWS = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[CELLS] * width), max_size=6))


def result(rows: list[Row]) -> ResultSet:
    return ResultSet(("",) * (len(rows[0]) if rows else 1), rows)


def expected(*segments: tuple[list[Row], int], decimals: tuple[int | None, ...] = ()) -> Expected:
    return Expected(("",) * len(segments[0][0][0]), tuple(Segment(*segment) for segment in segments), decimals)


@given(ROWS, st.randoms(use_true_random=False))
def test_rows_of_an_unordered_gold_may_be_shuffled(rows: list[Row], rng: random.Random) -> None:
    assert matches(unordered(result(rows)), result(rng.sample(rows, len(rows))), None)


@given(ROWS, st.integers(1, 3), st.randoms(use_true_random=False))
def test_merging_ties_keeps_a_right_result_right(rows: list[Row], size: int, rng: random.Random) -> None:
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    merged = Expected(result(rows).labels, tuple(Segment(part, len(part)) for part in parts))
    assert matches(strictly_ordered(result(rows)), result(rows), None)
    shuffled = [row for part in parts for row in rng.sample(part, len(part))]
    assert matches(merged, ResultSet(merged.labels, shuffled), None)


@given(ROWS.filter(bool), st.randoms(use_true_random=False))
def test_a_row_twice_is_seen(rows: list[Row], rng: random.Random) -> None:
    assert not matches(unordered(result(rows)), result([*rows, rng.choice(rows)]), None)
    assert not matches(strictly_ordered(result(rows)), result([*rows, rng.choice(rows)]), None)


@given(ROWS.filter(bool), st.data())
def test_the_best_assignment_of_close_rows_is_found(rows: list[Row], data: st.DataObject) -> None:
    width = len(rows[0])
    other = data.draw(st.lists(st.tuples(*[CELLS] * width), min_size=1, max_size=len(rows)))
    gold = Expected(("",) * width, (Segment(rows, len(other)),))
    right = any(
        all(same_row(ours, theirs, ()) for ours, theirs in zip(choice, other, strict=True))
        for choice in itertools.permutations(rows, len(other))
    )
    assert matches(gold, ResultSet(gold.labels, other), None) is right


@pytest.mark.parametrize(
    ("prediction", "right"),
    [
        ([("a",), ("b",), ("c",), ("x",)], True),
        ([("a",), ("c",), ("b",), ("z",)], True),
        ([("a",), ("b",), ("c",), ("a",)], False),
        ([("b",), ("a",), ("c",), ("x",)], False),
        ([("a",), ("b",), ("b",), ("x",)], False),
        ([("a",), ("b",), ("c",)], False),
        ([("a",), ("b",), ("c",), ("x",), ("y",)], False),
    ],
)
def test_segments(prediction: list[Row], right: bool) -> None:
    gold = expected(([("a",)], 1), ([("b",), ("c",)], 2), ([("x",), ("y",), ("z",)], 1))
    assert matches(gold, result(prediction), None) is right


def test_a_part_of_a_segment_is_no_more_than_its_rows() -> None:
    gold = expected(([(1,), (1,), (2,)], 2))
    assert matches(gold, result([(1,), (1,)]), None)
    assert matches(gold, result([(2,), (1.0,)]), None)
    assert not matches(gold, result([(2,), (2,)]), None)


def test_the_list_of_all_rows_is_wrong_where_a_part_is_asked() -> None:
    gold = expected(([(1,)], 1), ([(2,), (3,)], 1))
    assert not matches(gold, result([(1,), (2,), (3,)]), None)


def test_only_the_permutation_given_counts() -> None:
    gold = unordered(result([(1, "a", None)]))
    prediction = result([("a", None, 1)])
    assert matches(gold, prediction, (2, 0, 1))
    assert not matches(gold, prediction, None)
    assert not matches(gold, prediction, (0, 1, 2))


def test_columns_are_counted_even_without_rows() -> None:
    assert not matches(unordered(ResultSet(("a", "b"), [])), ResultSet(("a",), []), None)
    assert matches(unordered(ResultSet(("a",), [])), ResultSet(("b",), ()), None)


def test_lists_and_tuples_of_rows_are_alike() -> None:
    assert matches(unordered(ResultSet(("a",), ((1,), (2,)))), ResultSet(("a",), [(1,), (2,)]), None)


def test_decimals_count_in_their_column_alone() -> None:
    gold = expected(([(3.14, 3.14), (2.0, 2.0)], 2), decimals=(2, None))
    assert matches(gold, result([(2.0, 2.0), (3.1416, 3.14)]), None)
    assert not matches(gold, result([(2.0, 2.0), (3.14, 3.1416)]), None)


def test_equal_floats_with_other_last_bits_among_many() -> None:
    gold = [(0.1 + 0.2, float(n)) for n in range(1000)] + [(0.3, n + 0.5) for n in range(1000)]
    prediction = [(0.3, float(n)) for n in range(1000)] + [(0.1 + 0.2, n + 0.5) for n in range(1000)]
    assert matches(unordered(result(gold)), result(prediction), None)
    assert not matches(unordered(result(gold)), result([*prediction[1:], (0.3, 7.0)]), None)
    assert matches(expected((gold, 1500)), result(prediction[250:1750]), None)
