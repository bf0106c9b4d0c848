"""Which gold queries are fit to judge answers by."""

import apsw
import pytest
import sqlglot

from slm.data.roastery.gold import has_idle_part, has_ties, is_usable


@pytest.fixture
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t (name TEXT, kind TEXT, price REAL, note TEXT)")
    rows = [("a", "x", 1.0, None), ("b", "x", 2.0, None), ("c", "y", 2.0, None), ("d", "y", 3.0, None)]
    connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    return connection


@pytest.mark.parametrize(
    ("sql", "ties"),
    [
        ("SELECT name FROM t ORDER BY price LIMIT 1", False),
        ("SELECT name FROM t ORDER BY price LIMIT 2", True),  # b or c
        ("SELECT name FROM t ORDER BY price LIMIT 3", True),  # b, c or c, b
        ("SELECT name FROM t ORDER BY price DESC LIMIT 1", False),
        ("SELECT name FROM t ORDER BY price LIMIT 1 OFFSET 1", True),
        ("SELECT name FROM t ORDER BY price, name LIMIT 2", False),
        ("SELECT name FROM t ORDER BY price", True),
        ("SELECT kind FROM t GROUP BY kind ORDER BY COUNT(*) DESC LIMIT 1", True),
        ("SELECT kind FROM t GROUP BY kind ORDER BY SUM(price) DESC LIMIT 1", False),
        ("SELECT name FROM t", False),
    ],
)
def test_ties(connection: apsw.Connection, sql: str, ties: bool) -> None:
    assert has_ties(connection, sqlglot.parse_one(sql, read="sqlite")) is ties


@pytest.mark.parametrize(
    ("sql", "idle"),
    [
        ("SELECT name FROM t WHERE kind = 'x' AND price > 1.5", False),
        ("SELECT name FROM t WHERE kind = 'x' AND price > 0.5", True),
        ("SELECT name FROM t WHERE kind = 'x' OR price > 2.5", False),
        ("SELECT name FROM t WHERE kind = 'x' OR price < 1.5", True),
        ("SELECT kind FROM t GROUP BY kind HAVING SUM(price) > 4", False),
        ("SELECT kind FROM t GROUP BY kind HAVING SUM(price) > 2", True),
        ("SELECT DISTINCT kind FROM t", False),
        ("SELECT DISTINCT name FROM t", True),
        ("SELECT COUNT(DISTINCT kind) FROM t", False),
        ("SELECT COUNT(DISTINCT name) FROM t", True),
        ("SELECT price FROM t WHERE kind = 'x' INTERSECT SELECT price FROM t WHERE kind = 'y'", False),
        ("SELECT kind FROM t WHERE kind = 'x' EXCEPT SELECT kind FROM t WHERE kind = 'y'", True),
    ],
)
def test_idle_parts(connection: apsw.Connection, sql: str, idle: bool) -> None:
    assert has_idle_part(connection, sqlglot.parse_one(sql, read="sqlite")) is idle


@pytest.mark.parametrize(
    ("sql", "usable"),
    [
        ("SELECT name FROM t WHERE price > 2.5", True),
        ("SELECT name FROM t WHERE price > 9", False),
        ("SELECT note FROM t WHERE name = 'a'", False),
        ("SELECT COUNT(*) FROM t WHERE price > 9", False),
        ("SELECT a.name FROM t AS a, t AS b, t AS c, t AS d", False),  # 256 rows
    ],
)
def test_an_answer_says_something_in_few_rows(connection: apsw.Connection, sql: str, usable: bool) -> None:
    assert is_usable(connection, sql) is usable
