"""One permutation of columns, which the labels do not contradict, must hold for all evidence; and none hangs."""

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.compare import find_permutation, matches
from slm.sql.results import Expected, ResultSet, Row, Segment, strictly_ordered, unordered

CELLS = st.sampled_from([None, 0, 1, 1.0, 1 + 6e-7, 1 + 1.2e-6, "1", "a", b"a", float("nan")])
Shape = tuple[Expected, ResultSet]


def unlabelled(rows: list[Row], width: int) -> ResultSet:
    return ResultSet(("",) * width, rows)


def cut(rows: list[Row], columns: list[int]) -> list[Row]:
    return [tuple(row[j] for j in columns) for row in rows]


@st.composite
def pairs(draw: st.DrawFn, width: int) -> Shape:
    """A gold of up to three segments, and a prediction that is often nearly right."""
    row = st.tuples(*[CELLS] * width)
    segments = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.lists(row, min_size=1, max_size=3))
        segments.append(Segment(rows, draw(st.integers(1, len(rows)))))
    rng = draw(st.randoms(use_true_random=False))
    rows = [row for segment in segments for row in rng.sample(segment.rows, segment.take)]
    if draw(st.booleans()):
        rows[rng.randrange(len(rows))] = draw(row)
    decimals = draw(st.sampled_from([(), (2,) * width]))
    return Expected(("",) * width, tuple(segments), decimals), unlabelled(rows, width)


@given(
    st.integers(1, 4).flatmap(
        lambda w: st.tuples(st.lists(pairs(w), min_size=1, max_size=2), st.permutations(range(w)))
    )
)
def test_it_is_found_if_and_only_if_there_is_one(case: tuple[list[Shape], list[int]]) -> None:
    shapes, order = case
    evidence = [
        (Expected(gold.labels, gold.segments, shapes[0][0].decimals), unlabelled(cut(rows.rows, order), len(order)))
        for gold, rows in shapes
    ]
    found = find_permutation(evidence)
    right = [
        permutation
        for permutation in itertools.permutations(range(len(order)))
        if all(matches(gold, prediction, permutation) for gold, prediction in evidence)
    ]
    assert found in right if right else found is None


@pytest.mark.parametrize(
    ("gold", "prediction", "found"),
    [
        (("a", "b"), ("b", "a"), (1, 0)),
        (("a", "b"), ("a", "b"), None),
        (("T1.Name", "b"), ("b", '"name"'), (1, 0)),
        (("a", "b"), ("x", "y"), (1, 0)),
        (("a", "b"), ("a", "x"), None),
        (("a", "b"), ("a", "a"), (1, 0)),
        (("a", "a"), ("a", "x"), None),
        (("max(T1.age)", "min(T1.age)"), ("min( T1.age )", "max( T1.age )"), (1, 0)),
        (("max(T1.age)", "min(T1.age)"), ("max(T1.age)", "min(T1.age)"), None),
    ],
)
def test_labels(gold: tuple[str, ...], prediction: tuple[str, ...], found: tuple[int, ...] | None) -> None:
    assert find_permutation([(unordered(ResultSet(gold, [(1, 2)])), ResultSet(prediction, [(2, 1)]))]) == found


def test_the_identity_is_right_whatever_the_labels() -> None:
    assert find_permutation([(unordered(ResultSet(("a", "b"), [(1, 2)])), ResultSet(("b", "a"), [(1, 2)]))]) == (0, 1)


def test_it_must_hold_for_all_evidence() -> None:
    first = (unordered(unlabelled([(1, 1)], 2)), unlabelled([(1, 1)], 2))
    swapped = (unordered(unlabelled([(1, 2)], 2)), unlabelled([(2, 1)], 2))
    straight = (unordered(unlabelled([(1, 2)], 2)), unlabelled([(1, 2)], 2))
    assert find_permutation([first, swapped]) == (1, 0)
    assert find_permutation([first, straight]) == (0, 1)
    assert find_permutation([swapped, straight]) is None
    assert find_permutation([]) is None


