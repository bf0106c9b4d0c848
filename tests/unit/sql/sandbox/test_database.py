"""A worker's database: results are kept and forgotten, and golds and predictions do not share a connection."""

from collections.abc import Callable
from pathlib import Path

import pytest

from slm.sql.engines.sqlite import database_uri, image_of
from slm.sql.sandbox import database as module
from slm.sql.sandbox.database import Database, Kept


@pytest.fixture
def opened(shop: Path) -> Callable[..., Database]:
    def make(source: str | bytes | None = None, *, quoted: bool = False) -> Database:
        source = source or database_uri(shop)
        return Database("sqlite", source, double_quoted_text=quoted, timeout_s=5.0, max_rows=100)

    return make


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that SQLite is really asked."""
    from slm.sql.engines.sqlite import SqliteEngine

    queries, ask = [], SqliteEngine.query

    def spy(engine: SqliteEngine, sql: str, **limits: float) -> object:
        queries.append(sql)
        return ask(engine, sql, **limits)

    monkeypatch.setattr(SqliteEngine, "query", spy)
    return queries


@pytest.mark.parametrize("sql", ["SELECT name FROM maker", "SELECT nosuch FROM maker", "SELECT 1 WHERE 0"])
def test_a_query_runs_once_for_each_who_asks(opened, asked, sql):
    database = opened()
    first = database.run(sql, "gold")
    assert database.run(sql, "gold") is first
    assert asked == [sql]
    assert database.run(sql, "prediction").result == first.result
    assert asked == [sql, sql]


def test_large_results_are_not_kept(opened, asked, monkeypatch):
    monkeypatch.setattr(module, "_KEPT_CELLS", 3)
    database = opened()
    for _ in range(2):
        database.run("SELECT name FROM item", "gold")
        database.run("SELECT name FROM maker", "gold")
    assert asked == ["SELECT name FROM item", "SELECT name FROM maker", "SELECT name FROM item"]
    assert database.cells == 2


def test_what_was_used_longest_ago_goes_first(monkeypatch):
    monkeypatch.setattr(module, "_KEPT_RESULTS", 2)
    kept = Kept()
    kept.put("a", 1, 5)
    kept.put("b", 2, 5)
    assert kept.get("a") == 1
    kept.put("c", 3, 5)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    assert kept.cells == 10


def test_not_too_many_cells_are_kept_and_the_newest_whatever_its_size(monkeypatch):
    monkeypatch.setattr(module, "_KEPT_CELLS_TOTAL", 10)
    kept = Kept()
    for key in "abcd":
        kept.put(key, key, 6)
    assert [kept.get(key) for key in "abcd"] == [None, None, "c", "d"]
    kept.put("e", "e", 1000)
    kept.put("f", "f", 1)
    assert [kept.get(key) for key in "cdef"] == [None, None, None, "f"]
    assert kept.cells == 1
    kept.clear()
    assert (kept.get("f"), kept.cells) == (None, 0)


def test_forgetting_costs_only_another_run(opened, asked):
    database = opened()
    before = database.run("SELECT name FROM item", "gold")
    database.forget()
    after = database.run("SELECT name FROM item", "gold")
    assert asked == ["SELECT name FROM item"] * 2
    assert after.result == before.result


def test_golds_and_predictions_have_connections_of_their_own(opened):
    database = opened()
    connections = {
        (who, lenient): database.connection(who, lenient=lenient)
        for who in ("gold", "prediction")
        for lenient in (False, True)
    }
    assert len({id(connection) for connection in connections.values()}) == 4
    assert database.connection("gold") is connections["gold", False]


def test_an_image_has_one_connection(opened):
    database = opened(image_of("CREATE TABLE t(a)", "INSERT INTO t VALUES (1)", timeout_s=5.0))
    assert database.connection("gold") is database.connection("prediction")
    assert database.run("SELECT a FROM t", "prediction").result.rows == [(1,)]


PLACE = 'SELECT id FROM maker WHERE name = "Ada"'
COLUMN = 'SELECT "nmae" FROM maker'


@pytest.mark.parametrize(
    ("sql", "who", "quoted", "runs"),
    [
        (PLACE, "gold", True, True),
        (PLACE, "prediction", True, True),
        (PLACE, "gold", False, False),
        (PLACE, "prediction", False, False),
        (COLUMN, "gold", True, True),
        (COLUMN, "prediction", True, False),
        (COLUMN, "script", False, True),  # public scripts let it pass
    ],
)
def test_text_in_double_quotes_only_where_it_may_stand(opened, sql, who, quoted, runs):
    outcome = opened(quoted=quoted).run(sql, who)
    assert (outcome.result is not None) == runs
    assert runs or outcome.refusal.reason == "unknown_column"


def test_columns_by_table(opened):
    assert opened().columns() == {"maker": {"id", "name"}, "item": {"id", "name", "price", "maker_id"}}


def test_a_query_may_have_less_time_than_others(opened):
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    outcome = opened().run(endless, "prediction", 0.05)
    assert outcome.refusal.reason == "timeout"
    assert 50 <= outcome.ms < 2000
