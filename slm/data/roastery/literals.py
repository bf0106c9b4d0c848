"""The literals that questions may contain, each owned by exactly one split.

A model that has seen `'Leeds'` in training must copy `'York'` in test, so right answers cannot come from memory.
A value that stands in two pools (a country is an origin and a supplier's home) has one owner all the same.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

from slm.data.roastery import names
from slm.data.roastery.database import FIRST_ORDER_ID, make_rows

SPLITS = ("train", "dev", "test")

# What is no literal but part of a query's structure: counting from 0 or 1, a percentage, the two date formats and the
# answers of a yes-or-no column. Splits may share these; LIMIT 1 is structure, LIMIT 5 is not.
STRUCTURAL = frozenset({"0", "1", "100.0", "%Y", "%Y-%m", "yes", "no"})


def share(values: Sequence[str]) -> dict[str, str]:
    """Give each value to a split, in the order of their hashes: 15 % to dev, 25 % to test, the rest to train."""
    dev, test = max(1, round(len(values) * 0.15)), max(1, round(len(values) * 0.25))
    ranked = sorted(values, key=lambda value: hashlib.sha256(value.encode()).hexdigest())
    owners = ["dev"] * dev + ["test"] * test + ["train"] * len(values)
    return dict(zip(ranked, owners, strict=False))


def _steps(start: int, stop: int, step: int, form: str, unit: float = 1) -> tuple[str, ...]:
    return tuple(form.format(number * unit) for number in range(start, stop, step))


def _days(first: date, last: date) -> tuple[str, ...]:
    return tuple((first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1))


def _pools() -> dict[str, tuple[str, ...]]:
    rows = make_rows()
    orders_days = _days(date(2022, 1, 1), date(2024, 12, 31))
    return {
        "city": names.CITIES,
        "origin": names.ORIGINS,
        "country": names.ORIGINS + names.TRADING_COUNTRIES,
        "process": names.PROCESSES,
        "kind": tuple(names.KINDS),
        "role": names.ROLES,
        "method": names.METHODS,
        "word": names.COFFEE_WORDS + names.COFFEE_ENDINGS,
        "firm_word": names.FIRM_WORDS,
        "coffee": tuple(row[1] for row in rows["coffees"]),
        "customer": tuple(row[1] for row in rows["customers"]),
        "supplier": tuple(row[1] for row in rows["suppliers"]),
        "employee": tuple(row[1] for row in rows["employees"]),
        "year": _steps(2013, 2025, 1, "{}"),
        "month": tuple(dict.fromkeys(day[:7] for day in orders_days)),
        "date": orders_days,
        "early_date": _days(date(2013, 6, 1), date(2021, 12, 31)),
        "few": _steps(2, 13, 1, "{}"),
        "many": _steps(13, 60, 1, "{}"),
        "stock": _steps(60, 560, 5, "{}"),
        "price": _steps(1500, 4300, 25, "{:.2f}", 0.01),
        "score": _steps(8050, 8900, 25, "{:.2f}", 0.01),
        "rating": _steps(27, 48, 1, "{:.1f}", 0.1),
        "amount": _steps(600, 2400, 20, "{}"),
        "salary": _steps(25_000, 50_000, 500, "{}"),
        "order": tuple(str(FIRST_ORDER_ID + number) for number in range(len(rows["orders"]))),
    }


def _owned(pools: Iterable[Sequence[str]]) -> dict[str, str]:
    """The owner of each value; the first pool that has a value decides."""
    owners: dict[str, str] = {}
    for values in pools:
        owners |= share([value for value in values if value not in owners])
    return owners


def pools_of_splits() -> dict[str, dict[str, tuple[str, ...]]]:
    """Split, then pool name, to that split's values in their natural order."""
    pools = _pools()
    owners = _owned(pools.values())

    def of(split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        for pool, values in pools.items():
            yield pool, tuple(value for value in values if owners[value] == split)

    return {split: dict(of(split)) for split in SPLITS}
