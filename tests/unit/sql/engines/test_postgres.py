"""Attacks on a real PostgreSQL, roles that are refused, passwords that stay hidden, and what cells come to."""

import json
import time
from pathlib import Path

import psycopg
import pytest

from slm.errors import DataError
from slm.sql.engines.postgres import PostgresEngine
from slm.sql.results import Refused

HERE = Path(__file__).parent
ATTACKS = [json.loads(line) for line in (HERE / "attacks_postgres.jsonl").read_text().splitlines()]
TIMEOUT_S = 1.0
TABLES = ("customer", "product", "purchase", "line")


def ask(engine, sql, max_rows=1000):
    return engine.query(sql, timeout_s=10, max_rows=max_rows)


@pytest.fixture
def engine(shop_postgres):
    opened = PostgresEngine(shop_postgres)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def long_lived(shop_postgres):
    """One engine that all attacks meet, as in a worker."""
    opened = PostgresEngine(shop_postgres)
    yield opened
    opened.close()


@pytest.fixture
def contents(server):
    """Reads, as the superuser, all that an attack might change."""

    def read():
        with psycopg.connect(server.admin("shop")) as connection:
            tables = [connection.execute(f"TABLE {table}").fetchall() for table in TABLES]
            relations = connection.execute("SELECT relname FROM pg_class ORDER BY 1").fetchall()
            state = connection.execute(
                "SELECT last_value, is_called, (SELECT COUNT(*) FROM pg_largeobject_metadata),"
                " (SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory') FROM counter"
            )
            return tables, relations, state.fetchall()

    return read


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["id"])
def test_attack_is_refused_in_time_and_the_next_query_is_right(attack, long_lived, contents):
    before = contents()
    start = time.monotonic()
    with pytest.raises(Refused) as refusal:
        long_lived.query(attack["sql"], timeout_s=TIMEOUT_S, max_rows=10_000)
    assert refusal.value.reason == attack["reason"], refusal.value.detail
    assert time.monotonic() - start < TIMEOUT_S + 1
    assert ask(long_lived, "SELECT COUNT(*), SUM(quantity) FROM line").rows == [(10, 45)]
    assert contents() == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "select 1 -- comment",
        "/* a /* nested */ comment */ SELECT 1;",
        "(SELECT 1)",
        "VALUES (1)",
        "WITH one AS (SELECT 1) TABLE one",
        "SELECT 1 UNION SELECT 1",
        "SELECT 1 WHERE '100%' LIKE '%\\%' AND 'set_config' <> ';'",
    ],
)
def test_queries_pass(engine, sql):
    assert ask(engine, sql).rows == [(1,)]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELEC 1", "syntax"),
        ("SELECT FROM FROM", "syntax"),
        ("SELECT 'open", "syntax"),
        ("", "no_sql"),
        (";;", "no_sql"),
        ("SELECT 1; SELECT 2", "multi_statement"),
        ("SELECT * FROM customers", "unknown_table"),
        ("SELECT x.name FROM customer", "unknown_table"),
        ("SELECT nam FROM customer", "unknown_column"),
        ("SELECT c.nam FROM customer c", "unknown_column"),
        ('SELECT id FROM purchase WHERE status = "paid"', "unknown_column"),
        ("SELECT id FROM customer, product", "ambiguous_column"),
        ("SELECT nothing_such(1)", "runtime_error"),
        ("SELECT CAST('x' AS INTEGER)", "runtime_error"),
        ("SELECT 1 / 0", "runtime_error"),
        ("SELECT name, COUNT(*) FROM customer", "runtime_error"),
        ("SELECT $1", "runtime_error"),
        pytest.param(f"SELECT {'+'.join(['1'] * 20_000)}", "runtime_error", id="too deep"),
    ],
)
def test_errors_have_reasons(engine, sql, reason):
    with pytest.raises(Refused) as refusal:
        ask(engine, sql)
    assert refusal.value.reason == reason


