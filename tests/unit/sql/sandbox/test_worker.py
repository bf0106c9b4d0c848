"""Each claim of the sandbox is tried: the query fails as it should, in time, and the database file stays as it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

import slm
from slm.errors import JobError
from slm.files import sha256_file
from slm.sql import Pair, judge
from slm.sql.sandbox.pool import _BOOT, Pool, Task

GOLD = "SELECT count(*) FROM item"
ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT "


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA synchronous = OFF; CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL)")
    with connection:
        connection.executemany("INSERT INTO item VALUES(?, ?, ?)", [(n, f"item {n}", n / 4) for n in range(300)])
    connection.close()
    return path


def reason(database: Path, prediction: str, *, timeout_s: float = 20.0, max_rows: int = 1000) -> str:
    pairs = [Pair("attack", (GOLD,), prediction, database), Pair("next", (GOLD,), "SELECT 300", database)]
    attack, following = judge(pairs, timeout_s=timeout_s, max_rows=max_rows, workers=1)
    assert following.correct, "the verdict after an attack must be right"
    assert attack.correct is False
    return attack.reason


def state(database: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in database.parent.iterdir()}


def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The worker processes that are started from now on."""
    workers = []

    class Spy(subprocess.Popen):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            workers.append(self)

    monkeypatch.setattr(subprocess, "Popen", Spy)
    return workers


FORBIDDEN = [
    "DELETE FROM item",
    "INSERT INTO item VALUES(999, 'x', 1)",
    "UPDATE item SET price = 0",
    "REPLACE INTO item VALUES(1, 'x', 1)",
    "DELETE FROM item RETURNING id",
    "WITH x AS (SELECT 1) DELETE FROM item",
    "DROP TABLE item",
    "CREATE TABLE t(a)",
    "CREATE TEMP TABLE item(a)",
    "CREATE TEMP VIEW item AS SELECT 1",
    "CREATE VIRTUAL TABLE t USING fts5(a)",
    "ALTER TABLE item RENAME TO other",
    "CREATE INDEX i ON item(name)",
    "ATTACH '{folder}/new.sqlite' AS other",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '{folder}/copy.sqlite'",
    "REINDEX",
    "ANALYZE",
    "PRAGMA writable_schema = ON",
    "PRAGMA query_only = OFF",
    "PRAGMA journal_mode = WAL",
    "PRAGMA user_version = 7",
    "PRAGMA table_info(item)",
    "SELECT * FROM pragma_database_list",
    "BEGIN IMMEDIATE",
    "COMMIT",
    "SAVEPOINT s",
    "EXPLAIN SELECT 1",
    "EXPLAIN QUERY PLAN SELECT 1",
    "SELECT load_extension('{folder}/evil.so')",
]


@pytest.mark.parametrize("attack", FORBIDDEN)
def test_only_a_query_runs(database: Path, attack: str) -> None:
    before = state(database)
    assert reason(database, attack.format(folder=database.parent)) == "forbidden"
    assert state(database) == before


@pytest.mark.parametrize(
    "function", ["readfile('/etc/passwd')", "writefile('{folder}/x', 'y')", "edit('a')", "shell('id')"]
)
def test_there_are_no_functions_that_reach_files(database: Path, function: str) -> None:
    before = state(database)
    assert reason(database, f"SELECT {function.format(folder=database.parent)}") == "runtime_error"
    assert state(database) == before


@pytest.mark.parametrize(
    "attack", ["SELECT 300; DROP TABLE item", "SELECT 1; SELECT 2", "SELECT 300; PRAGMA query_only=0; DELETE FROM item"]
)
def test_one_statement_only(database: Path, attack: str) -> None:
    before = state(database)
    assert reason(database, attack) in ("multi_statement", "forbidden")
    assert state(database) == before


