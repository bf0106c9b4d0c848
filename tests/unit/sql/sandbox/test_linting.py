"""Golds are looked over in a worker."""

import pytest

from slm.sql.sandbox.linting import Linter


@pytest.fixture
def lint(heartbeat, request_for):
    linter = Linter(heartbeat, timeout_s=0.3, max_rows=100)

    def lint(sql, **keys):
        return [finding["kind"] for finding in linter(request_for(sql=sql, **keys))["findings"]]

    return lint


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ("SELECT name FROM item", []),
        ("SELECT nosuch FROM item", ["failed"]),
        ("DELETE FROM item", ["failed"]),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r", ["timeout"]),
        ("SELECT name FROM item WHERE id > 9", ["empty"]),
        ("SELECT name FROM item ORDER BY price DESC LIMIT 1", ["limit_tie"]),
        ("SELECT name FROM item ORDER BY price DESC LIMIT 2", []),
        ("SELECT name FROM item LIMIT 1", ["unordered_limit"]),
        ("SELECT name, max(id) FROM item", []),
        ("SELECT name, count(*) FROM item GROUP BY maker_id", ["bare_column"]),
        ("SELECT m.name, count(*) FROM item JOIN maker m ON m.id = maker_id GROUP BY maker_id", []),  # id is a key
    ],
)
def test_kinds(lint, sql, kinds):
    assert lint(sql) == kinds


def test_golds_of_one_database_do_not_disturb_one_another(lint):
    """Each is read backwards too, and the connection is as before."""
    golds = ["SELECT name FROM item LIMIT 1", "SELECT name FROM item", "SELECT nosuch"]
    assert [lint(sql) for sql in golds] == [lint(sql) for sql in golds]


def test_text_in_double_quotes(lint):
    sql = 'SELECT id FROM maker WHERE name = "Ada"'
    assert lint(sql) == ["failed"]
    assert "failed" not in lint(sql, double_quoted_text=True)


def test_a_database_that_is_not_there(lint):
    assert lint("SELECT 1", source="file:///nowhere.sqlite?mode=ro") == ["database_unavailable"]


def test_only_sqlite(heartbeat, request_for, tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    duckdb.connect(str(tmp_path / "shop.duckdb")).close()
    linter = Linter(heartbeat, timeout_s=1.0, max_rows=100)
    with pytest.raises(TypeError, match="only SQLite"):
        linter(request_for(sql="SELECT 1") | {"engine": "duckdb", "source": str(tmp_path / "shop.duckdb")})
