"""Near misses are told apart by strict instances, and rewrites that mean the same by none."""

import json
import os
import time
from pathlib import Path

import apsw
import pytest

from slm.sql.compare import matches
from slm.sql.engines.sqlite import SqliteEngine
from slm.sql.golds import expect, plan_gold
from slm.sql.instances import Constraints, Instance, InstanceSet, build, decode, encode, mine, top_up
from slm.sql.results import Refused
from slm.sql.schema import Schema, read_schema

SCHEMA = """
CREATE TABLE stadium(id INTEGER PRIMARY KEY, name TEXT, capacity INTEGER);
CREATE TABLE concert(id INTEGER PRIMARY KEY, theme TEXT, year INTEGER, stadium_id INTEGER REFERENCES stadium(id));
CREATE TABLE ticket(id INTEGER PRIMARY KEY, concert_id INTEGER NOT NULL REFERENCES concert(id), price REAL,
  class TEXT, seat INTEGER);
"""
Shop = tuple[apsw.Connection, Schema, Constraints]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    path: Path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute(SCHEMA)
    with connection:
        connection.executemany(
            "INSERT INTO stadium VALUES(?, ?, ?)",
            [(1, "Arena", 5000), (2, "Park", 800), (3, "Dome", 5100), (4, "Hill", 90)],
        )
        concerts = [(i, ("Rock", "Jazz", "Folk")[i % 3], 2010 + i % 5, 1 + i % 3) for i in range(1, 9)]
        connection.executemany("INSERT INTO concert VALUES(?, ?, ?, ?)", concerts)
        tickets = [(i, 1 + i % 8, i % 7 * 2.5, ("front", "middle", "back")[i % 3], 1 + i % 40) for i in range(60)]
        connection.executemany("INSERT INTO ticket VALUES(?, ?, ?, ?, ?)", tickets)
    schema = read_schema(path)
    return connection, schema, mine(connection, schema)


def built(shop: Shop, gold: str, *, seed: int = 0, count: int = 16) -> InstanceSet:
    connection, schema, constraints = shop
    deadline = time.monotonic() + 60
    return build(connection, schema, gold, constraints=constraints, count=count, seed=seed, deadline=deadline)


def separates(instance: Instance, gold: str, prediction: str) -> bool:
    engine, plan = SqliteEngine(instance.image), plan_gold(gold)
    ranked = None
    if plan.ranked:
        ranked = engine.query(plan.ranked, timeout_s=5, max_rows=10_000).rows
    expected, _ = expect(plan, engine.query(gold, timeout_s=5, max_rows=10_000), ranked)
    return not matches(expected, engine.query(prediction, timeout_s=5, max_rows=10_000), None)


NEAR_MISSES = [
    ("SELECT name FROM stadium WHERE capacity > 1000", "SELECT name FROM stadium WHERE capacity >= 1000"),
    ("SELECT count(*) FROM stadium", "SELECT count(name) FROM stadium"),
    (
        "SELECT name FROM stadium ORDER BY capacity DESC LIMIT 1",
        "SELECT name FROM stadium WHERE capacity = (SELECT max(capacity) FROM stadium)",
    ),
    (
        "SELECT s.name, count(*) FROM stadium AS s JOIN concert AS c ON s.id = c.stadium_id GROUP BY s.id",
        "SELECT s.name, count(c.id) FROM stadium AS s LEFT JOIN concert AS c ON s.id = c.stadium_id GROUP BY s.id",
    ),
    ("SELECT DISTINCT theme FROM concert", "SELECT theme FROM concert"),
    (
        "SELECT id FROM concert WHERE year > 2011 AND theme = 'Rock'",
        "SELECT id FROM concert WHERE year > 2011 OR theme = 'Rock'",
    ),
    (
        "SELECT name FROM stadium WHERE id NOT IN (SELECT stadium_id FROM concert WHERE stadium_id IS NOT NULL)",
        "SELECT name FROM stadium EXCEPT SELECT s.name FROM concert AS c JOIN stadium AS s ON c.stadium_id = s.id",
    ),
    (
        "SELECT stadium_id FROM concert GROUP BY stadium_id HAVING count(*) >= 3",
        "SELECT stadium_id FROM concert GROUP BY stadium_id HAVING count(*) > 3",
    ),
    ("SELECT avg(capacity) FROM stadium", "SELECT sum(capacity) / count(*) FROM stadium"),
    ("SELECT name FROM stadium", "SELECT s.name FROM stadium AS s JOIN concert AS c ON s.id = c.stadium_id"),
    ("SELECT max(price) FROM ticket", "SELECT max(price) FROM ticket WHERE class = 'front'"),
    ("SELECT count(*) FROM ticket WHERE price > 5", "SELECT count(*) FROM ticket WHERE price > 5 AND class <> 'back'"),
]

