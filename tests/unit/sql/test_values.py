"""Cells that a question names are found, few and only those."""

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql import ValueIndex, read_schema

CELLS = [
    ("Ivy Larder", "York", "café"),
    ("York Tea Rooms", "Leeds", "tea room"),
    ("O'Brien & Sons", "CA", "all"),
    ("12 May", "2024-05-12", "deli"),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = tmp_path_factory.mktemp("values") / "shop.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute('CREATE TABLE customers(name TEXT, city TEXT, "kind of" TEXT, age INT)')
    connection.executemany("INSERT INTO customers VALUES (?, ?, ?, 40)", CELLS)
    connection.execute("INSERT INTO customers(city) VALUES (CAST(x'ff41' AS TEXT)), ('leeds')")
    connection.execute("CREATE TABLE suppliers(town TEXT)")
    connection.execute("INSERT INTO suppliers VALUES ('Leeds')")
    connection.close()
    return ValueIndex(path, read_schema(path))


@pytest.mark.parametrize(
    ("question", "hints"),
    [
        ("Who lives in York?", ["customers.city = 'York'"]),
        ("who lives in york", ["customers.city = 'York'"]),
        ("Where are the York Tea Rooms?", ["customers.name = 'York Tea Rooms'"]),
        (
            "Which café is in Leeds?",
            ["customers.\"kind of\" = 'café'", "customers.city = 'Leeds'", "suppliers.town = 'Leeds'"],
        ),
        ("The city of O'Brien & Sons", ["customers.name = 'O''Brien & Sons'"]),
        ("List all customers of age 40 since 2024-05-12", []),
        ("Customers in CA", ["customers.city = 'CA'"]),
        ("Customers in ca", []),
        ("", []),
    ],
)
def test_cells_named_in_a_question(index, question, hints):
    assert index.hints(question) == hints


@given(st.lists(st.sampled_from(["in", "York", "Leeds", "Ivy Larder", "deli", "CA", "tea room", "which"]), max_size=12))
def test_hints_are_few_different_and_named_in_the_question(index, words):
    hints = index.hints(" ".join(words))
    assert len(hints) <= 5
    assert len(set(hints)) == len(hints)
    assert all(hint.split("'")[1].lower() in " ".join(words).lower() for hint in hints)
