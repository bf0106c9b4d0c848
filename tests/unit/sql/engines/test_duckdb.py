"""Attacks on DuckDB under a worker's limits, and what its queries, errors and cells come to."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from slm.errors import DataError
from slm.sql.engines.duckdb import DuckdbEngine
from slm.sql.results import Refused

HERE = Path(__file__).parent
ATTACKS = [json.loads(line) for line in (HERE / "attacks_duckdb.jsonl").read_text().splitlines()]
TIMEOUT_S = 1.0
# Runs attacks as a worker would: 384 MiB of data, no file longer than 0 bytes. One JSON line for each, then the memory.
ATTACKED = """
import json, resource, sys, time
from slm.sql.engines.duckdb import DuckdbEngine
from slm.sql.results import Refused
resource.setrlimit(resource.RLIMIT_DATA, (384 << 20, 384 << 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
engine = DuckdbEngine(sys.argv[1])
secret_rows = [(1,)]
for line in open(sys.argv[2]):
    attack = json.loads(line)
    start = time.monotonic()
    try:
        reason = "ran: " + str(engine.query(attack["sql"], timeout_s=float(sys.argv[3]), max_rows=10_000).rows[:1])
    except Refused as refused:
        reason = refused.reason
    seconds = time.monotonic() - start
    after = engine.query("SELECT COUNT(*), SUM(quantity) FROM line", timeout_s=5, max_rows=10).rows
    print(json.dumps([attack["id"], reason, seconds, after]), flush=True)
# Not getrusage: its peak is inherited from the process that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def ask(engine, sql, max_rows=1000):
    return engine.query(sql, timeout_s=10, max_rows=max_rows)


@pytest.fixture(scope="module")
def engine(shop_duckdb):
    opened = DuckdbEngine(str(shop_duckdb))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def attacked(shop_duckdb, tmp_path_factory):
    """What each attack came to, the peak of memory in KiB, and the files' digests before and after."""
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in shop_duckdb.parent.iterdir()}
    command = [sys.executable, "-c", ATTACKED, shop_duckdb, HERE / "attacks_duckdb.jsonl", str(TIMEOUT_S)]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=elsewhere, check=False)
    assert done.returncode == 0, done.stderr
    *lines, memory = done.stdout.splitlines()
    after = {path: hashlib.sha256(path.read_bytes()).digest() for path in shop_duckdb.parent.iterdir()}
    assert not list(elsewhere.iterdir())
    return {json.loads(line)[0]: json.loads(line)[1:] for line in lines}, int(memory), before, after


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack["id"])
def test_attack_is_refused_in_time_and_the_next_query_is_right(attack, attacked):
    reason, seconds, after = attacked[0][attack["id"]]
    assert reason == attack["reason"]
    assert seconds < TIMEOUT_S + 1
    assert after == [[10, 45]]


def test_attacks_leave_memory_bounded_and_files_as_they_were(attacked):
    _, memory, before, after = attacked
    assert memory < 512 << 10
    assert after == before


def test_a_long_query_is_refused(engine):
    with pytest.raises(Refused) as refusal:
        ask(engine, f"SELECT '{'x' * 100_000}'")
    assert refusal.value.reason == "memory"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "select 1 -- comment",
        "/* comment */ SELECT 1;",
        "(SELECT 1)",
        "VALUES (1)",
        "WITH one AS (SELECT 1) TABLE one",
        "FROM (SELECT 1)",
        "SELECT 1 UNION SELECT 1",
        "SELECT unnest([1])",
        "SELECT * FROM range(1, 2)",
        "SELECT * FROM generate_series(1, 1)",
    ],
)
def test_queries_pass(engine, sql):
    assert ask(engine, sql).rows == [(1,)]


def test_pivot_with_its_values_listed_passes(engine):
    result = ask(engine, "PIVOT (SELECT status FROM purchase) ON status IN ('paid', 'open') USING COUNT(*)")
    assert result.rows == [(4, 2)]


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELEC 1", "syntax"),
        ("SELECT", "syntax"),
        ("", "no_sql"),
        (";", "no_sql"),
        ("SELECT 1; SELECT 2", "multi_statement"),
        ("SELECT * FROM customers", "unknown_table"),
        ("SELECT x.name FROM customer", "unknown_table"),
        ("SELECT nam FROM customer", "unknown_column"),
        ("SELECT c.nam FROM customer c", "unknown_column"),
        ('SELECT id FROM purchase WHERE status = "paid"', "unknown_column"),
        ("SELECT id FROM customer, product", "ambiguous_column"),
        ("SELECT nothing_such(1)", "runtime_error"),
        ("SELECT CAST('x' AS INTEGER)", "runtime_error"),
        ("SELECT name, COUNT(*) FROM customer", "runtime_error"),
        ("SELECT $1", "runtime_error"),
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
        ("170141183460469231731687303715884105727::HUGEINT", 170141183460469231731687303715884105727),
        ("1.5::DOUBLE", 1.5),
        ("1.50::DECIMAL(8, 2)", 1.5),
        ("2.00::DECIMAL(8, 2)", 2.0),
        ("2::DECIMAL(8, 0)", 2),
        ("'text'", "text"),
        ("'ab'::BLOB", b"ab"),
        ("DATE '2020-01-31'", "2020-01-31"),
        ("TIMESTAMP '2020-01-31 10:00:00'", "2020-01-31 10:00:00"),
        ("TIMESTAMP '2020-01-31 10:00:00.5'", "2020-01-31 10:00:00.5"),
        ("TIMESTAMPTZ '2020-01-31 10:00:00+00'", "2020-01-31 10:00:00+00:00"),
        ("TIME '10:00:00'", "10:00:00"),
        ("UUID '00000000-0000-0000-0000-000000000001'", "00000000-0000-0000-0000-000000000001"),
        ("[1, NULL]", "[1, None]"),
        ("{'a': 1}", "{'a': 1}"),
        ("""'{"a": 1}'::JSON""", '{"a": 1}'),
        ("'b'::ENUM('a', 'b')", "b"),
        ("INTERVAL 1 DAY", "1 day, 0:00:00"),
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


def test_two_engines_on_one_file(engine, shop_duckdb):
    other = DuckdbEngine(str(shop_duckdb))
    assert ask(other, "SELECT 1").rows == ask(engine, "SELECT 1").rows
    other.close()
    assert ask(engine, "SELECT 2").rows == [(2,)]


def test_settings_are_locked(shop_duckdb):
    engine = DuckdbEngine(str(shop_duckdb))
    for setting in ("threads = 2", "enable_external_access = true", "lock_configuration = false"):
        with pytest.raises(duckdb.InvalidInputException):
            engine._connection.execute(f"SET {setting}")
    engine.close()


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_what_is_no_database_is_a_data_error(content, tmp_path):
    path = tmp_path / "x.duckdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.duckdb"):
        DuckdbEngine(str(path))
