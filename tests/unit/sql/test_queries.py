"""Single queries and lists of golds go through the sandbox."""

from pathlib import Path

import apsw
import pytest

from slm.sql import kill_scores, lint_golds, run_query
from slm.sql import queries as module

ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT {} FROM r"
HANGS = "SELECT instr(printf('%.*c', 999000, 'a'), printf('%.*c', 400000, 'a') || 'b')"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with apsw.Connection(str(path)) as connection:
        connection.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT); INSERT INTO item VALUES (1, 'pen')")
    connection.close()
    return path


def test_a_query_is_run(shop):
    reply = run_query("SELECT id, name FROM item", shop)
    assert reply.pop("ms") > 0
    assert reply == {"reason": "ok", "columns": ["id", "name"], "rows": [[1, "pen"]]}


def test_or_only_checked(shop):
    assert run_query(HANGS, shop, only_check=True)["reason"] == "ok"


@pytest.mark.parametrize(
    ("sql", "reason", "detail"),
    [
        ("SELECT nmae FROM item", "unknown_column", "item has: id, name"),
        ("SELECT 1 FROM items", "unknown_table", "has: item"),
        ("DROP TABLE item", "forbidden", "not authorized"),
        (ENDLESS.format("count(*)"), "timeout", "stopped after 0.2 s"),
        (ENDLESS.format("n"), "too_many_rows", "more than 5 rows"),
        (HANGS, "timeout", "exit status -9"),
    ],
)
def test_what_is_refused_says_why(shop, sql, reason, detail):
    reply = run_query(sql, shop, timeout_s=0.2, max_rows=5)
    assert reply["reason"] == reason
    assert detail in reply["detail"]


def test_text_in_double_quotes(shop):
    sql = 'SELECT id FROM item WHERE name = "pen"'
    assert run_query(sql, shop)["reason"] == "unknown_column"
    assert run_query(sql, shop, double_quoted_text=True)["rows"] == [[1]]


def test_a_database_that_is_not_there(tmp_path):
    assert run_query("SELECT 1", tmp_path / "nowhere.sqlite")["reason"] == "database_unavailable"


def test_each_gold_has_its_findings(shop, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 2)
    golds = ["SELECT name FROM item", "SELECT nosuch FROM item", "SELECT 1 FROM item WHERE id > 9", HANGS, "SELECT 1"]
    found = dict(lint_golds([(sql, shop) for sql in golds], timeout_s=0.05, workers=2))
    kinds = [[finding["kind"] for finding in found[n]] for n in range(len(golds))]
    assert kinds == [[], ["failed"], ["empty"], ["failed"], []]
    assert "timeout" in found[3][0]["detail"]


def test_kill_scores_come_for_each_gold_and_what_was_made_is_kept(shop, tmp_path):
    golds = [("SELECT name FROM item WHERE id > 0", shop), ("SELECT nosuch FROM item", shop)]
    store = tmp_path / "judge.sqlite"
    found = dict(kill_scores(golds, instances=2, workers=1, store=store))
    assert found[0]["reason"] == "ok"
    assert 0 < found[0]["killed"] <= found[0]["mutants"]
    assert found[1]["reason"] == "gold_failed"
    (count,) = apsw.Connection(str(store)).execute("SELECT count(*) FROM made").fetchall()[0]
    assert count == 1
    assert dict(kill_scores(golds, instances=2, workers=1, store=store)) == found
