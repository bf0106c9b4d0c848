"""Order, LIMIT, ties and rounding are read off the text, and nothing is claimed that is not certain."""

import sys
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.golds import plan_gold

DATA = """
CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT COLLATE NOCASE, "two words" REAL);
INSERT INTO t VALUES (1, 3, 'x', 1.5), (2, 3, 'X', 2.5), (3, NULL, 'y', 1.5), (4, 1, 'Z', NULL), (5, 1, NULL, 9.0);
CREATE TABLE u(id INTEGER PRIMARY KEY, t_id INT, kind TEXT);
INSERT INTO u VALUES (1, 1, 'p'), (2, 1, 'q'), (3, 2, 'p'), (4, 4, 'p'), (5, 4, 'q'), (6, NULL, 'r');
"""


def rows(sql: str) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(":memory:")
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
    connection.execute(DATA)
    return connection.execute(sql).fetchall()


@pytest.mark.parametrize(
    ("sql", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("select a from t order   by a limit 1", True),
        ("SELECT a FROM t ORDER /* by */ BY a", True),
        ("SELECT a FROM t UNION SELECT b FROM u ORDER BY 1", True),
        ("WITH x AS (SELECT 1) SELECT * FROM x ORDER BY 1", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
        ("SELECT a, row_number() OVER (ORDER BY a) FROM t", False),
        ("SELECT group_concat(a ORDER BY a) FROM t", False),
        ("SELECT 'x ORDER BY y' FROM t", False),
        ('SELECT "order by" FROM t -- ORDER BY a', False),
        ("SELECT a FROM t WHERE a IN (SELECT b FROM u ORDER BY b LIMIT 1)", False),
        ("SELECT 'open ORDER BY", False),
        ("", False),
    ],
)
def test_whether_a_query_is_ordered(sql: str, ordered: bool) -> None:
    assert plan_gold(sql).ordered is ordered
    assert plan_gold(sql).ordered is ordered


@pytest.mark.parametrize(
    ("tail", "dialect", "limit", "offset"),
    [
        ("", "sqlite", None, 0),
        ("LIMIT 5", "sqlite", 5, 0),
        ("LIMIT 5 OFFSET 2;", "sqlite", 5, 2),
        ("LIMIT 2, 5", "sqlite", 5, 2),
        ("LIMIT -1 OFFSET 2", "sqlite", None, 2),
        ("LIMIT 3 OFFSET -1 -- c", "sqlite", 3, 0),
        ("LIMIT ALL OFFSET 2", "postgres", None, 2),
        ("OFFSET 2 LIMIT 5", "postgres", 5, 2),
        ("OFFSET 2 ROWS FETCH FIRST 5 ROWS ONLY", "postgres", 5, 2),
        ("FETCH NEXT ROW ONLY", "postgres", 1, 0),
    ],
)
def test_limit_and_offset(tail: str, dialect: str, limit: int | None, offset: int) -> None:
    plan = plan_gold(f"SELECT a FROM t ORDER BY a {tail}", dialect)
    assert (plan.limit, plan.offset) == (limit, offset)
    assert plan.ranked is not None
    assert ("<=" in plan.ranked) is (limit is not None)


# A gold, and the sizes of the groups that tie, in order.
GROUPS = [
    ("SELECT id FROM t ORDER BY a", [1, 2, 2]),
    ("SELECT id FROM t ORDER BY a DESC", [2, 2, 1]),
    ("SELECT id FROM t ORDER BY a DESC NULLS FIRST", [1, 2, 2]),
    ("SELECT id FROM t ORDER BY b", [1, 2, 1, 1]),
    ("SELECT id FROM t ORDER BY b COLLATE BINARY DESC", [1, 1, 1, 1, 1]),
    ("SELECT id, b AS c FROM t ORDER BY c, id", [1, 1, 1, 1, 1]),
    ("SELECT a + 1 AS n, id FROM t ORDER BY n", [1, 2, 2]),
    ("SELECT id, a % 2 n FROM t ORDER BY 2", [1, 4]),
    ("SELECT id, b AS a FROM t ORDER BY a", [1, 2, 1, 1]),  # the alias goes before the column
    ("SELECT id FROM t ORDER BY (a)", [1, 2, 2]),
    ('SELECT id FROM t ORDER BY "two words"', [1, 2, 1, 1]),
    ('SELECT id FROM t ORDER BY "no such column"', [5]),
    ("SELECT id FROM t ORDER BY 'a'", [5]),
    ('SELECT "x, y" AS "ORDER BY", id -- FROM here\nFROM t ORDER BY a', [1, 2, 2]),
    ("SELECT * FROM t ORDER BY a", [1, 2, 2]),
    ("SELECT t.id FROM t JOIN u ON t.id = u.t_id ORDER BY t.a", [2, 3]),
    ("SELECT b, count(*) FROM t GROUP BY a ORDER BY count(*)", [1, 2]),
    ("SELECT a, count(*) AS n FROM t GROUP BY a HAVING n > 0 ORDER BY n DESC", [2, 1]),
    ("SELECT a IS DISTINCT FROM 3 AS d, id FROM t ORDER BY d", [2, 3]),
    ("SELECT CASE WHEN a > 1 THEN 'x' ELSE 'y' END AS c FROM t ORDER BY c", [2, 3]),
    ("SELECT DISTINCT a, b FROM t ORDER BY a", [1, 2, 1]),
    ("SELECT DISTINCT t.a FROM t ORDER BY a", [1, 1, 1]),
    ("SELECT DISTINCT a, id % 2 FROM t ORDER BY id % 2, 1 DESC", [1, 1, 1, 1, 1]),
    ("SELECT DISTINCT * FROM t ORDER BY a", [1, 2, 2]),
    ("SELECT a, 1 FROM t UNION ALL SELECT id, 2 FROM u ORDER BY 2", [5, 6]),
    ("SELECT id AS x FROM t UNION SELECT t_id FROM u ORDER BY x", [1, 1, 1, 1, 1, 1]),
    ("WITH w AS (SELECT a AS k FROM t) SELECT k FROM w ORDER BY k", [1, 2, 2]),
    ("WITH w AS (SELECT a AS k FROM t) SELECT DISTINCT k, 1 FROM w ORDER BY 2", [3]),
    ("SELECT id FROM t WHERE a IN (SELECT a FROM t ORDER BY a LIMIT 2) ORDER BY a", [2]),
    ("SELECT 7 / 2, id FROM t WHERE b LIKE '%' ESCAPE '!' ORDER BY 1", [4]),
    ("SELECT id FROM t LIMIT 2", [5]),
    ("SELECT DISTINCT a FROM t LIMIT 2", [3]),
    ("SELECT count(*) FROM t LIMIT 1", [1]),
    ("SELECT a FROM t EXCEPT SELECT 1 LIMIT 1", [2]),
]


@pytest.mark.parametrize(("sql", "sizes"), GROUPS)
def test_rows_that_tie_share_a_rank(sql: str, sizes: list[int]) -> None:
    plan = plan_gold(sql)
    assert plan.ranked is not None
    ranked = rows(plan.ranked)
    ranks = [row[-1] for row in ranked]
    assert [ranks.count(rank) for rank in dict.fromkeys(ranks)] == sizes
    body = sql.split(" LIMIT 1")[0] if plan.limit == 1 else sql.split(" LIMIT 2")[0] if plan.limit == 2 else sql
    assert sorted(map(repr, (row[:-1] for row in ranked))) == sorted(map(repr, rows(body)))


@pytest.mark.parametrize(
    ("item", "dialect", "key"),
    [
        ("a::INT b", "postgres", "(a::INT)"),
        ("t.date b", "sqlite", "(t.date)"),
        ("date b", "sqlite", "date"),
        ("CASE WHEN a THEN 1 END b", "sqlite", "(CASE WHEN a THEN 1 END)"),
        ("a NOTNULL b", "sqlite", "(a NOTNULL)"),
        ("a 'b'", "sqlite", "a"),
        ('a AS "B"', "sqlite", "a"),
        ("a COLLATE b", "sqlite", "b"),
        ("NOT b", "sqlite", "b"),
        ("a LIKE b", "sqlite", "b"),
        ("a - b", "sqlite", "b"),
        ("[a, b][1] b", "duckdb", "([a, b][1])"),
    ],
)
def test_a_sort_key_is_what_its_alias_stands_for(item: str, dialect: str, key: str) -> None:
    ranked = plan_gold(f"SELECT {item} FROM t ORDER BY b", dialect).ranked
    assert ranked == f"SELECT {item}, RANK() OVER (ORDER BY {key}) AS slm_rank FROM t ORDER BY slm_rank"


@given(st.sampled_from([sql for sql, _ in GROUPS if "LIMIT" not in sql]), st.integers(0, 7), st.integers(0, 7))
def test_with_limit_only_the_rows_that_may_be_chosen_are_ranked(sql: str, limit: int, offset: int) -> None:
    whole = plan_gold(sql).ranked
    cut = plan_gold(f"{sql} LIMIT {limit} OFFSET {offset}").ranked
    assert whole is not None
    assert cut is not None
    everything, some = rows(whole), rows(cut)
    assert some == everything[: len(some)]
    assert len(some) >= min(limit + offset, len(everything))
    assert len(some) == len(everything) or everything[len(some)][-1] > limit + offset


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t",
        "SELECT DISTINCT b FROM t ORDER BY a",  # which a of several decides is left open
        "SELECT id FROM t ORDER BY (SELECT count(*) FROM u WHERE t_id = t.id)",
        "SELECT id, rank() OVER (ORDER BY a) AS r FROM t ORDER BY r",
        "SELECT a AS b FROM t ORDER BY b || 'x'",  # the alias or the column?
        "SELECT * FROM t ORDER BY 2",
        "SELECT id FROM t ORDER BY ?",
        "SELECT id FROM t LIMIT 1 + 1",
        "SELECT id FROM t LIMIT (SELECT 1)",
        "SELECT id FROM t LIMIT ?",
        "SELECT id FROM t LIMIT 1.5",
        "SELECT id FROM t ORDER BY 9",
        "SELECT id FROM t ORDER BY a; SELECT 1",
        "VALUES (1), (2) LIMIT 1",
        "DELETE FROM t ORDER BY a LIMIT 1",
        "SELECT ORDER BY",
        "ORDER BY",
        "LIMIT",
        "SELECT 'order by",
    ],
)
def test_no_ranks_where_none_are_needed_or_certain(sql: str) -> None:
    assert plan_gold(sql).ranked is None