@pytest.mark.parametrize(
    ("expression", "cell"),
    [
        ("NULL", None),
        ("7", 7),
        ("TRUE", 1),
        ("170141183460469231731687303715884105727", 170141183460469231731687303715884105727),
        ("1.5::double precision", 1.5),
        ("0.1::double precision + 0.2", 0.1 + 0.2),
        ("1.50::numeric", 1.5),
        ("2.00::numeric", 2.0),
        ("-2::numeric(8, 0)", -2),
        ("'infinity'::numeric", float("inf")),
        ("10::numeric ^ 5000", float("inf")),
        ("'text'", "text"),
        ("'äö'", "äö"),
        ("'ab'::bytea", b"ab"),
        ("DATE '2020-01-31'", "2020-01-31"),
        ("TIMESTAMP '2020-01-31 10:00:00'", "2020-01-31 10:00:00"),
        ("TIMESTAMP '2020-01-31 10:00:00.5'", "2020-01-31 10:00:00.5"),
        ("TIMESTAMPTZ '2020-01-31 10:00:00+00'", "2020-01-31 10:00:00+00"),
        ("DATE 'infinity'", "infinity"),
        ("TIME '10:00:00'", "10:00:00"),
        ("UUID '00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
        ("ARRAY[1, NULL]", "{1,NULL}"),
        ("ROW(1, 'a')", "(1,a)"),
        ("""'{"a": 1}'::jsonb""", '{"a": 1}'),
        ("INTERVAL '1 day'", "1 day"),
        ("int4range(1, 3)", "[1,3)"),
    ],
)
def test_cells_are_plain(engine, expression, cell):
    ((found,),) = ask(engine, f"SELECT {expression}").rows
    assert (found, type(found)) == (cell, type(cell))


def test_labels_are_known_without_rows(engine):
    result = ask(engine, 'SELECT name AS "Who", city, city FROM customer WHERE FALSE')
    assert (result.labels, list(result.rows)) == (("Who", "city", "city"), [])


@pytest.mark.parametrize("max_rows", [5, 6])
def test_rows_above_the_limit_are_refused(engine, max_rows):
    if max_rows == 6:
        assert len(ask(engine, "SELECT * FROM customer", max_rows).rows) == 6
    else:
        with pytest.raises(Refused, match="too_many_rows"):
            ask(engine, "SELECT * FROM customer", max_rows)


def test_the_own_clock_bounds_what_the_server_does_not(engine, monkeypatch):
    """The server's limit is for each of a query's steps; here it never comes."""
    execute = engine._connection.execute
    monkeypatch.setattr(engine._connection, "execute", lambda sql: execute(sql.partition("; SET LOCAL")[0]))
    start = time.monotonic()
    with pytest.raises(Refused, match="timeout"):
        engine.query("SELECT pg_sleep(30)", timeout_s=0.3, max_rows=10)
    assert time.monotonic() - start < 1.3
    assert ask(engine, "SELECT 1").rows == [(1,)]


def test_a_session_that_another_ended_is_opened_again(engine, server):
    with psycopg.connect(server.admin("shop"), autocommit=True) as connection:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'slm_judge'"
        assert connection.execute(ended).fetchall()
    assert ask(engine, "SELECT 1").rows == [(1,)]


@pytest.mark.parametrize(
    ("grant", "power"),
    [
        ("ALTER ROLE strong SUPERUSER", "is a superuser"),
        ("ALTER ROLE strong REPLICATION", "may replicate"),
        ("ALTER ROLE strong CREATEROLE", "may create roles"),
        ("GRANT pg_read_server_files TO strong", "pg_read_server_files"),
        ("GRANT pg_write_server_files TO strong", "pg_write_server_files"),
        ("GRANT pg_execute_server_program TO strong", "pg_execute_server_program"),
        ("CREATE ROLE middle; GRANT pg_signal_backend TO middle; GRANT middle TO strong", "pg_signal_backend"),
    ],
)
def test_a_role_with_power_over_the_server_is_refused(server, grant, power):
    with psycopg.connect(server.admin(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE strong LOGIN PASSWORD 'hidden'; {grant}")
        try:
            with pytest.raises(DataError, match=f"too powerful.*{power}") as error:
                PostgresEngine(server.judge("postgres").replace("slm_judge", "strong"))
            assert "CREATE ROLE slm_judge" in str(error.value)
        finally:
            connection.execute("DROP ROLE strong; DROP ROLE IF EXISTS middle")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://someone:hunter2@/nowhere?host=/nonexistent",
        "postgresql://someone:hunter2@127.0.0.1:1/nowhere",
        "postgresql://someone:hunter2%zz@127.0.0.1:1/nowhere",
        "postgresql://someone:hunter2@x@127.0.0.1:1/nowhere",
        "postgresql://someone:x@hunter2@127.0.0.1:1/nowhere",
        "postgresql://someone:hunter2/x@127.0.0.1:1/nowhere",
        "postgresql://someone:x/hunter2@127.0.0.1:1/nowhere",
        "postgresql://someone:x?hunter2@127.0.0.1:1/nowhere",
        "postgresql://someone:x#hunter2@127.0.0.1:1/nowhere",
        "postgresql://someone@127.0.0.1:1/nowhere?password=hunter2",
        "host=/nonexistent password=hunter2",
        "host=/nonexistent password='hunter2",
        "hunter2",
    ],
)
def test_no_error_shows_the_password(dsn):
    with pytest.raises(DataError) as error:
        PostgresEngine(dsn)
    assert "hunter2" not in str(error.value) + repr(error.value)


def test_neither_engine_nor_refusal_shows_the_password(engine, server):
    with pytest.raises(Refused) as refusal:
        ask(engine, "SELECT * FROM pg_authid")
    for text in (repr(engine), str(engine), repr(refusal.value)):
        assert "correct" not in text
