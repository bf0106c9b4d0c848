"""The query in an answer is found, whatever stands around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql import extract_sql

QUERIES = [
    "SELECT count(*) FROM singer",
    "SELECT name FROM t WHERE note = 'a; b' AND x <> \"it's\"",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "VALUES (1), (2)",
    "SELECT a\nFROM t -- first; second\nWHERE b = 1",
    "SELECT a\n\nFROM t",
    "SELECT selected, with_tax FROM values_of_all",
    "SELECT `a b` FROM [t u]",
    "SELECT a FROM t UNION SELECT b FROM u ORDER BY 1",
]
SURROUNDINGS = [
    "{}",
    "  {} ;\n",
    "SQL: {}",
    "```sql\n{}\n```",
    "```\n{};\n```",
    "```sqlite\n{}",
    "Here's the query with all that you need:\n\n```sql\n{}\n```\n\nIt doesn't select more.",
    "I'd count them.\nAnswer: {}",
    "{};\nThis isn't hard: select what you need with care.",
    "{}\n\nExplanation: it's what's asked; nothing else.",
]


@pytest.mark.parametrize("surrounding", SURROUNDINGS)
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_found_in_prose(query: str, surrounding: str) -> None:
    assert extract_sql(surrounding.format(query)) == query


@pytest.mark.parametrize(
    ("answer", "sql"),
    [
        ("", ""),
        ("I don't know.", ""),
        ("The answer is `SELECT count(*) FROM t`.", "SELECT count(*) FROM t"),
        ("SELECT a FROM t; SELECT b FROM t", "SELECT a FROM t"),
        ("With joins, we get: SELECT a FROM t JOIN u", "SELECT a FROM t JOIN u"),
        ("```python\nprint(1)\n```\n```sql\nSELECT 1\n```", "SELECT 1"),
        ("SELECT a FROM t\nThis gives the names.", "SELECT a FROM t"),
        ("İstanbul: SELECT 1", "SELECT 1"),
        ("SELECT FROM WHERE", "SELECT FROM WHERE"),
        ("SELECT 'never closed FROM t", "SELECT 'never closed FROM t"),
        ("DROP TABLE t; SELECT 1", "DROP TABLE t"),
        ("PRAGMA query_only = 0", "PRAGMA query_only = 0"),
        ("```sql\nDELETE FROM t\n```", "DELETE FROM t"),
    ],
)
def test_answers(answer: str, sql: str) -> None:
    assert extract_sql(answer) == sql


@given(st.text(alphabet="SELECT with'\"`;-\n()*,.1aİ", max_size=60))
def test_any_text_is_answered(text: str) -> None:
    found = extract_sql(text)
    assert found in text
    assert extract_sql(found) == found
