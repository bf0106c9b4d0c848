"""Every verdict has its reason, and a gold that fails judges nobody."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from slm.records import Verdict
from slm.sql import Pair, judge


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "music.sqlite"
    apsw.Connection(str(path)).execute(
        "PRAGMA synchronous = OFF; BEGIN;"
        "CREATE TABLE Singer(id INTEGER PRIMARY KEY, name TEXT, age INT, born REAL);"
        "CREATE TABLE song(id INTEGER PRIMARY KEY, title TEXT, singer_id INT REFERENCES Singer);"
        "INSERT INTO Singer VALUES(1, 'Ada', 30, 1.5), (2, 'Bo', 41, 2.5), (3, 'Cy', 30, NULL);"
        "INSERT INTO song VALUES(1, 'One', 1), (2, 'Two', 1), (3, CAST(x'ff41' AS TEXT), 2);"
        "CREATE VIEW old AS SELECT name FROM Singer WHERE age > 40; COMMIT;"
    )
    return path


def verdict(database: Path | None, prediction: str, *gold: str, max_rows: int = 1000) -> Verdict:
    (found,) = judge([Pair("q", gold, prediction, database)], workers=1, timeout_s=20, max_rows=max_rows)
    return found


NAMES = "SELECT name FROM Singer"


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ("select NAME from SINGER;", "correct"),
        ("-- names\nSELECT name FROM Singer -- all", "correct"),
        ("SELECT name FROM Singer; -- done", "correct"),
        ("WITH s AS (SELECT * FROM Singer) SELECT name FROM s", "correct"),
        ("VALUES ('Cy'), ('Bo'), ('Ada')", "correct"),
        ("", "no_sql"),
        (" ; -- nothing", "no_sql"),
        ("SELECT name FROM", "syntax"),
        ("SELEC name FROM Singer", "syntax"),
        ("I do not know", "syntax"),
        ("SELECT name FROM singers", "unknown_table"),
        ("SELECT title FROM Singer", "unknown_column"),
        ("SELECT id FROM Singer JOIN song ON singer_id = Singer.id", "ambiguous_column"),
        ("DELETE FROM Singer", "forbidden"),
        ("SELECT name FROM Singer; SELECT 1", "multi_statement"),
        ("SELECT nosuch(name) FROM Singer", "runtime_error"),
        ("SELECT sum(count(*)) FROM Singer", "runtime_error"),
        ("SELECT a.id FROM Singer a, Singer b, Singer c, Singer d, Singer e, Singer f, Singer g", "too_many_rows"),
        ("SELECT name, age FROM Singer", "columns"),
        ("SELECT name FROM Singer WHERE age = 30", "row_count"),
        ("SELECT upper(name) FROM Singer", "values"),
    ],
)
def test_reasons(database: Path, prediction: str, reason: str) -> None:
    found = verdict(database, prediction, NAMES)
    assert (found.reason, found.correct) == (reason, reason == "correct")
    assert found.gold_ms is not None
    assert found.prediction_ms is not None


def test_order_counts_only_where_the_gold_orders(database: Path) -> None:
    backwards = "SELECT name FROM Singer ORDER BY name DESC"
    assert verdict(database, backwards, NAMES).reason == "correct"
    assert verdict(database, backwards, NAMES + " ORDER BY name").reason == "order"
    assert verdict(database, backwards, f"SELECT * FROM ({NAMES} ORDER BY name)").reason == "correct"


def test_any_gold_may_match_and_a_failing_one_does_not_count(database: Path) -> None:
    assert verdict(database, NAMES, "SELECT age FROM Singer", NAMES).reason == "correct"
    assert verdict(database, NAMES, "SELECT nosuch FROM Singer", NAMES).reason == "correct"
    assert verdict(database, NAMES, "SELECT age FROM Singer", "SELECT nosuch FROM Singer").reason == "values"


@pytest.mark.parametrize(
    "gold", ["SELECT nosuch FROM Singer", "DROP TABLE Singer", "", "SELECT 1 FROM Singer a, Singer b"]
)
def test_a_gold_that_fails_judges_nobody(database: Path, gold: str) -> None:
    found = verdict(database, NAMES, gold, max_rows=5)
    assert (found.reason, found.correct) == ("gold_failed", None)


def test_a_gold_without_end_judges_nobody(database: Path) -> None:
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    found, after = judge([Pair("a", (endless,), NAMES, database), Pair("b", (NAMES,), NAMES, database)], timeout_s=0.3)
    assert (found.reason, found.correct, found.detail) == ("gold_failed", None, "timeout: stopped after 0.3 s")
    assert after.correct


def test_a_pair_without_a_database_is_not_judged(database: Path) -> None:
    broken = database.with_name("broken.sqlite")
    broken.write_bytes(b"this is not a database, whatever its name says")
    for path in (None, database.with_name("absent.sqlite"), broken):
        found = verdict(path, NAMES, NAMES)
        assert (found.reason, found.correct) == ("database_unavailable", None)


def test_text_that_is_not_utf8(database: Path) -> None:
    everything = "SELECT id, title, NULL, x'00ff', 1.5 FROM song"
    backwards = "SELECT id, title FROM song ORDER BY id DESC"
    assert verdict(database, everything + " WHERE id > 0;", everything).reason == "correct"
    assert verdict(database, backwards, backwards).reason == "correct"
    assert verdict(database, backwards, "SELECT id, title FROM song ORDER BY id").reason == "order"
    other = verdict(
        database, "SELECT id, CASE WHEN id = 3 THEN CAST(x'fe41' AS TEXT) ELSE title END FROM song", backwards
    )
    assert other.reason == "values"
    other.model_dump_json()
    blobs = verdict(database, "SELECT CAST(title AS BLOB) FROM song", "SELECT title FROM song")
    assert blobs.reason == "values"


ADA = 'SELECT age FROM Singer WHERE name = "Ada"'


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        (ADA, "correct"),
        ("SELECT age FROM Singer WHERE name = 'Ada'", "correct"),
        ('SELECT age FROM Singer WHERE name IN ("Ada", "Nobody")', "correct"),
        ('SELECT age FROM Singer WHERE name BETWEEN "Ada" AND "Adb"', "correct"),
        ('SELECT "age" FROM Singer WHERE "name" = "Ada"', "correct"),
        ('SELECT s.a FROM (SELECT age AS a, name AS "n n" FROM Singer) AS s WHERE "n n" = "Ada"', "correct"),
        ('SELECT "years" FROM Singer WHERE name = "Ada"', "unknown_column"),
        ('SELECT max("years") FROM Singer', "unknown_column"),
        ("SELECT age FROM Singer WHERE \"nmae\" = 'Ada'", "unknown_column"),
        ("SELECT age FROM Singer WHERE \"nmae\" IN ('Ada')", "unknown_column"),
        ('SELECT age FROM Singer GROUP BY "nmae"', "unknown_column"),
        ('SELECT age FROM Singer WHERE name = "Ada" ORDER BY "nmae"', "unknown_column"),
    ],
)
def test_text_in_double_quotes_is_text_only_where_it_may_be(database: Path, prediction: str, reason: str) -> None:
    (found,) = judge([Pair("q", (ADA,), prediction, database, double_quoted_text=True)], workers=1)
    assert found.reason == reason


def test_text_in_double_quotes_is_no_text_by_default(database: Path) -> None:
    assert verdict(database, NAMES, ADA).reason == "gold_failed"
    assert verdict(database, ADA, NAMES).reason == "unknown_column"


def test_views_of_the_database_can_be_read(database: Path) -> None:
    assert verdict(database, "SELECT * FROM old", "SELECT 'Bo'").correct


def test_a_write_ahead_log_is_read(database: Path) -> None:
    connection = apsw.Connection(str(database))
    connection.execute("PRAGMA journal_mode = WAL; INSERT INTO Singer VALUES(4, 'Di', 20, NULL)").fetchall()
    assert database.with_name("music.sqlite-wal").stat().st_size
    assert verdict(database, "SELECT 4", "SELECT count(*) FROM Singer").correct


def test_unknown_names_come_with_the_known_ones(database: Path) -> None:
    assert verdict(database, "SELECT * FROM singers", NAMES).detail == "no such table: singers (has: Singer, song)"
    sql = "SELECT T2.name FROM Singer AS T1 JOIN song AS T2 ON T1.id = T2.singer_id"
    assert verdict(database, sql, NAMES).detail == (
        "no such column: T2.name (song has: id, title, singer_id; name is in: Singer)"
    )


def test_verdicts_come_in_order_and_before_all_pairs_are_read(database: Path) -> None:
    read = []

    def pairs() -> Iterator[Pair]:
        for number in range(3000):
            read.append(number)
            yield Pair(str(number), (NAMES,), NAMES, database if number % 3 else None)

    verdicts = judge(pairs(), workers=2)
    first = [next(verdicts) for _ in range(20)]
    assert len(read) < 2500
    everything = [*first, *verdicts]
    assert [each.example_id for each in everything] == [str(number) for number in range(3000)]
    assert [each.correct for each in everything] == [True if number % 3 else None for number in range(3000)]