@pytest.mark.parametrize(
    ("sql", "dialect"),
    [
        ("SELECT DISTINCT ON (a) a, b FROM t ORDER BY a", "postgres"),
        ("SELECT a FROM t ORDER BY a FETCH FIRST 2 ROWS WITH TIES", "postgres"),
        ("FROM t ORDER BY a", "duckdb"),
        ("SELECT a FROM t GROUP BY ALL ORDER BY ALL", "duckdb"),
    ],
)
def test_other_databases_own_clauses_are_left_alone(sql: str, dialect: str) -> None:
    plan = plan_gold(sql, dialect)
    assert plan.ordered
    assert plan.ranked is None


@pytest.mark.parametrize(
    ("items", "columns", "decimals"),
    [
        ("a, b", 2, ()),
        ("round(a, 2), b", 2, (2, None)),
        ("round(a)", 1, (0,)),
        ("b, ROUND(avg(a), 1) AS r", 2, (None, 1)),
        ("(round(a, 3)) r", 1, (3,)),
        ("round(max(a, b), 2)", 1, (2,)),
        ("round(a, -1), round(a, id), round(a, 2) * 1.0, round(a, 1) + round(b, 1)", 4, ()),
        ("CAST(round(a, 2) AS TEXT), printf('%.2f', round(a, 2))", 2, ()),
        ("'round(a, 2)'", 1, ()),
        ("round(a, 2), *", 5, (2, None, None, None, None)),
        ("*, round(a, 2)", 5, (None, None, None, None, 2)),
        ("round(a, 1), t.*, b, t.*, round(a, 2)", 11, (1, *[None] * 9, 2)),
        ("round(a, 1), round(b, 1)", 1, ()),
    ],
)
def test_decimals(items: str, columns: int, decimals: tuple[int | None, ...]) -> None:
    assert plan_gold(f"SELECT {items} FROM t").decimals(columns) == decimals
    assert plan_gold(f"WITH w AS (SELECT round(1.25, 1)) SELECT DISTINCT {items} FROM t").decimals(columns) == decimals


def test_set_operations_round_where_all_their_parts_do() -> None:
    assert plan_gold("SELECT round(a, 1) FROM t UNION SELECT round(id, 1) FROM u").decimals(1) == (1,)
    assert plan_gold("SELECT round(a, 1) FROM t UNION SELECT id FROM u").decimals(1) == ()


WORDS = [
    "SELECT",
    "a",
    ",",
    "*",
    "(",
    ")",
    "FROM",
    "t",
    "ORDER",
    "BY",
    "LIMIT",
    "OFFSET",
    "1",
    "-",
    ";",
    "'",
    '"',
    "AS",
]


@given(st.lists(st.sampled_from([*WORDS, "UNION", "ROUND", "WITH", "DISTINCT", ".", "COLLATE", "NULLS", "FETCH"])))
def test_any_text_has_a_plan(words: list[str]) -> None:
    plan_gold(" ".join(words)).decimals(3)


def test_most_golds_are_planned_without_a_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    assert not plan_gold("SELECT no_parser FROM t WHERE a = 'x'").ordered
    with pytest.raises(ImportError):
        plan_gold("SELECT no_parser FROM t ORDER BY a")