SAME = [
    (
        "SELECT theme FROM concert WHERE id IN (SELECT concert_id FROM ticket)",
        "SELECT theme FROM concert AS c WHERE EXISTS (SELECT 1 FROM ticket AS t WHERE t.concert_id = c.id)",
    ),
    (
        "SELECT s.name, c.theme FROM stadium AS s JOIN concert AS c ON s.id = c.stadium_id",
        "SELECT s.name, c.theme FROM concert AS c JOIN stadium AS s ON c.stadium_id = s.id",
    ),
    (
        "SELECT name FROM stadium WHERE capacity BETWEEN 500 AND 900",
        "SELECT name FROM stadium WHERE capacity >= 500 AND capacity <= 900",
    ),
    ("SELECT price FROM ticket", "SELECT price FROM ticket AS t JOIN concert AS c ON t.concert_id = c.id"),
    ("SELECT count(*) FROM stadium", "SELECT count(id) FROM stadium"),
    (
        "SELECT t.id FROM ticket AS t JOIN concert AS c ON t.concert_id = c.id WHERE c.theme = 'Jazz'",
        "SELECT id FROM ticket WHERE concert_id IN (SELECT id FROM concert WHERE theme = 'Jazz')",
    ),
    ("SELECT name FROM stadium WHERE capacity > 2", "SELECT name FROM stadium WHERE capacity >= 3"),
    ("SELECT count(*) FROM ticket", "SELECT count(class) FROM ticket"),
    ("SELECT id FROM ticket WHERE class = 'front'", "SELECT id FROM ticket WHERE class NOT IN ('middle', 'back')"),
    ("SELECT id FROM ticket WHERE class = 'front'", "SELECT id FROM ticket WHERE class LIKE 'FRONT'"),
    ("SELECT id FROM ticket WHERE seat > 30", "SELECT id FROM ticket WHERE seat > 30 AND seat <= 40"),
]


@pytest.mark.parametrize(("gold", "prediction"), NEAR_MISSES)
def test_near_misses_are_told_apart(shop: Shop, gold: str, prediction: str) -> None:
    strict = [instance for instance in built(shop, gold).instances if instance.strict]
    assert any(separates(instance, gold, prediction) for instance in strict)


@pytest.mark.parametrize("seed", [0, 1000, 2000])
@pytest.mark.parametrize(("gold", "prediction"), SAME)
def test_equal_queries_are_not_told_apart(shop: Shop, gold: str, prediction: str, seed: int) -> None:
    extra = top_up(shop[2], gold, prediction, seed=seed)
    strict = [instance for instance in (*built(shop, gold, seed=seed).instances, *extra) if instance.strict]
    assert len(strict) >= 16
    assert not any(separates(instance, gold, prediction) for instance in strict)


def test_a_set_holds_what_was_asked_for(shop: Shop) -> None:
    found = built(shop, "SELECT theme FROM concert WHERE year > 2011", count=8)
    strict = [instance for instance in found.instances if instance.strict]
    assert (len(strict), len(found.instances)) == (8, 10)
    assert [instance.strict for instance in found.instances] == [True] * 8 + [False] * 2
    assert len({instance.kind for instance in strict}) >= 4
    assert found.mutants > 5
    assert found.killed / found.mutants > 0.7
    assert found.killed + found.fragile_killed + len(found.survivors) == found.mutants
    filled = [bool(list(_run(instance, "SELECT theme FROM concert WHERE year > 2011"))) for instance in strict]
    assert sum(filled) >= 4


