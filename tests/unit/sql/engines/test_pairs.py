"""The same pairs on three engines: each query runs or fails as the file says, and plain rows are equal as it says."""

import json
from pathlib import Path

import psycopg
import pytest
import sqlglot

from load import into_postgres
from slm.sql.engines.duckdb import DuckdbEngine
from slm.sql.engines.postgres import PostgresEngine
from slm.sql.engines.sqlite import SqliteEngine, database_uri
from slm.sql.results import Refused

HERE = Path(__file__).parent
PAIRS = [json.loads(line) for line in (HERE / "pairs.jsonl").read_text().splitlines()]
ENGINES = ("sqlite", "duckdb", "postgres")


@pytest.fixture(scope="module")
def engines(request, shop_sqlite, shop_duckdb):
    """By name; PostgreSQL is started only when it is asked for."""
    opened = {}

    def engine(name):
        if name not in opened:
            opened[name] = {
                "sqlite": lambda: SqliteEngine(database_uri(shop_sqlite)),
                "duckdb": lambda: DuckdbEngine(str(shop_duckdb)),
                "postgres": lambda: PostgresEngine(request.getfixturevalue("shop_postgres")),
            }[name]()
        return opened[name]

    yield engine
    for each in opened.values():
        each.close()


def rows(engine, sql):
    """The rows with numbers rounded; None where the query is refused."""
    try:
        found = engine.query(sql, timeout_s=10, max_rows=1000).rows
    except Refused:
        return None
    return [tuple(round(cell, 6) if isinstance(cell, float) else cell for cell in row) for row in found]


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["id"])
def test_pair_is_equal_on_each_engine_as_the_file_says(pair, name, engines):
    gold, prediction = rows(engines(name), pair["gold"]), rows(engines(name), pair["pred"])
    expected = pair.get("differs", {}).get(name, pair)["correct"]
    if gold is None or prediction is None:
        assert expected == (None if gold is None else False)
        return
    if not sqlglot.parse_one(pair["gold"], read="sqlite").args.get("order"):
        gold, prediction = sorted(gold, key=repr), sorted(prediction, key=repr)
    assert (gold == prediction) == expected
    assert gold, "a pair whose gold returns nothing shows nothing"


def test_the_pairs_file_is_whole():
    assert len({pair["id"] for pair in PAIRS}) == len(PAIRS) == 50
    for pair in PAIRS:
        for name, difference in pair.get("differs", {}).items():
            assert name in ENGINES
            assert difference["correct"] is not pair["correct"]
            assert difference["why"]


@pytest.mark.parametrize("table", ["customer", "product", "purchase", "line"])
def test_copies_hold_the_same_rows(table, engines, server, shop_sqlite):
    with psycopg.connect(server.admin(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS copied")
    dsn = server.create("copied")
    into_postgres(shop_sqlite, server.admin("copied"))
    with psycopg.connect(server.admin("copied")) as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO slm_judge")
    copied = PostgresEngine(dsn)
    found = [sorted(rows(each, f"SELECT * FROM {table}"), key=repr) for each in map(engines, ENGINES)]
    found.append(sorted(rows(copied, f"SELECT * FROM {table}"), key=repr))
    copied.close()
    assert all(each == found[0] for each in found)
