"""Proofs of equivalence: what must be proved, what must not, and that proved pairs agree on random databases."""

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.sql.prove import Facts, prove_equal, read_facts
from slm.sql.schema import read_schema

SCHEMA = """
CREATE TABLE city(id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL, population INT, area REAL,
    code TEXT UNIQUE);
CREATE TABLE country(code TEXT PRIMARY KEY NOT NULL, name TEXT, continent TEXT NOT NULL, capital INT);
CREATE TABLE visit(city_id INTEGER NOT NULL, person TEXT NOT NULL, year INT, rating, PRIMARY KEY(city_id, person));
CREATE TABLE member(person TEXT, year INT);
CREATE TABLE loose(id INT PRIMARY KEY, label TEXT, city_id INT, word TEXT COLLATE NOCASE, amount);
CREATE TABLE exact(n INTEGER NOT NULL, m INT) STRICT;
"""
TABLES = ("city", "country", "visit", "member", "loose", "exact")
CELLS: list[Any] = [None, 0, 1, 2, 3, 9, 1.0, 2.5, "1", "01", "1.0", "", "a", "A", "France", "Asia", "2000", 2000, b"a"]


def pairs_of(name: str) -> list[tuple[str, str]]:
    blocks = (Path(__file__).parent / name).read_text(encoding="utf-8").split("\n\n")
    found = [[line for line in block.splitlines() if line and not line.startswith("--")] for block in blocks]
    return [(gold, prediction) for gold, prediction in filter(None, found)]


PROVABLE, UNPROVABLE = pairs_of("provable.txt"), pairs_of("unprovable.txt")


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    path = tmp_path_factory.mktemp("prove") / "world.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute(SCHEMA)
    return read_facts(connection, read_schema(path))


def ordered(sql: str) -> bool:
    return sqlglot.parse_one(sql, read="sqlite").args.get("order") is not None


def proved(gold: str, prediction: str, facts: Facts, **options: Any) -> bool:
    options = {"ordered": ordered(gold), "double_quoted_text": True, **options}
    return prove_equal(gold, prediction, facts, **options)


def test_there_are_enough_pairs() -> None:
    assert len(PROVABLE) >= 60
    assert len(UNPROVABLE) >= 60


@pytest.mark.parametrize(("gold", "prediction"), PROVABLE)
def test_proved_both_ways_and_with_itself(gold: str, prediction: str, facts: Facts) -> None:
    assert proved(gold, prediction, facts)
    assert proved(gold, gold, facts)
    if not ordered(gold) and not ordered(prediction):
        assert proved(prediction, gold, facts)


@pytest.mark.parametrize(("gold", "prediction"), UNPROVABLE)
def test_not_proved(gold: str, prediction: str, facts: Facts) -> None:
    assert not proved(gold, prediction, facts)


def without_limit(sql: str) -> str:
    """At a tie any choice is right, so what LIMIT cuts from is compared."""
    tree = sqlglot.parse_one(sql, read="sqlite")
    if tree.args.get("limit") is None:
        return sql
    tree.set("limit", None)
    tree.set("offset", None)
    return tree.sql("sqlite")


def filled(rng: random.Random) -> apsw.Connection:
    """A random small database: NULLs, duplicates, text and numbers in every column that takes them."""
    connection = apsw.Connection(":memory:")
    connection.execute(SCHEMA)
    cells = rng.sample(CELLS, rng.randint(3, len(CELLS)))
    for table in TABLES:
        width = len(connection.execute("SELECT 1 FROM pragma_table_info(?)", (table,)).fetchall())
        for _ in range(rng.choice((0, 2, 6))):
            marks = ",".join("?" * width)
            try:
                connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rng.choices(cells, k=width))
            except (apsw.MismatchError, apsw.ConstraintError):
                continue
    return connection


def bag(connection: apsw.Connection, sql: str) -> Counter[tuple[Any, ...]]:
    rows = connection.execute(sql).fetchall()
    return Counter(tuple(round(cell, 6) if isinstance(cell, float) else cell for cell in row) for row in rows)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_proved_pairs_agree_on_random_databases(seed: int) -> None:
    connection = filled(random.Random(seed))  # noqa: S311 - no secret
    for gold, prediction in PROVABLE:
        ours, theirs = bag(connection, without_limit(gold)), bag(connection, without_limit(prediction))
        assert ours == theirs, (gold, prediction)


