"""The neighbours of a gold: each kind on a small gold, and what holds for all of them."""

import json
import os
from collections import Counter
from pathlib import Path

import apsw
import pytest
import sqlglot

from slm.sql.instances.mutate import CAP, RULES, mutants
from slm.sql.schema import Column, ForeignKey, Schema, Table, read_schema

SINGER = Table(
    "singer",
    (
        Column("id", "int"),
        Column("name", "text"),
        Column("country", "text"),
        Column("age", "int"),
        Column("net", "int"),
    ),
    ("id",),
)
SONG = Table(
    "song", (Column("id", "int"), Column("title", "text"), Column("singer_id", "int"), Column("sales", "real")), ("id",)
)
SCHEMA = Schema((SINGER, SONG), (ForeignKey("song", ("singer_id",), "singer", ("id",)),))

BY_SINGER = "SELECT a.name FROM singer AS a JOIN song AS b ON a.id = b.singer_id"
DUPLICATES = "SELECT name FROM singer"
INNER = "SELECT name FROM singer WHERE id IN (SELECT singer_id FROM song WHERE sales > 5)"
TOP = "SELECT name FROM singer ORDER BY age DESC LIMIT 1"
UNION = "SELECT name FROM singer UNION SELECT title FROM song"
EXCEPT = "SELECT id FROM singer EXCEPT SELECT singer_id FROM song"
GROUPED = "SELECT name, COUNT(*) FROM singer GROUP BY country HAVING COUNT(*) > 2"

