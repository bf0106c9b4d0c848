"""Values next to a value, and LIKE."""

import apsw
import pytest

from slm.sql.instances.near import like_matches, neighbours, text_neighbours, text_of_length
from slm.sql.results import Cell


@pytest.mark.parametrize(
    ("value", "below", "above"),
    [
        (3, (2,), (4,)),
        (0.25, (0.24, -0.75), (0.26, 1.25)),
        ("7", ("6",), ("8",)),
        ("2020-12-31", ("2020-12-30",), ("2021-01-01",)),
        ("2020-12-31 10:00:00", ("2020-12-30 10:00:00",), ("2021-01-01 10:00:00",)),
        ("2020-12", ("2020-11",), ("2021-01",)),
        ("2020-02", ("2020-01",), ("2020-03",)),
        ("12:00", ("11:59",), ("12:01",)),
        ("12:00:30", ("12:00:29",), ("12:00:31",)),
        ("00:00", (), ()),
        ("2020-99-99", (), ()),
        ("2020-99", (), ()),
        ("25:00", (), ()),
        ("blue", (), ()),
        (None, (), ()),
    ],
)
def test_neighbours(value: Cell, below: tuple[Cell, ...], above: tuple[Cell, ...]) -> None:
    assert neighbours(value) == (below, above)


@pytest.mark.parametrize("text", ["", "a", "ab", "AB", "xab", "abx", "xaxbx", "aab", "ba", "a%b"])
@pytest.mark.parametrize("pattern", ["", "%", "_", "ab", "%ab", "ab%", "%ab%", "a%b", "_b", "%a_%", "__%"])
def test_like_as_sqlite_has_it(pattern: str, text: str) -> None:
    ((expected,),) = apsw.Connection(":memory:").execute("SELECT ? LIKE ?", (text, pattern)).fetchall()
    assert like_matches(pattern, text) is bool(expected)


@pytest.mark.parametrize(("value", "expected"), [(0, ""), (3, "abc"), (12, "abcdefghijab"), (-1, -1), ("x", "x")])
def test_text_of_length(value: Cell, expected: Cell) -> None:
    assert text_of_length(value) == expected


@pytest.mark.parametrize("text", ["NV", "b", "New York", "A", "a", "12-34", ""])
def test_text_neighbours_sort_as_they_say(text: str) -> None:
    below, above = text_neighbours(text)
    assert all(one < text for one in below)
    assert all(one > text for one in above)
    assert above