@pytest.mark.parametrize(
    "attack",
    [
        ENDLESS + "count(*) FROM r",
        "SELECT count(*) FROM item a, item b, item c, item d, item e",
        # One operation without end: SQLite's own interrupt and progress callbacks never see it.
        "SELECT instr(printf('%.*c', 999000, 'a'), printf('%.*c', 400000, 'a') || 'b')",
    ],
)
def test_a_query_without_end_is_killed_at_its_deadline(database: Path, attack: str) -> None:
    start = time.monotonic()
    assert reason(database, attack, timeout_s=0.5) == "timeout"
    assert time.monotonic() - start < 3.0


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("SELECT zeroblob(1000000000)", "memory"),
        ("SELECT randomblob(100000000)", "memory"),
        ("SELECT printf('%.*c', 500000000, 'x')", "memory"),
        ("SELECT hex(zeroblob(900000))", "memory"),
        ("SELECT group_concat(printf('%.*c', 100000, 'x')) FROM item", "memory"),
        (ENDLESS + "n FROM r", "too_many_rows"),
        ("SELECT a.id FROM item a, item b", "too_many_rows"),
    ],
)
def test_size_is_limited(database: Path, attack: str, expected: str) -> None:
    assert reason(database, attack) == expected


@pytest.mark.parametrize(
    "attack",
    [
        # Big values, and as many of them as the limit on rows allows.
        ENDLESS + "zeroblob(1000000) FROM r",
        # A sort that has to keep everything.
        ENDLESS + "zeroblob(900000) || n FROM r ORDER BY n % 7 LIMIT 5000",
        "WITH t AS MATERIALIZED (SELECT zeroblob(900000) AS z FROM item, (SELECT 1 FROM item)) SELECT count(*) FROM t",
    ],
)
def test_memory_is_limited(database: Path, attack: str) -> None:
    assert reason(database, attack, max_rows=10_000) == "memory"


@pytest.mark.parametrize(
    "attack",
    [
        "SELECT 1" + "+1" * 400_000,
        "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
        "SELECT '\0'",
        "SELECT '\ud800'",
        "SELECT \0",
    ],
)
def test_strange_text_is_only_wrong(database: Path, attack: str) -> None:
    assert reason(database, attack) in ("syntax", "runtime_error", "memory", "values")


def test_the_worker_sees_no_environment(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "do not tell")
    workers = started(monkeypatch)
    verdicts = judge([Pair("a", (GOLD,), GOLD, database)] * 2, workers=1)
    assert next(verdicts).correct
    assert os.environ["SECRET_TOKEN"].encode() not in Path(f"/proc/{workers[0].pid}/environ").read_bytes()


def test_no_process_is_left_when_the_caller_stops_early(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = started(monkeypatch)
    endless = Pair("a", (GOLD,), ENDLESS + "count(*) FROM r", database)
    verdicts = judge([Pair("b", (GOLD,), GOLD, database), endless, endless], workers=2)
    assert next(verdicts).correct
    verdicts.close()
    assert len(workers) == 2
    assert all(worker.poll() is not None for worker in workers)


def test_a_crashed_worker_costs_one_verdict(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = started(monkeypatch)
    pairs = [Pair(str(n), (GOLD,), f"{GOLD} -- {n}", database) for n in range(5)]
    verdicts = judge(pairs, workers=1)
    assert next(verdicts).correct
    workers[0].kill()
    assert [verdict.correct for verdict in verdicts].count(True) >= 3
    assert len(workers) == 2


def test_a_worker_that_cannot_start_is_one_clear_error(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slm.sql.sandbox.pool._BOOT", "import no_such_module")
    with pytest.raises(JobError, match="does not start"):
        list(judge([Pair("a", (GOLD,), GOLD, database)], workers=1))


def test_a_worker_whose_parent_is_gone_ends_itself(database: Path) -> None:
    long = "SELECT instr(printf('%.*c', 999000, 'a'), printf('%.*c', 400000, 'a') || 'b')"
    request = {"kind": "judge", "engine": "sqlite", "source": database.as_uri(), "golds": [GOLD], "prediction": long}
    pool = Pool[str](timeout_s=0.1, max_rows=10, workers=1)
    worker = pool._start("sqlite")
    worker.give([Task("a", "sqlite", request | {"double_quoted_text": False})])
    try:
        assert worker.process.wait(timeout=30) == -signal.SIGALRM
    finally:
        worker.close()
        pool.close()


def test_a_worker_starts_fast_and_loads_little() -> None:
    loads = "import slm.sql.sandbox.judging, slm.sql.engines.sqlite; print(*sys.modules)"
    modules = _BOOT.replace("main(*arguments)", loads)
    root = Path(slm.__file__).parent
    command = [sys.executable, "-I", "-c", modules, "\n".join(sys.path), str(root), "sqlite"]
    loaded = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True
    ).stdout.split()
    assert "apsw" in loaded
    assert not {"pydantic", "sqlglot", "slm.records", "slm.sql.judge", "rich"} & set(loaded)