CASES = [
    ("SELECT name FROM singer WHERE age > 20", "comparison_operator", "SELECT name FROM singer WHERE age >= 20"),
    ("SELECT name FROM singer WHERE age <= 20", "comparison_operator", "SELECT name FROM singer WHERE age < 20"),
    ("SELECT name FROM singer WHERE name = 'x'", "comparison_operator", "SELECT name FROM singer WHERE name <> 'x'"),
    (GROUPED, "comparison_operator", "SELECT name, COUNT(*) FROM singer GROUP BY country HAVING COUNT(*) >= 2"),
    (GROUPED, "constant", "SELECT name, COUNT(*) FROM singer GROUP BY country HAVING COUNT(*) > 3"),
    ("SELECT name FROM singer WHERE age > -1", "constant", "SELECT name FROM singer WHERE age > -2"),
    ("SELECT id FROM song WHERE sales < 1.25", "constant", "SELECT id FROM song WHERE sales < 1.26"),
    ("SELECT id FROM song WHERE title = '007'", "constant", "SELECT id FROM song WHERE title = '008'"),
    (
        "SELECT name FROM singer WHERE age BETWEEN 2 AND 5",
        "between_bounds",
        "SELECT name FROM singer WHERE age > 2 AND age < 5",
    ),
    (
        "SELECT name FROM singer WHERE NOT age BETWEEN 2 AND 5",
        "between_bounds",
        "SELECT name FROM singer WHERE NOT (age >= 2 AND age < 5)",
    ),
    (
        'SELECT name FROM singer WHERE country = "France"',
        "text_constant",
        "SELECT name FROM singer WHERE country = 'france'",
    ),
    ("SELECT id FROM song WHERE title = 'x'", "text_constant", "SELECT id FROM song WHERE title LIKE '%x%'"),
    ("SELECT id FROM song WHERE title LIKE '%x%'", "like_pattern", "SELECT id FROM song WHERE title LIKE 'x%'"),
    ("SELECT id FROM song WHERE title LIKE '%x%'", "like_pattern", "SELECT id FROM song WHERE title LIKE '%x'"),
    ("SELECT id FROM song WHERE title NOT LIKE '%x%'", "like_pattern", "SELECT id FROM song WHERE title <> 'x'"),
    (DUPLICATES, "distinct", "SELECT DISTINCT name FROM singer"),
    ("SELECT DISTINCT name FROM singer", "distinct", DUPLICATES),
    ("SELECT COUNT(name) FROM singer", "count_distinct", "SELECT COUNT(DISTINCT name) FROM singer"),
    ("SELECT COUNT(DISTINCT name) FROM singer", "count_distinct", "SELECT COUNT(name) FROM singer"),
    ("SELECT SUM(age) FROM singer", "aggregate", "SELECT COUNT(age) FROM singer"),
    ("SELECT MAX(age) FROM singer", "aggregate", "SELECT MIN(age) FROM singer"),
    ("SELECT COUNT(*) FROM singer", "aggregate", "SELECT COUNT(name) FROM singer"),
    ("SELECT COUNT(*) FROM singer", "aggregate", "SELECT COUNT(DISTINCT name) FROM singer"),
    ("SELECT COUNT(net) FROM singer", "aggregate", "SELECT SUM(net) FROM singer"),
    ("SELECT AVG(age) FROM singer", "aggregate_argument", "SELECT AVG(net) FROM singer"),
    ("SELECT MAX(age), MIN(net) FROM singer", "aggregates_swapped", "SELECT MAX(net), MIN(age) FROM singer"),
    (UNION, "set_operation", "SELECT name FROM singer UNION ALL SELECT title FROM song"),
    (EXCEPT, "set_operation", "SELECT id FROM singer INTERSECT SELECT singer_id FROM song"),
    (EXCEPT, "set_operand", "SELECT singer_id FROM song EXCEPT SELECT id FROM singer"),
    (EXCEPT, "set_operand", "SELECT id FROM singer"),
    (BY_SINGER, "join_kind", BY_SINGER.replace("JOIN", "LEFT JOIN")),
    (BY_SINGER.replace("JOIN", "LEFT JOIN"), "join_kind", BY_SINGER),
    (BY_SINGER, "join_key", BY_SINGER.replace("b.singer_id", "b.id")),
    (BY_SINGER, "join_dropped", "SELECT a.name FROM singer AS a"),
    (BY_SINGER.replace("a.name", "b.title"), "join_dropped", "SELECT b.title FROM song AS b"),
    (BY_SINGER, "join_condition_removed", "SELECT a.name FROM singer AS a INNER JOIN song AS b"),
    (
        "SELECT name FROM singer WHERE age > 1 AND net > 2",
        "connective",
        "SELECT name FROM singer WHERE age > 1 OR net > 2",
    ),
    (
        "SELECT name FROM singer WHERE age > 1 AND net > 2",
        "predicate_removed",
        "SELECT name FROM singer WHERE net > 2",
    ),
    ("SELECT name FROM singer WHERE net > 2", "predicate_removed", DUPLICATES),
    ("SELECT name FROM singer WHERE NOT (age > 1)", "negation", "SELECT name FROM singer WHERE (age > 1)"),
    ("SELECT id FROM song WHERE title LIKE 'x%'", "negation", "SELECT id FROM song WHERE title NOT LIKE 'x%'"),
    (INNER, "in_negation", INNER.replace("id IN", "NOT id IN")),
    (INNER.replace("id IN", "NOT id IN"), "in_negation", INNER),
    (INNER, "in_versus_equals", INNER.replace("IN", "=")),
    ("SELECT id FROM song WHERE id IN (1, 2)", "in_list", "SELECT id FROM song WHERE id IN (2)"),
    (
        "SELECT name FROM singer WHERE EXISTS(SELECT 1 FROM song)",
        "exists_negation",
        "SELECT name FROM singer WHERE NOT EXISTS(SELECT 1 FROM song)",
    ),
    ("SELECT id FROM song WHERE title IS NULL", "null_test", "SELECT id FROM song WHERE NOT title IS NULL"),
    ("SELECT id FROM song WHERE title IS NOT NULL", "null_test", "SELECT id FROM song WHERE title IS NULL"),
    (
        "SELECT id FROM song WHERE title <> 'x'",
        "null_included",
        "SELECT id FROM song WHERE (title <> 'x' OR title IS NULL)",
    ),
    (TOP, "null_excluded", "SELECT name FROM singer WHERE NOT age IS NULL ORDER BY age DESC LIMIT 1"),
    (GROUPED, "group_key", "SELECT name, COUNT(*) FROM singer GROUP BY name HAVING COUNT(*) > 2"),
    (GROUPED, "group_key", "SELECT name, COUNT(*) FROM singer GROUP BY country, name HAVING COUNT(*) > 2"),
    (
        "SELECT COUNT(*) FROM singer GROUP BY country, age",
        "group_key",
        "SELECT COUNT(*) FROM singer GROUP BY country",
    ),
    (GROUPED, "having_removed", "SELECT name, COUNT(*) FROM singer GROUP BY country"),
    (TOP, "order_direction", "SELECT name FROM singer ORDER BY age LIMIT 1"),
    (TOP, "order_key", "SELECT name FROM singer ORDER BY net DESC LIMIT 1"),
    ("SELECT name FROM singer ORDER BY age, net", "order_key", "SELECT name FROM singer ORDER BY age"),
    (TOP, "limit", "SELECT name FROM singer ORDER BY age DESC LIMIT 2"),
    (TOP, "limit", "SELECT name FROM singer ORDER BY age DESC"),
    (TOP, "extreme", "SELECT name FROM singer WHERE age = (SELECT MAX(age) FROM singer)"),
    ("SELECT name FROM singer WHERE age = (SELECT MAX(age) FROM singer)", "extreme", TOP),
    (DUPLICATES, "selected_column", "SELECT country FROM singer"),
    (
        "SELECT name FROM (SELECT name FROM singer) AS t",
        "selected_column",
        "SELECT name FROM (SELECT id AS name FROM singer) AS t",
    ),
    ("SELECT name FROM singer WHERE age > 1", "filter_column", "SELECT name FROM singer WHERE net > 1"),
    (INNER, "subquery_filter_removed", "SELECT name FROM singer WHERE id IN (SELECT singer_id FROM song)"),
    (
        INNER.replace("> 5", "> 5 ORDER BY sales LIMIT 3"),
        "subquery_unfiltered",
        "SELECT name FROM singer WHERE id IN (SELECT singer_id FROM song)",
    ),
]
GOLDS = sorted({gold for gold, _, _ in CASES})