def test_rows_stay_together() -> None:
    gold = unordered(unlabelled([("a", 1), ("b", 2)], 2))
    assert find_permutation([(gold, unlabelled([(2, "a"), (1, "b")], 2))]) is None
    assert find_permutation([(gold, unlabelled([(2, "b"), (1, "a")], 2))]) == (1, 0)


def test_an_integer_and_its_float_are_not_interchangeable() -> None:
    gold = unordered(unlabelled([(1 + 6e-7, 1)], 2))
    assert find_permutation([(gold, unlabelled([(1, 1.0)], 2))]) == (1, 0)


def incidence(width: int, *cycles: list[int]) -> list[Row]:
    """A row for each edge of these cycles of columns: colours alone do not tell one long cycle from two short ones."""
    edges = [{cycle[i - 1], cycle[i]} for cycle in cycles for i in range(len(cycle))]
    return [tuple(int(j in edge) for j in range(width)) for edge in edges]


@pytest.mark.parametrize("width", [12, 20])
@pytest.mark.parametrize("ordered", [False, True])
def test_many_boolean_columns_do_not_hang(width: int, ordered: bool) -> None:
    rng = random.Random(1)  # noqa: S311
    gold = [tuple(rng.randrange(2) for _ in range(width)) for _ in range(200)]
    identity = [tuple(int(i == j) for j in range(width)) for i in range(width)]
    cycle = incidence(width, list(range(width)))
    cycles = incidence(width, list(range(width // 2)), list(range(width // 2, width)))
    alike = [(1,) * width] * 50 + [(0,) * width] * 50
    expects = strictly_ordered if ordered else unordered
    order = rng.sample(range(width), width)
    start = time.monotonic()
    for rows in (gold, cycle, cycles, alike):
        prediction = unlabelled(cut(rows, order), width)
        found = find_permutation([(expects(unlabelled(rows, width)), prediction)])
        assert found is not None
        assert matches(expects(unlabelled(rows, width)), prediction, found)
    for rows, other in (
        (gold, [tuple(1 - cell for cell in gold[0]), *gold[1:]]),
        (identity, [*identity[1:], identity[1]]),
        (cycle, cycles),
        (cycles, cycle),
        (alike, [*alike[:-1], (1,) * width]),
    ):
        assert find_permutation([(expects(unlabelled(rows, width)), unlabelled(other, width))]) is None
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("right", [True, False])
def test_parts_of_many_alike_columns_do_not_hang(right: bool) -> None:
    rng = random.Random(2)  # noqa: S311
    rows = [tuple(rng.randrange(2) for _ in range(12)) for _ in range(200)]
    gold = Expected(("",) * 12, (Segment(rows, 100),))
    prediction = rows[:100] if right else [*rows[:99], (2,) * 12]
    start = time.monotonic()
    assert (find_permutation([(gold, unlabelled(prediction, 12))]) is not None) is right
    assert time.monotonic() - start < 5


def test_a_part_with_telling_columns_is_found() -> None:
    rows: list[Row] = [(n, n % 2, n % 3, "x", n / 7) for n in range(60)]
    gold = Expected(("",) * 5, (Segment([(99, 0, 0, "y", 1.5)], 1), Segment(rows, 20)))
    order = [4, 2, 0, 3, 1]
    prediction = unlabelled(cut([(99, 0, 0, "y", 1.5), *rows[10:30]], order), 5)
    assert find_permutation([(gold, prediction)]) == (2, 4, 1, 3, 0)


def test_rounded_columns_that_all_lie_within_reach_of_one_another() -> None:
    rng = random.Random(3)  # noqa: S311
    rows = [tuple(float(rng.randrange(40)) for _ in range(12)) for _ in range(50)]
    order = rng.sample(range(12), 12)
    exact = [tuple(cell + rng.uniform(-0.4, 0.4) for cell in row) for row in cut(rows, order)]
    gold = Expected(("",) * 12, (Segment(rows, 50),), (0,) * 12)
    found = find_permutation([(gold, unlabelled(rng.sample(exact, 50), 12))])
    assert found == tuple(order.index(j) for j in range(12))