def test_permutation_of_columns(facts: Facts) -> None:
    gold, prediction = "SELECT name, country, id FROM city", "SELECT id, name, country FROM city"
    assert proved(gold, prediction, facts, permutation=(1, 2, 0))
    assert not proved(gold, prediction, facts, permutation=(2, 0, 1))
    assert not proved(gold, prediction, facts, permutation=(0, 0, 1))


def test_permutation_of_set_operation_keeps_its_order(facts: Facts) -> None:
    gold = "SELECT name, code FROM country UNION SELECT name, country FROM city ORDER BY 1"
    prediction = "SELECT code, name FROM country UNION SELECT country, name FROM city ORDER BY {}"
    assert proved(gold, prediction.format(2), facts, permutation=(1, 0))
    assert not proved(gold, prediction.format(1), facts, permutation=(1, 0))


@pytest.mark.parametrize("name", ["oid", "rowid", "_rowid_"])
def test_a_number_of_a_row_is_not_a_column_of_the_query_around(tmp_path: Path, name: str) -> None:
    connection = apsw.Connection(str(tmp_path / "shop.sqlite"))
    connection.execute(f"CREATE TABLE sale({name} INTEGER, item INTEGER); CREATE TABLE item(no INTEGER, price INTEGER)")
    facts = read_facts(connection, read_schema(tmp_path / "shop.sqlite"))
    query = "SELECT item FROM sale WHERE EXISTS (SELECT 1 FROM item WHERE item.no = {})"
    assert not prove_equal(query.format(name), query.format(f"sale.{name}"), facts, ordered=False)
    assert prove_equal(f"SELECT {name} FROM sale", f"SELECT sale.{name} FROM sale", facts, ordered=False)


def test_double_quoted_text_only_where_allowed(facts: Facts) -> None:
    gold, prediction = (
        'SELECT name FROM city WHERE country = "France"',
        "SELECT name FROM city WHERE country = 'France'",
    )
    assert not prove_equal(gold, prediction, facts, ordered=False)
    assert prove_equal(gold, prediction, facts, ordered=False, double_quoted_text=True)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM city WHERE " + " AND ".join(["area > 1"] * 300),
        "SELECT '" + "x" * 5_000 + "'",
        "SELECT " + "(" * 900 + "1" + ")" * 900,
        "SELECT name FROM",
        "",
        "SELECT name FROM city WHERE name = 'a",
        "SELECT 1 FROM " + ", ".join(f"city AS c{i}" for i in range(6)),
    ],
)
def test_too_large_or_broken_is_given_up(sql: str, facts: Facts) -> None:
    assert not prove_equal(sql, sql, facts, ordered=False)


def test_other_dialects_are_given_up(facts: Facts) -> None:
    assert not prove_equal("SELECT 1", "SELECT 1", facts, dialect="postgres", ordered=False)
    assert prove_equal("SELECT 1", "SELECT 1", facts, ordered=False)


@pytest.mark.skipif("SLM_DATA" not in os.environ, reason="SLM_DATA is not set: Spider's databases are elsewhere")
def test_proved_predictions_agree_on_spiders_databases() -> None:
    root = Path(os.environ["SLM_DATA"])
    lines = (root / "spider/dev.jsonl").read_text(encoding="utf-8").splitlines()
    predictions = (root / "predictions/spider-dev/dail_gpt4.txt").read_text(encoding="utf-8").splitlines()
    known: dict[str, tuple[apsw.Connection, Facts]] = {}
    count = 0
    for example, prediction in zip(map(json.loads, lines), predictions, strict=True):
        path = root / "spider/database" / example["db_id"] / f"{example['db_id']}.sqlite"
        if not path.is_file():
            continue
        if path.stem not in known:
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            known[path.stem] = (connection, read_facts(connection, read_schema(path)))
        connection, facts = known[path.stem]
        if proved(example["query"], prediction, facts):
            count += 1
            ours, theirs = (bag(connection, without_limit(sql)) for sql in (example["query"], prediction))
            assert ours == theirs, (example["query"], prediction)
    assert count > 500
