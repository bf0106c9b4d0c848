"""The database: seven tables of a specialty-coffee roaster that sells to cafes, hotels and shops.

The rows come from one seed. They hold what real data holds: NULLs (no email, not yet scored, not shipped), ties,
customers who never ordered, coffees that nobody buys, orders without a payment or with two.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import apsw

from slm.data.roastery import names
from slm.files import atomic_path

SCHEMA = """
CREATE TABLE suppliers (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, country TEXT NOT NULL, rating REAL
);
CREATE TABLE coffees (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, supplier_id INTEGER NOT NULL REFERENCES suppliers (id),
  origin TEXT NOT NULL, process TEXT NOT NULL, score REAL, price REAL NOT NULL, stock INTEGER NOT NULL
);
CREATE TABLE customers (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, city TEXT NOT NULL, email TEXT,
  joined DATE NOT NULL
);
CREATE TABLE employees (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, salary INTEGER NOT NULL, hired DATE NOT NULL
);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id),
  employee_id INTEGER NOT NULL REFERENCES employees (id), ordered DATE NOT NULL, shipped DATE
);
CREATE TABLE items (
  order_id INTEGER NOT NULL REFERENCES orders (id), coffee_id INTEGER NOT NULL REFERENCES coffees (id),
  bags INTEGER NOT NULL, bag_price REAL NOT NULL, PRIMARY KEY (order_id, coffee_id)
) WITHOUT ROWID;
CREATE TABLE payments (
  id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL REFERENCES orders (id),
  paid DATE NOT NULL, amount REAL NOT NULL, method TEXT NOT NULL
);
"""
TABLES = ("suppliers", "coffees", "customers", "employees", "orders", "items", "payments")

FIRST_ORDER_ID = 5001  # so that no order number is also a year, a stock level or an amount
_FIRST_DAY, _LAST_DAY = date(2022, 1, 1), date(2024, 12, 31)
_EARLIEST_JOIN = date(2013, 1, 1)

Row = tuple[Any, ...]  # the columns of one table, in the order of the schema


def write_database(path: Path) -> None:
    """Write the SQLite file; the content is the same every time."""
    with atomic_path(path) as temporary:
        connection = apsw.Connection(str(temporary))
        try:
            connection.execute(f"BEGIN; {SCHEMA}")
            for table, rows in make_rows().items():
                marks = ", ".join("?" * len(rows[0]))
                connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608 (our own names)
            connection.execute("COMMIT; VACUUM")
        finally:
            connection.close()


def make_rows() -> dict[str, list[Row]]:
    """All rows, by table, in an order that satisfies the foreign keys."""
    rng = Random("roastery")  # noqa: S311 (data, not secrets)
    suppliers = list(_suppliers(rng))
    coffees = list(_coffees(rng, suppliers))
    customers = list(_customers(rng))
    employees = list(_employees(rng))
    orders = list(_orders(rng, customers, employees))
    items = list(_items(rng, orders, coffees))
    payments = list(_payments(rng, orders, items))
    tables = (suppliers, coffees, customers, employees, orders, items, payments)
    return dict(zip(TABLES, tables, strict=True))


def _day(rng: Random, first: date, last: date) -> str:
    return (first + timedelta(days=rng.randrange((last - first).days + 1))).isoformat()


def _pairs(rng: Random, firsts: Sequence[str], seconds: Sequence[str], count: int) -> list[str]:
    """`count` different names of two parts."""
    return rng.sample([f"{first} {second}" for first in firsts for second in seconds], count)


def _suppliers(rng: Random) -> Iterator[Row]:
    """Each origin has a supplier; the rest are spread over origins and trading countries."""
    countries = [*names.ORIGINS, *names.TRADING_COUNTRIES, *rng.choices(names.ORIGINS + names.TRADING_COUNTRIES, k=32)]
    found = _pairs(rng, names.SUPPLIER_WORDS, names.SUPPLIER_ENDINGS, len(countries))
    for number, (name, country) in enumerate(zip(found, countries, strict=True), 1):
        rating = None if rng.random() < 0.1 else round(rng.uniform(2.5, 5), 1)
        yield number, name, country, rating


def _coffees(rng: Random, suppliers: Sequence[Row]) -> Iterator[Row]:
    active = [row for row in suppliers if rng.random() < 0.8]
    for number, name in enumerate(_pairs(rng, names.COFFEE_WORDS, names.COFFEE_ENDINGS, 180), 1):
        supplier = rng.choice(active)
        origin = supplier[2] if supplier[2] in names.ORIGINS else rng.choice(names.ORIGINS)
        score = None if rng.random() < 0.1 else round(rng.triangular(79, 92, 85), 2)
        price = rng.randrange(1250, 4500, 5) / 100
        yield number, name, supplier[0], origin, rng.choice(names.PROCESSES), score, price, rng.randrange(0, 600)


def _customers(rng: Random) -> Iterator[Row]:
    firms = [(word, kind, end) for word in names.FIRM_WORDS for kind, ends in names.KINDS.items() for end in ends]
    for number, (word, kind, end) in enumerate(rng.sample(firms, 280), 1):
        mailbox = f"{word.replace(' ', '').lower()}{number}@{rng.choice(names.MAIL_HOSTS)}"
        email = None if rng.random() < 0.25 else mailbox
        yield number, f"{word} {end}", kind, rng.choice(names.CITIES), email, _day(rng, _EARLIEST_JOIN, _LAST_DAY)


def _employees(rng: Random) -> Iterator[Row]:
    for number, first in enumerate(names.FIRST_NAMES, 1):
        role = names.ROLES[number % len(names.ROLES)] if number <= 24 else "sales rep"
        name = f"{first} {rng.choice(names.LAST_NAMES)}"
        yield number, name, role, rng.randrange(23_000, 52_000, 100), _day(rng, _EARLIEST_JOIN, date(2021, 12, 31))


def _orders(rng: Random, customers: Sequence[Row], employees: Sequence[Row]) -> Iterator[Row]:
    """Few customers order often and some never; about one order in fourteen has not been shipped."""
    buyers = [row for row in customers if rng.random() < 0.85]
    weights = [rng.paretovariate(1.3) for _ in buyers]
    sellers = [row for row in employees if row[2] in ("sales rep", "manager", "barista trainer")]
    days = sorted(_day(rng, _FIRST_DAY, _LAST_DAY) for _ in range(1300))
    for number, ordered in enumerate(days, FIRST_ORDER_ID):
        customer = rng.choices(buyers, weights)[0]
        while customer[5] > ordered:
            customer = rng.choices(buyers, weights)[0]
        left = date.fromisoformat(ordered) + timedelta(days=rng.randrange(1, 11))
        shipped = None if rng.random() < 0.07 else left.isoformat()
        yield number, customer[0], rng.choice(sellers)[0], ordered, shipped


def _items(rng: Random, orders: Sequence[Row], coffees: Sequence[Row]) -> Iterator[Row]:
    """One to four coffees in an order, at the list price or below it; a fifth of the coffees never sell."""
    sold = [row for row in coffees if rng.random() < 0.8]
    for order in orders:
        for coffee in rng.sample(sold, rng.choice((1, 2, 2, 3, 4))):
            discount = rng.choice((1, 1, 0.95, 0.9))
            yield order[0], coffee[0], rng.randrange(1, 30), round(coffee[6] * discount, 2)


def _payments(rng: Random, orders: Sequence[Row], items: Sequence[Row]) -> Iterator[Row]:
    """Most orders are paid at once, some in two halves, some not at all."""
    totals: dict[int, float] = {}
    for order_id, _, bags, bag_price in items:
        totals[order_id] = totals.get(order_id, 0) + bags * bag_price
    number = 0
    for order in orders:
        halves = rng.choices((0, 1, 2), (10, 80, 10))[0]
        for half in range(halves):
            number += 1
            paid = date.fromisoformat(order[3]) + timedelta(days=30 * half + rng.randrange(0, 30))
            amount = round(totals[order[0]] / halves, 2)
            yield number, order[0], paid.isoformat(), amount, rng.choice(names.METHODS)
