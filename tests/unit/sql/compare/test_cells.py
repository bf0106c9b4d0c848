"""Cells are equal exactly, closely or as canonical text, both ways round, and equal cells share a key."""

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.compare.cells import Keys, as_number, same
from slm.sql.results import Cell

NAN, INF = float("nan"), float("inf")
NEAR = st.integers(-9, 9).map(lambda n: 1 + n * 4e-7) | st.integers(-3, 3).map(lambda n: n * 6e-10)
CELLS = st.one_of(
    NEAR,
    NEAR.map(repr),
    st.integers(-2, 2),
    st.sampled_from([2**53, 2**53 + 1, float(2**53), 10**15, 1e15, 1e15 + 1, 1e300, INF, -INF, NAN, None, b"1"]),
    st.sampled_from(["0", "1", "1.0", "01", "Inf", "1.0e+15", "1000000000000000.0", "a", ""]),
)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, 1.0, True),
        (2**53 + 1, float(2**53), False),
        (2**53, float(2**53), True),
        (2**63 - 1, 2.0**63, False),
        (2**53 + 1, 2**53, False),
        (9_000_000_000_000_000_001, 9_000_000_000_000_000_002, False),
        (0.1 + 0.2, 0.3, True),
        (1.0, 1.0000005, True),
        (1.0, 1.00001, False),
        (1, 1.0000005, False),
        (3, 2.9999999999999996, True),
        (0.0, 1e-12, True),
        (0, 1e-12, True),
        (0.0, -0.0, True),
        (INF, INF, True),
        (INF, -INF, False),
        (INF, 1e308, False),
        (INF, 2**62, False),
        (NAN, -NAN, True),
        (NAN, 0.0, False),
        (NAN, INF, False),
        (NAN, None, False),
        (NAN, 1, False),
        (None, None, True),
        (None, 0, False),
        (None, "", False),
        ("5", 5, True),
        ("05", 5, False),
        ("+5", 5, False),
        (" 5", 5, False),
        ("5", 5.0, False),
        ("5.0", 5.0, True),
        ("5.0", 5, False),
        ("5.0", "5", False),
        ("5.50", 5.5, False),
        ("-7", -7, True),
        ("1_0", 10, False),
        ("0.3", 0.1 + 0.2, True),
        ("1.0e+20", 1e20, True),
        ("1e+20", 1e20, False),
        ("Inf", INF, True),
        (str(1 / 3), 1 / 3, True),
        ("0.33333333333333332", 1 / 3, True),
        ("0.333333333333333", 1 / 3, True),
        ("0.33333333333333", 1 / 3, False),
        ("0.3_3", 0.33, False),
        ("0.10000000000000000555", 0.1, False),
        ("10.5e-1", 1.05, False),
        ("00.5", 0.5, False),
        ("NaN", NAN, False),
        ("0.0", -0.0, True),
        ("a", "A", False),
        ("a", "a ", False),
        ("a", b"a", False),
        ("5", b"5", False),
        ("\udcff", "\udcff", True),
        ("\udcff", "\udcfe", False),
    ],
)
def test_equal_cells(left: Cell, right: Cell, equal: bool) -> None:
    assert same(left, right) is same(right, left) is equal


@pytest.mark.parametrize(
    ("gold", "prediction", "decimals", "equal"),
    [
        (3.14, 3.14159, 2, True),
        (3.14, 3.1, 2, False),
        (3.14, 3.1451, 2, False),
        (0.13, 0.125, 2, True),
        (3.0, 3, 0, True),
        (3.0, 3.4, 0, True),
        (3.0, 3.6, 0, False),
        (3.0, 4, 0, False),
        (1234567.89, 1234567.10, 2, False),
        (100, 101, 0, False),
        ("3.14", 3.14159, 2, False),
        ("3.14", "3.1", 1, False),
        (INF, 1.0, 2, False),
        (NAN, NAN, 2, True),
    ],
)
def test_rounded_golds_are_compared_at_their_decimals(gold: Cell, prediction: Cell, decimals: int, equal: bool) -> None:
    assert same(gold, prediction, decimals) is same(prediction, gold, decimals) is equal


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False))
def test_the_text_that_sqlite_prints_is_canonical(number: int | float) -> None:
    text = apsw.Connection(":memory:").execute("SELECT CAST(? AS TEXT)", (number,)).get
    assert same(number, text)
    assert as_number(text) is not None


@given(st.lists(CELLS, min_size=2, max_size=12), st.sampled_from([(), (None,), (2,), (None, 0), (6,)]))
def test_equal_cells_share_a_key(cells: list[Cell], decimals: tuple[int | None, ...]) -> None:
    key = Keys(cells, decimals)
    for left in cells:
        for right in cells:
            if any(same(left, right, places) for places in decimals or (None,)):
                assert key(left) == key(right), (left, right)


def test_cells_far_apart_have_keys_of_their_own() -> None:
    cells: list[Cell] = [None, 1, 2.5, "a", "01", b"1", 2**53 + 1, float(2**53), INF, NAN, "2.6"]
    key = Keys(cells, ())
    assert len({key(cell) for cell in cells}) == len(cells)
