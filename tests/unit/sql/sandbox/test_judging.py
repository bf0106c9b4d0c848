"""One pair to one verdict, with the judge in this process."""

import pytest

from slm.sql.engines.sqlite import SqliteEngine
from slm.sql.results import Refused
from slm.sql.sandbox import database, judging
from slm.sql.sandbox.further import Further

PRICES = "SELECT price FROM item"
TOP = "SELECT name FROM item ORDER BY price DESC LIMIT 1"  # ink and mug tie


@pytest.mark.parametrize(
    ("prediction", "golds", "reason"),
    [
        (PRICES, [PRICES], "correct"),
        ("SELECT price FROM item ORDER BY price", [PRICES], "correct"),
        ("SELECT DISTINCT price FROM item", [PRICES], "multiplicity_only"),
        (PRICES, ["SELECT name FROM item", PRICES], "correct"),
        (PRICES, ["SELECT nosuch FROM item", PRICES], "correct"),
        (PRICES, ["SELECT name, id FROM item", "SELECT name FROM item"], "columns"),  # of the first gold
        (PRICES, ["SELECT nosuch FROM item", "SELECT name FROM item"], "values"),
        (PRICES, ["SELECT nosuch FROM item", "DROP TABLE item"], "gold_failed"),
        ("SELECT nosuch FROM item", ["SELECT nosuch FROM item"], "gold_failed"),
        ("SELECT nosuch FROM item", [PRICES], "unknown_column"),
        ("SELECT 'ink'", [TOP], "gold_ambiguous"),
        ("SELECT 'mug'", [TOP], "gold_ambiguous"),
        (TOP, [TOP], "gold_ambiguous"),
        ("SELECT 'pen'", [TOP], "values"),
        ("SELECT 'ink'", [TOP + " OFFSET 0"], "gold_ambiguous"),
        ("SELECT name FROM item ORDER BY id LIMIT 2", ["SELECT name FROM item ORDER BY id LIMIT 2"], "correct"),
        ("SELECT name FROM item WHERE 0", ["SELECT name FROM item WHERE id > 9"], "both_empty"),
        ("SELECT name FROM item WHERE 0", [PRICES], "row_count"),
    ],
)
def test_reasons(ask, prediction, golds, reason):
    assert ask(prediction, *golds)["reason"] == reason


def test_the_gold_runs_first_and_once(ask, monkeypatch):
    asked, query = [], SqliteEngine.query

    def spy(engine, sql, **limits):
        asked.append(sql)
        return query(engine, sql, **limits)

    monkeypatch.setattr(SqliteEngine, "query", spy)
    for prediction in ("SELECT 1", "SELECT 2"):
        ask(prediction, PRICES, skip=["readings"])
    assert asked == [PRICES, "SELECT 1", "SELECT 2"]


def test_the_prediction_does_not_run_where_every_gold_fails(ask):
    reply = ask(PRICES, "SELECT a FROM item", "SELECT b FROM item")
    assert reply["detail"] == "unknown_column: no such column: a; unknown_column: no such column: b"
    assert "prediction_ms" not in reply
    assert "readings" not in reply


def test_times_are_those_of_the_queries(ask):
    slow = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 200000) SELECT count(*) FROM r"
    first, again = ask("SELECT 200000", slow), ask(slow, "SELECT 200000")
    assert first["gold_ms"] > 5 * first["prediction_ms"] > 0
    assert again["prediction_ms"] > 5 * again["gold_ms"] > 0
    assert ask("SELECT 200000", slow)["gold_ms"] == first["gold_ms"]  # as it was when it ran


def test_readings_stand_beside_the_verdict_and_can_be_skipped(ask):
    assert ask("SELECT DISTINCT price FROM item", PRICES)["readings"] == {"bird": True, "test_suite": True}
    assert "readings" not in ask(PRICES, PRICES, skip=["readings"])


def test_the_readings_are_those_of_the_first_gold(ask):
    assert ask(PRICES, "SELECT name FROM item", PRICES)["readings"] == {"bird": False, "test_suite": False}


