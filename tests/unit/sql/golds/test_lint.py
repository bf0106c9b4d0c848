"""Every kind of finding is found where it is, and not beside it."""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from slm.sql.golds.lint import Finding, lint_gold
from slm.sql.results import Refused, ResultSet
from slm.sql.schema import Schema, read_schema

DATA = """
CREATE TABLE city(id INTEGER PRIMARY KEY, name TEXT, country TEXT, size INT, founded TEXT, rank TEXT, code TEXT UNIQUE);
INSERT INTO city VALUES
  (1, 'A', 'X', 30, '1900', '9', 'a'), (2, 'B', 'X', 20, '1950', '10', 'b'), (3, 'C', 'Y', 20, '0800', '11', 'c');
CREATE TABLE visit(id INTEGER PRIMARY KEY, city_id INT REFERENCES city, guest TEXT, paid REAL);
INSERT INTO visit VALUES (1, 1, 'Ann', 2.5), (2, 1, 'Bob', NULL), (3, 2, 'Ann', 1.0);
CREATE TABLE pair(a INT, b INT, note TEXT, PRIMARY KEY (a, b));
INSERT INTO pair VALUES (1, 1, 'p'), (1, 2, 'q');
"""

Lint = Callable[[str], list[Finding]]


@pytest.fixture(scope="module")
def lint(tmp_path_factory: pytest.TempPathFactory) -> Lint:
    path: Path = tmp_path_factory.mktemp("lint") / "city.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA synchronous = OFF; BEGIN; {DATA} COMMIT")
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
    schema: Schema = read_schema(path)

    def runner(backwards: bool) -> Callable[[str], ResultSet]:
        def run(sql: str) -> ResultSet:
            if "slow" in sql:
                raise Refused("timeout", "stopped after 1 s")
            connection.pragma("reverse_unordered_selects", backwards)
            try:
                return ResultSet((), connection.execute(sql).fetchall())
            except apsw.Error as error:
                raise Refused("unknown_column", str(error).removeprefix("SQLError: ")) from None

        return run

    return lambda sql: lint_gold(sql, schema, runner(False), runner(True), unique={"city": [("code",)]})


@pytest.mark.parametrize(
    ("sql", "findings"),
    [
        ("SELECT mayor FROM city", [("failed", "unknown_column: no such column: mayor")]),
        ("SELECT 'slow'", [("timeout", "timeout: stopped after 1 s")]),
        ("SELECT name FROM city WHERE size > 99", [("empty", "no rows")]),
        ("SELECT max(size) FROM city WHERE size > 99", [("only_nulls", "1 row without a value")]),
        ("SELECT name FROM city ORDER BY size LIMIT 1", [("limit_tie", "1 of 2 tied rows, as ('B',), ('C',)")]),
        ("SELECT country FROM city LIMIT 2", [("unordered_limit", "2 of 3 rows, as ('X',), ('Y',)")]),
        (
            "SELECT name, count(*) FROM city GROUP BY country",
            [("bare_column", "name (varies within a group)")],
        ),
        ("SELECT country FROM city GROUP BY name", [("bare_column", "country (one value a group in this data)")]),
        ("SELECT name FROM city WHERE rank > 9", [("empty", "no rows"), ("text_as_number", None)]),
        (
            "SELECT name FROM city WHERE founded > 1900",
            [("text_as_number", "founded is text and compared with a number")],
        ),
        (
            "SELECT name FROM city ORDER BY rank",
            [("text_as_number", "rank is text and sorted, as text not in the order of its numbers")],
        ),
        (
            "SELECT max(c.rank) FROM city AS c",
            [("text_as_number", "c.rank is text and in max(), as text not in the order of its numbers")],
        ),
        (
            "SELECT name FROM city WHERE rank BETWEEN '1' AND '9'",
            [("text_as_number", "rank is text and compared by size, as text not in the order of its numbers")],
        ),
        (
            "SELECT name FROM city WHERE rank < (SELECT avg(size) FROM city)",
            [
                (
                    "text_as_number",
                    "rank is text and compared by size, as text not in the order of its numbers",
                )
            ],
        ),
        ("SELECT sum(founded) FROM city", [("text_as_number", "founded is text and in sum")]),
        ('SELECT name FROM city WHERE country = "X"', [("double_quoted_text", '"X"')]),
        ("SELECT group_concat(name) FROM city", [("scan_order", "('A,B,C',) becomes ('C,B,A',)")]),
    ],
)
def test_what_is_found(lint: Lint, sql: str, findings: list[tuple[str, str | None]]) -> None:
    found = lint(sql)
    assert [each.kind for each in found] == [kind for kind, _ in findings]
    for each, (_, detail) in zip(found, findings, strict=True):
        assert detail in (None, each.detail)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM city",
        "SELECT count(*) FROM city LIMIT 1",
        "SELECT size FROM city ORDER BY size LIMIT 1",  # the tied rows look the same
        "SELECT name FROM city ORDER BY size",  # a tie that nothing cuts
        "SELECT 1 FROM city LIMIT 2",
        # determined by keys, and by what equals them
        "SELECT name, count(*) FROM city GROUP BY id",
        "SELECT name, count(*) FROM city GROUP BY 1",
        "SELECT upper(name) AS n, count(*) FROM city GROUP BY n ORDER BY n",
        "SELECT name, size FROM city GROUP BY code",
        "SELECT c.name, count(*) FROM city AS c JOIN visit AS v ON c.id = v.city_id GROUP BY v.city_id",
        "SELECT c.name, count(*) FROM city AS c, visit AS v WHERE c.id = v.city_id GROUP BY v.city_id",
        "SELECT c.name, count(*) FROM visit AS v LEFT JOIN city AS c ON c.id = v.city_id GROUP BY v.city_id",
        "SELECT note FROM pair GROUP BY a, b",
        "SELECT note FROM pair WHERE b = 2 GROUP BY a",
        "SELECT country, count(*) FROM city WHERE country = 'X'",
        # the row of the maximum
        "SELECT name, max(size) FROM city",
        "SELECT country, name, max(size) FROM city GROUP BY country",
        "SELECT id, max(size, id) FROM city",
        # numbers, or text that sorts like numbers
        "SELECT name FROM city WHERE CAST(rank AS INT) > 9",
        "SELECT name FROM city WHERE founded > '1900'",
        "SELECT min(founded) FROM city",
        "SELECT name FROM city ORDER BY founded, name",
        "SELECT name FROM city WHERE size > 9",
        # names in double quotes
        'SELECT "name" FROM "city" AS "c" WHERE "c"."size" > 1',
        'SELECT name AS "the name" FROM city ORDER BY "the name"',
        'SELECT "n" FROM (SELECT name AS "n" FROM city)',
        'WITH w("n") AS (SELECT name FROM city) SELECT "n" FROM w',
    ],
)
def test_what_is_right(lint: Lint, sql: str) -> None:
    assert lint(sql) == []
