"""The text of queries is changed as the test-suite script changes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.compare import scripts

# Not `#`: SQLite knows no such character, and sqlparse's keywords end before it where other words go on.
PIECES = [
    "distinct",
    "DISTINCT",
    " ",
    " ",
    "\n",
    "'",
    '"',
    "`",
    "''",
    '""',
    "\\",
    "(",
    ")",
    ";",
    "--",
    "--+",
    "/*",
    "*/",
]
PIECES += [
    "x",
    "a.b",
    "select",
    "[",
    "]",
    "+",
    "-",
    "*",
    "/",
    ":",
    "%",
    "|",
    "\r\n",
    "é",
    "count(distinct x)",
    "=",
    ",",
]


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("SELECT DISTINCT a FROM t", "SELECT  a FROM t"),
        ("SELECT count(DISTINCT a) FROM t", "SELECT count( a) FROM t"),
        ("SELECT distinct_a FROM t", "SELECT distinct_a FROM t"),
        ("SELECT 'distinct' FROM t", "SELECT 'distinct' FROM t"),
        ("SELECT 'it''s distinct' FROM t", "SELECT 'it''s distinct' FROM t"),
        (r"SELECT 'a\' distinct '", r"SELECT 'a\' distinct '"),
        (r"SELECT DISTINCT a LIKE 'a\'", r"SELECT  a LIKE 'a\'"),
        ('SELECT "distinct", `distinct`, [distinct] FROM t', 'SELECT "distinct", `distinct`, [distinct] FROM t'),
        ("SELECT t.distinct FROM t", "SELECT t. FROM t"),
        ("SELECT a IS DISTINCT FROM b", "SELECT a IS  FROM b"),
        ("SELECT a -- distinct\nFROM t", "SELECT a -- distinct\nFROM t"),
        ("SELECT /* distinct */ DISTINCT a", "SELECT /* distinct */  a"),
        ("SELECT 1; SELECT DISTINCT 2", "SELECT 1; "),
        ("SELECT ';' ; DROP TABLE t", "SELECT ';' ; "),
        ("SELECT 1; -- done\nSELECT 2", "SELECT 1; -- done\n"),
        ("SELECT 1;\n", "SELECT 1;"),
        ("SELECT 1;", "SELECT 1;"),
        ("SELECT 'open distinct", "SELECT 'open "),
        ("", ""),
    ],
)
def test_distinct_is_removed_from_the_first_statement(sql: str, changed: str) -> None:
    assert scripts.without_distinct(sql) == changed


@pytest.mark.parametrize(
    ("sql", "changed"),
    [
        ("SELECT a FROM t WHERE a > = 1 AND b < = 2 AND c ! = 3", "SELECT a FROM t WHERE a >= 1 AND b <= 2 AND c != 3"),
        ("SELECT 'a > = b'", "SELECT 'a >= b'"),
        ("SELECT year ( CurDate()) - y", "SELECT 2020- y"),
        ("SELECT YEAR(CURDATE()), YEAR(d)", "SELECT 2020, YEAR(d)"),
        ("SELECT DISTINCT YEAR(CURDATE())", "SELECT  2020"),
    ],
)
def test_operators_and_the_year_are_rewritten(sql: str, changed: str) -> None:
    assert scripts.test_suite_sql(sql) == changed


def test_a_query_without_any_of_these_stays_the_same_object() -> None:
    sql = "SELECT name FROM singer WHERE age >= 20 ORDER BY age;"
    assert scripts.test_suite_sql(sql) is sql


@pytest.mark.parametrize(
    ("gold", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("SELECT a FROM t order by a", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", True),
        ("SELECT 'order by'", True),
        ("SELECT a FROM t ORDER  BY a", False),
        ("SELECT a FROM t", False),
    ],
)
def test_order_counts_where_the_text_says_order_by(gold: str, ordered: bool) -> None:
    assert scripts.test_suite_ordered(gold) is ordered


@pytest.mark.parametrize(
    ("line", "read"),
    [("SELECT a\tworld_1\n", "SELECT a"), (" SELECT a ", "SELECT a"), ("SELECT value FROM t", "SELECT 1 FROM t")],
)
def test_a_line_of_a_file(line: str, read: str) -> None:
    assert scripts.test_suite_line(line) == read


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).map("".join).filter(str.strip))
def test_distinct_is_removed_as_by_sqlparse(sql: str) -> None:
    sqlparse = pytest.importorskip("sqlparse", reason="only this comparison needs sqlparse")
    tokens = [token.value for token in sqlparse.parse(sql)[0].flatten()]
    assert scripts.without_distinct(sql) == "".join(token for token in tokens if token.lower() != "distinct")
