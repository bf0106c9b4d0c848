"""One query is run, or only checked, in a worker."""

import pytest

from slm.sql.sandbox.running import Runner


@pytest.fixture
def run(heartbeat, request_for):
    runner = Runner(heartbeat, timeout_s=0.3, max_rows=10)
    return lambda sql, **keys: runner(request_for(sql=sql, **keys))


def test_rows_as_json(run):
    reply = run("SELECT id, name, price, x'00ff' AS b, 1e999 AS f, CAST(x'41ff' AS TEXT) AS t FROM item WHERE id > 3")
    assert reply.pop("ms") > 0
    assert reply == {
        "reason": "ok",
        "columns": ["id", "name", "price", "b", "f", "t"],
        "rows": [[4, "pot", None, "x'00ff'", "inf", "A\\udcff"]],
    }


@pytest.mark.parametrize("only_check", [False, True])
@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT nosuch FROM item", "unknown_column"),
        ("SELECT 1 FROM nosuch", "unknown_table"),
        ("SELECT 1 FROM", "syntax"),
        ("DELETE FROM item", "forbidden"),
        ("SELECT 1; SELECT 2", "multi_statement"),
        ("", "no_sql"),
    ],
)
def test_refusals(run, sql, reason, only_check):
    reply = run(sql, only_check=only_check)
    if only_check and reason == "multi_statement":
        reason = "ok"  # the second is seen when the first has run
    assert reply["reason"] == reason
    assert reason == "ok" or reply["detail"]
    assert reason == "ok" or "rows" not in reply


ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT {} FROM r"


@pytest.mark.parametrize(("what", "reason"), [("count(*)", "timeout"), ("n", "too_many_rows")])
def test_a_query_that_is_only_checked_does_not_run(run, what, reason):
    assert run(ENDLESS.format(what))["reason"] == reason
    assert run(ENDLESS.format(what), only_check=True) == {"reason": "ok", "columns": [what], "rows": []}


def test_text_in_double_quotes(run):
    sql = 'SELECT id FROM maker WHERE name = "Ada"'
    assert run(sql)["reason"] == "unknown_column"
    assert run(sql, double_quoted_text=True)["rows"] == [[1]]


def test_a_database_that_is_not_there(run):
    assert run("SELECT 1", source="file:///nowhere.sqlite?mode=ro")["reason"] == "database_unavailable"