@pytest.mark.parametrize("keys", [{"instances": 2}, {"witness": True}])
def test_a_further_look_that_fails_does_not_cost_the_verdict(ask, monkeypatch, keys):
    def fail(*_):
        raise RecursionError("too deep")

    monkeypatch.setattr(Further, "look", fail)
    reply = ask("SELECT price FROM item ORDER BY id", PRICES, **keys)
    assert reply["reason"] == "correct"
    assert "too deep" in reply["detail"]
    nothing = ask("SELECT name FROM item WHERE id > 8", "SELECT name FROM item WHERE id > 9", **keys)
    assert nothing["reason"] == "both_empty"
    assert ask("SELECT id FROM item", PRICES, **keys)["detail"].startswith("(5,) is 2 × in the gold")


def test_a_database_that_is_none(judge, request_for, tmp_path):
    (tmp_path / "text.sqlite").write_text("this is no database, whatever its name says " * 30)
    for source in ("absent.sqlite", "text.sqlite"):
        uri = (tmp_path / source).as_uri() + "?mode=ro"
        reply = judge(request_for(prediction=PRICES, golds=[PRICES]) | {"source": uri})
        assert reply["reason"] == "database_unavailable"
        assert "cannot be opened" in reply["detail"]


SCRIPT = ["CREATE TABLE t(a)", "INSERT INTO t VALUES (1), (2)"]


def test_a_script_makes_a_database(ask):
    assert ask("SELECT a FROM t ORDER BY a", "SELECT a FROM t", script=SCRIPT)["reason"] == "correct"
    assert ask("SELECT 2", "SELECT count(*) FROM t", script=SCRIPT)["reason"] == "correct"
    assert ask("SELECT 2", "SELECT count(*) FROM t", script=[SCRIPT[0], ""])["reason"] == "values"


@pytest.mark.parametrize("script", [["CREATE TABLE", ""], ["CREATE TABLE t(a)", "ATTACH '/tmp/x' AS x"]])
def test_a_script_that_fails(ask, script):
    reply = ask("SELECT 1", "SELECT 1", script=script)
    assert reply["reason"] == "database_unavailable"
    assert reply["detail"]


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ("SELECT TOP 2 name FROM item ORDER BY id", "correct"),
        ("SELECT LEN(name) FROM item WHERE id < 3", "values"),
        ("SELECT TOP 3 name FROM item ORDER BY id", "row_count"),
        ("SELECT TOP 2 name FROM item ORDER BY", "syntax"),  # cannot be read, and SQLite says so
        ("SELECT 1; SELECT 2", "multi_statement"),
        ("DROP TABLE item", "forbidden"),
        ("SELECT TOP 2 '" + "x" * 20_000 + "'", "syntax"),  # too long to be translated
    ],
)
def test_another_dialect_is_translated(ask, prediction, reason):
    reply = ask(prediction, "SELECT TOP 2 [name] FROM item ORDER BY id", transpile_from="tsql")
    assert reply["reason"] == reason


def test_only_some_databases_stay_open(judge, request_for, monkeypatch):
    monkeypatch.setattr(judging, "_OPEN_DATABASES", 2)
    opened = [judge.open(request_for(script=["CREATE TABLE t(a)", f"INSERT INTO t VALUES ({n})"])) for n in range(3)]
    with pytest.raises(Refused, match="has been closed"):
        opened[0].connection("gold").query("SELECT a FROM t", timeout_s=1.0, max_rows=9)
    assert [each.run("SELECT a FROM t", "gold").result.rows for each in opened[1:]] == [[(1,)], [(2,)]]


def test_results_do_not_pile_up(judge, request_for, monkeypatch):
    monkeypatch.setattr(judging, "_KEPT_CELLS", 20)
    monkeypatch.setattr(database, "_KEPT_CELLS_TOTAL", 20)
    databases = [request_for(script=[f"CREATE TABLE t{n}(a)", ""]) for n in range(3)]
    for n in range(30):
        numbers = f"SELECT {n} UNION SELECT {n + 1} UNION SELECT {n + 2}"
        assert judge(databases[n % 3] | {"golds": [numbers], "prediction": f"{numbers} --"})["reason"] == "correct"
        kept = [judge.open(each).cells for each in databases]
        assert sum(kept) < 70
    assert max(kept) > 0