def _run(instance: Instance, sql: str) -> list[tuple[object, ...]]:
    return list(SqliteEngine(instance.image).query(sql, timeout_s=5, max_rows=1000).rows)


def test_same_arguments_same_instances(shop: Shop) -> None:
    gold = "SELECT theme FROM concert WHERE year > 2011"
    assert built(shop, gold) == built(shop, gold)
    assert built(shop, gold) != built(shop, gold, seed=500)


def test_a_set_survives_storage(shop: Shop) -> None:
    found = built(shop, "SELECT name FROM stadium ORDER BY capacity LIMIT 2", count=4)
    assert decode(encode(found)) == found


@pytest.mark.parametrize("gold", ["SELECT nothing FROM stadium", "SELECT ((", "DELETE FROM stadium"])
def test_a_gold_that_fails_has_no_instances(shop: Shop, gold: str) -> None:
    assert built(shop, gold).instances == ()


def test_a_result_that_hangs_on_scan_order_is_not_kept(shop: Shop) -> None:
    gold = "SELECT group_concat(theme) FROM concert"
    for instance in built(shop, gold).instances:
        engine = SqliteEngine(instance.image)
        first = engine.query(gold, timeout_s=5, max_rows=10).rows
        engine.reverse(True)
        assert engine.query(gold, timeout_s=5, max_rows=10).rows == first


def test_text_in_double_quotes_only_where_it_may_be(shop: Shop) -> None:
    connection, schema, constraints = shop
    gold = 'SELECT id FROM concert WHERE theme = "Rock"'
    assert built(shop, gold).instances == ()
    deadline = time.monotonic() + 60
    found = build(connection, schema, gold, constraints=constraints, deadline=deadline, double_quoted_text=True)
    assert len(found.instances) == 20


def test_nothing_is_made_after_the_deadline(shop: Shop) -> None:
    connection, schema, constraints = shop
    found = build(connection, schema, "SELECT id FROM concert", constraints=constraints, deadline=time.monotonic() - 1)
    assert found == InstanceSet((), 0, 0, 0)


def test_top_up_uses_the_prediction(shop: Shop) -> None:
    gold = "SELECT count(*) FROM ticket"
    assert top_up(shop[2], gold, gold) == []
    (*_, last) = top_up(shop[2], gold, "SELECT count(*) FROM ticket WHERE seat <> 17")
    assert last.strict
    assert separates(last, gold, "SELECT count(*) FROM ticket WHERE seat <> 17")


@pytest.mark.parametrize(
    ("gold", "prediction"),
    [
        ("SELECT count(*) FROM play WHERE day LIKE '2022%'", "SELECT count(*) FROM play WHERE day < '2023-01-01'"),
        ("SELECT count(*) FROM play WHERE strftime('%Y', day) = '2022'", "SELECT count(*) FROM play"),
        ("SELECT id FROM play WHERE strftime('%m', day) = '03'", "SELECT id FROM play WHERE day LIKE '2022-03%'"),
        (
            "SELECT sum(sold) FROM play GROUP BY strftime('%m', day)",
            "SELECT sum(sold) FROM play GROUP BY strftime('%Y-%m', day)",
        ),
        ("SELECT id FROM play WHERE start < '12:00'", "SELECT id FROM play WHERE start <= '11:00'"),
        ("SELECT id FROM play WHERE length(title) > 4", "SELECT id FROM play WHERE length(title) > 5"),
        ("SELECT id FROM play WHERE title = 'The Hen'", "SELECT id FROM play WHERE title LIKE '%hen%'"),
        ("SELECT id FROM play WHERE title > 'M'", "SELECT id FROM play WHERE title > 'M' AND title <> 'Ma'"),
        ("SELECT id FROM play WHERE title = 'Fox'", "SELECT id FROM play WHERE title >= 'Fox' AND title < 'Hen'"),
        ("SELECT count(*) FROM play", "SELECT count(*) FROM play WHERE sold > 3"),
        ("SELECT count(*) FROM play", "SELECT count(*) FROM play WHERE title <> 'The Ox'"),
        ("SELECT count(code) FROM play WHERE sold = 9", "SELECT count(*) FROM play WHERE sold = 9"),
    ],
)
def test_few_rows_show_little_of_what_there_may_be(tmp_path: Path, gold: str, prediction: str) -> None:
    connection, schema, constraints = _few_rows(tmp_path)
    deadline = time.monotonic() + 60
    made = build(connection, schema, gold, constraints=constraints, deadline=deadline).instances
    strict = [one for one in (*made, *top_up(constraints, gold, prediction)) if one.strict]
    assert any(separates(instance, gold, prediction) for instance in strict)


