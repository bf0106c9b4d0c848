"""Dates and times that literals stand for are written as the column writes its own."""

import pytest

from slm.sql.instances.domains import Domain
from slm.sql.instances.moments import in_other_years, moments, moments_like
from slm.sql.results import Cell

DATE = Domain("date", samples=("2021-03-05", "2020-02-29"))
DATETIME = Domain("datetime", samples=("2021-03-05 10:00:00",))
MINUTE, SECOND = Domain("time", samples=("09:15",)), Domain("time", samples=("09:15:00",))


@pytest.mark.parametrize(
    ("value", "domain", "expected"),
    [
        ("2022-05-01", DATE, ["2022-05-01"]),
        ("2022-05-01 10:00:00", DATE, ["2022-05-01"]),
        ("2022", DATE, ["2022-01-01", "2022-07-15", "2022-12-31"]),
        (2022, DATE, ["2022-01-01", "2022-07-15", "2022-12-31"]),
        ("2022-02", DATE, ["2022-02-01", "2022-02-28"]),
        ("31", DATE, ["2019-07-31", "2020-07-31", "2021-07-31", "2022-07-31"]),
        ("2022-05-01", DATETIME, ["2022-05-01 00:00:00", "2022-05-01 23:59:59"]),
        (
            "20",
            DATETIME,
            [
                *(f"{year}-07-20 {at}" for year in (2020, 2021, 2022) for at in ("00:00:00", "23:59:59")),
                "2021-03-05 20:00:00",
                "2021-03-05 20:59:59",
            ],
        ),
        ("20:30:00", DATETIME, ["2021-03-05 20:30:00"]),
        ("12", MINUTE, ["12:00", "12:59"]),
        (9, MINUTE, ["09:00", "09:59"]),
        ("12:30:15", MINUTE, ["12:30"]),
        ("12:30", SECOND, ["12:30:00", "12:30:59"]),
        ("25", MINUTE, []),
        ("99", DATE, []),
        ("soon", DATE, []),
        (0.5, DATE, []),
        (None, MINUTE, []),
    ],
)
def test_moments(value: Cell, domain: Domain, expected: list[str]) -> None:
    assert moments(value, domain) == expected


def test_a_month_is_of_several_years() -> None:
    assert {"2019-01-15", "2020-01-01", "2021-01-15", "2022-01-15"} <= set(moments("01", DATE))


@pytest.mark.parametrize(
    ("pattern", "match", "near"),
    [
        ("2023%", "2023-12-31", "2022-12-31"),
        ("2023-05%", "2023-05-01", "2023-04-30"),
        ("%-05-%", "2021-05-15", "2021-04-15"),
        ("2023-05-01", "2023-05-01", "2023-05-02"),
    ],
)
def test_like(pattern: str, match: str, near: str) -> None:
    matching, missing = moments_like(pattern, DATE)
    assert match in matching
    assert near in missing


def test_like_an_hour() -> None:
    assert "18:00" in moments_like("18%", MINUTE)[0]


def test_other_years() -> None:
    assert in_other_years(DATE) == ["2020-03-05", "2022-03-05"]  # there is no 29 February to shift to
    assert in_other_years(MINUTE) == []