@pytest.mark.parametrize(("gold", "kind", "expected"), CASES)
def test_a_kind_of_mistake(gold: str, kind: str, expected: str) -> None:
    assert expected in {mutant.sql for mutant in mutants(gold, SCHEMA) if mutant.kind == kind}


def test_every_kind_has_a_case() -> None:
    assert {kind for _, kind, _ in CASES} == set(RULES)


@pytest.mark.parametrize("gold", GOLDS)
def test_mutants_run_and_differ(gold: str) -> None:
    database = apsw.Connection(":memory:")
    for table in SCHEMA.tables:
        database.execute(f"CREATE TABLE {table.name}({', '.join(c.name + ' ' + c.type for c in table.columns)})")
    found = mutants(gold, SCHEMA)
    assert found == mutants(gold, SCHEMA)
    assert 0 < len(found) <= CAP
    texts = [mutant.sql for mutant in found]
    assert len(set(texts)) == len(texts)
    original = sqlglot.parse_one(gold, read="sqlite")
    for text in texts:
        assert sqlglot.parse_one(text, read="sqlite") != original
        database.execute(text).fetchall()


@pytest.mark.parametrize(
    ("gold", "absent"),
    [
        ("SELECT id FROM singer", "SELECT DISTINCT id FROM singer"),
        ("SELECT COUNT(id) FROM singer", "SELECT COUNT(DISTINCT id) FROM singer"),
        (INNER, INNER.replace("SELECT singer_id", "SELECT DISTINCT singer_id")),
        ("SELECT name FROM singer WHERE id > 1", "SELECT name FROM singer WHERE (id > 1 OR id IS NULL)"),
        ("SELECT country FROM singer GROUP BY country", "SELECT DISTINCT country FROM singer GROUP BY country"),
    ],
)
def test_a_change_that_means_the_same_is_left_out(gold: str, absent: str) -> None:
    texts = {mutant.sql for mutant in mutants(gold, SCHEMA)}
    assert texts
    assert absent not in texts


@pytest.mark.parametrize(
    "gold",
    [
        "SELECT name FROM",
        "DELETE FROM singer",
        "SELECT CAST(age AS NUMERIC) / 2 FROM singer",
        "SELECT CAST(name AS DATE) FROM singer",
    ],
    ids=["no query", "no select", "a cast printed as REAL", "a cast printed as a function"],
)
def test_a_gold_that_does_not_survive_printing_has_no_mutants(gold: str) -> None:
    assert mutants(gold, SCHEMA) == []


@pytest.mark.parametrize(
    "gold",
    [
        "select Name from singer where age!=.5 and age == 1 limit 2, 3; -- comment",
        "SELECT IFNULL(name, 'x'), SUBSTR(name, 1, 2), CAST(age AS FLOAT) FROM singer",
        "SELECT a.name FROM singer a JOIN song WHERE a.id = singer_id",
        "SELECT a.name FROM singer a, song b WHERE a.id = b.singer_id",
        "SELECT `name` FROM [singer] WHERE name = 'It''s'",
    ],
)
def test_other_spellings_of_the_same_survive_printing(gold: str) -> None:
    assert mutants(gold, SCHEMA)


def test_the_cap_keeps_every_kind() -> None:
    predicates = " AND ".join(f"a.age > {n} AND a.name <> 'x{n}' AND b.sales < {n}.5" for n in range(20))
    gold = f"{BY_SINGER} WHERE {predicates} GROUP BY a.country HAVING COUNT(*) > 2 ORDER BY a.age LIMIT 3"
    found = Counter(mutant.kind for mutant in mutants(gold, SCHEMA))
    assert found.total() == CAP
    assert {"limit", "having_removed", "order_key", "join_condition_removed", "filter_column"} <= set(found)
    assert max(found.values()) <= 5


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [("postgres", 'SELECT t."Name" FROM t ORDER BY t.b DESC'), ("duckdb", "SELECT t.Name FROM t ORDER BY t.b DESC")],
)
def test_other_dialects_quote_names_as_they_must(dialect: str, expected: str) -> None:
    schema = Schema((Table("t", (Column("a", "text"), Column("Name", "text"), Column("b", "int")), ()),), ())
    assert expected in {m.sql for m in mutants("SELECT t.a FROM t ORDER BY t.b DESC", schema, dialect)}


@pytest.mark.skipif("SLM_DATA" not in os.environ, reason="needs Spider in SLM_DATA")
def test_mutants_of_real_golds_prepare() -> None:
    folder = Path(os.environ["SLM_DATA"]) / "spider"
    pairs = sorted({(item["db_id"], item["query"]) for item in map(json.loads, (folder / "dev.jsonl").open())})[::5]
    prepared = failed = 0
    for name, gold in pairs:
        file = folder / "database" / name / f"{name}.sqlite"
        if not file.is_file():
            continue
        database = apsw.Connection(
            f"{file.absolute().as_uri()}?mode=ro&immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        found = mutants(gold, read_schema(file))
        assert found, gold
        for mutant in found:
            try:
                database.execute(f"EXPLAIN {mutant.sql}")
                prepared += 1
            except apsw.SQLError:
                failed += 1
    assert prepared >= 0.99 * (prepared + failed) > 0