@pytest.mark.parametrize(
    ("gold", "prediction"),
    [
        (
            "SELECT id FROM play WHERE start < '12:00'",
            "SELECT id FROM play WHERE CAST(substr(start, 1, 2) AS INT) <= 11",
        ),
        ("SELECT id FROM play WHERE day LIKE '2022%'", "SELECT id FROM play WHERE substr(day, 1, 4) = '2022'"),
        ("SELECT id FROM play WHERE title = 'The Hen'", "SELECT id FROM play WHERE lower(title) = 'the hen'"),
        ("SELECT id FROM play WHERE length(title) > 4", "SELECT id FROM play WHERE title LIKE '_____%'"),
    ],
)
def test_values_are_written_as_the_column_writes_them(tmp_path: Path, gold: str, prediction: str) -> None:
    connection, schema, constraints = _few_rows(tmp_path)
    deadline = time.monotonic() + 60
    made = build(connection, schema, gold, constraints=constraints, deadline=deadline).instances
    strict = [one for one in (*made, *top_up(constraints, gold, prediction)) if one.strict]
    assert strict
    assert not any(separates(instance, gold, prediction) for instance in strict)


def _few_rows(folder: Path) -> Shop:
    connection = apsw.Connection(str(folder / "few.sqlite"))
    connection.execute(
        "CREATE TABLE play(id INTEGER PRIMARY KEY, title TEXT NOT NULL, day DATE NOT NULL, start TIME NOT NULL,"
        " sold INTEGER NOT NULL, code TEXT UNIQUE);"
        "INSERT INTO play VALUES (1, 'The Hen', '2022-03-01', '09:30', 9, 'a'),"
        " (2, 'Fox', '2022-03-09', '11:00', 7, 'b'),"
        " (3, 'Mouse Trap', '2022-05-01', '20:15', 9, 'c')"
    )
    schema = read_schema(folder / "few.sqlite")
    return connection, schema, mine(connection, schema)


def test_a_foreign_text_of_the_prediction_makes_a_fragile_instance(shop: Shop) -> None:
    gold, prediction = "SELECT id FROM ticket", "SELECT id FROM ticket WHERE class <> 'balcony'"
    found = top_up(shop[2], gold, prediction)
    assert [separates(instance, gold, prediction) for instance in found if instance.strict].count(True) == 0
    assert any(separates(instance, gold, prediction) for instance in found if not instance.strict)


def test_spider_golds() -> None:
    """On real golds, most mutants are told apart, and quickly."""
    if not (folder := os.environ.get("SLM_DATA")):
        pytest.skip("SLM_DATA names no folder with Spider")
    root = Path(folder) / "spider"
    lines = (root / "dev.jsonl").read_text().splitlines()[::97]
    killed = mutants = 0
    for line in lines:
        example = json.loads(line)
        path = root / "database" / example["db_id"] / f"{example['db_id']}.sqlite"
        if not path.is_file():
            continue
        connection, schema = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY), read_schema(path)
        deadline = time.monotonic() + 30
        try:
            found = build(connection, schema, example["query"], deadline=deadline, double_quoted_text=True)
        except Refused as refusal:
            pytest.fail(str(refusal))
        killed, mutants = killed + found.killed, mutants + found.mutants
    assert killed > 0.7 * mutants > 0
