"""The process that runs untrusted SQL: `Pool` in `execute.py` starts it and nothing imports it.

What stands between a hostile query and this machine:

- The database is opened read-only, with `query_only`; an authorizer lets only SELECT, reads of tables, functions (but
  `load_extension`) and recursion pass. So no ATTACH, PRAGMA, DDL, DML, transaction, temporary table or VACUUM INTO.
- One statement, and it must be a query: whatever SQLite does not call read-only is refused before it runs.
- Strings and rows of at most 1 MiB, a row limit, 192 MiB for SQLite and 512 MiB of address space for the process.
- The process cannot make a file longer than 0 bytes, has no environment, and is killed by its parent at the deadline,
  which also ends a single long operation that SQLite cannot interrupt. Its own alarm ends it if the parent is gone.

Not covered: a bug in SQLite or in Python that runs code as the user of this process (there is no other user, no
container and no system call filter; the network and readable files are then open to it). A query may read every table
of its own database, `sqlite_schema` included, and may use one core until its deadline.

Speaks JSON lines. A request is `{"database": uri, "golds": [[sql, ordered], ...], "prediction": sql}`. The answer is a
line `{"phase": "gold" | "prediction" | "comparison"}` before each piece of work, then one with `reason` and more.
"""

import json
import resource
import signal
import sys
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import apsw

from slm.sql.compare import ResultSet, Row, compare

_MIB = 1 << 20
_SQLITE_BYTES, _PROCESS_BYTES, _VALUE_BYTES = 192 * _MIB, 512 * _MIB, _MIB
_ORPHAN_S = 2.0  # how long after the deadline the worker ends itself if nobody did
_OPEN_DATABASES, _KEPT_GOLDS, _KEPT_CELLS = 32, 256, 20_000

_ALLOWED = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE}
_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: _VALUE_BYTES,
    apsw.SQLITE_LIMIT_SQL_LENGTH: _VALUE_BYTES,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
# How SQLite's messages begin, and what they mean to us.
_REASONS = {
    "no such table": "unknown_table",
    "no such column": "unknown_column",
    "ambiguous column name": "ambiguous_column",
    "near ": "syntax",
    "incomplete input": "syntax",
    "unrecognized token": "syntax",
    "not authorized": "not_a_query",
    "access to ": "not_a_query",
}


class Refused(Exception):
    """A query that gave no result: a reason of `Verdict` and a message."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Outcome:
    """A gold's result, or why there is none; `ms` is what running it took."""

    table: ResultSet | None
    error: str | None
    ms: float


def open_database(uri: str) -> apsw.Connection:
    """A connection on which nothing can be changed."""
    connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    connection.execute("PRAGMA query_only = 1; PRAGMA temp_store = MEMORY; SELECT 1 FROM sqlite_schema").fetchall()
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    # Public golds write "text" in double quotes.
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
    for limit, value in _LIMITS.items():
        connection.limit(limit, value)
    connection.authorizer = _authorize
    return connection


def _authorize(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    forbidden = action not in _ALLOWED or (action == apsw.SQLITE_FUNCTION and second == "load_extension")
    return apsw.SQLITE_DENY if forbidden else apsw.SQLITE_OK


def query(connection: apsw.Connection, sql: str, max_rows: int) -> ResultSet:
    """The result of one query. Raises Refused."""
    try:
        table = _fetch(connection, sql, max_rows)
    except (apsw.NoMemError, apsw.TooBigError, MemoryError) as error:
        raise Refused("out_of_memory", str(error) or None) from None
    except (apsw.Error, ValueError) as error:
        message = str(error)
        reason = next((reason for start, reason in _REASONS.items() if message.startswith(start)), "runtime_error")
        raise Refused("syntax" if isinstance(error, ValueError) else reason, message) from None
    if len(table.rows) > max_rows:
        raise Refused("too_many_rows", f"more than {max_rows:,} rows")
    return table


def _fetch(connection: apsw.Connection, sql: str, max_rows: int) -> ResultSet:
    """At most `max_rows` + 1 rows."""
    columns, statement = 0, ""

    def before_each(cursor: apsw.Cursor, text: str, _bindings: object) -> bool:
        nonlocal columns, statement
        if cursor.is_explain or not cursor.is_readonly or (cursor.has_vdbe and not cursor.get_description()):
            raise Refused("not_a_query", "only one SELECT, WITH or VALUES may run")
        if cursor.has_vdbe:  # anything but blanks and comments
            if columns:
                raise Refused("multi_statement", "one statement was expected")
            columns, statement = len(cursor.get_description()), text
        return True

    connection.exec_trace = before_each
    rows: list[Row]
    try:
        rows = list(islice(connection.execute(sql), max_rows + 1))
    except UnicodeDecodeError:
        rows = _fetch_escaped(connection, statement, columns, max_rows)
    if not columns:
        raise Refused("no_sql", "the answer holds no statement")
    return ResultSet(columns, rows)


def _fetch_escaped(connection: apsw.Connection, statement: str, columns: int, max_rows: int) -> list[Row]:
    """The rows of a statement whose text is not all UTF-8: SQLite hands over bytes, and bad ones are escaped."""
    connection.exec_trace = None
    names = [f"c{j}" for j in range(columns)]
    cells = ", ".join(f"typeof({c}) = 'text', iif(typeof({c}) = 'text', CAST({c} AS BLOB), {c})" for c in names)
    body = statement.rstrip().rstrip(";")
    # It did run as a single query, and whatever it is with these words around it runs under the same authorizer.
    wrapped = f"WITH slm_result({', '.join(names)}) AS ({body}\n) SELECT {cells} FROM slm_result"  # noqa: S608
    cursor = connection.execute(wrapped)
    return [
        tuple(
            cell.decode(errors="surrogateescape") if is_text else cell
            for is_text, cell in zip(row[::2], row[1::2], strict=True)
        )
        for row in islice(cursor, max_rows + 1)
    ]


class Judge:
    """Answers requests; keeps open databases and small gold results."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._connections: OrderedDict[str, apsw.Connection] = OrderedDict()
        self._golds: OrderedDict[tuple[str, str], Outcome] = OrderedDict()

    def judge(self, request: dict[str, Any]) -> dict[str, Any]:
        """`reason`, `detail`, `gold_ms` and `prediction_ms` of a request."""
        uri = request["database"]
        _say({"phase": "gold"})
        try:
            connection = self._connection(uri)
        except apsw.Error as error:
            return {"reason": "database_unavailable", "detail": f"SQLite cannot open it: {error}"}
        golds = [(self._gold(connection, uri, sql), ordered) for sql, ordered in request["golds"]]
        usable = [(gold, ordered) for gold, ordered in golds if gold.table]
        times: dict[str, Any] = {"gold_ms": sum(gold.ms for gold, _ in golds)}
        if not usable:
            return times | {"reason": "gold_failed", "detail": "; ".join(str(gold.error) for gold, _ in golds)}
        _say({"phase": "prediction"})
        start = time.perf_counter()
        try:
            prediction = query(connection, request["prediction"], self._max_rows)
        except Refused as refusal:
            return times | {"reason": refusal.reason, "detail": refusal.detail, "prediction_ms": _ms_since(start)}
        times["prediction_ms"] = _ms_since(start)
        _say({"phase": "comparison"})
        verdicts = [compare(gold.table, prediction, ordered=ordered) for gold, ordered in usable if gold.table]
        reason, detail = next((verdict for verdict in verdicts if verdict[0] == "correct"), verdicts[0])
        return times | {"reason": reason, "detail": detail}

    def _connection(self, uri: str) -> apsw.Connection:
        if uri not in self._connections:
            self._connections[uri] = open_database(uri)
            if len(self._connections) > _OPEN_DATABASES:
                self._connections.popitem(last=False)[1].close()
        self._connections.move_to_end(uri)
        return self._connections[uri]

    def _gold(self, connection: apsw.Connection, uri: str, sql: str) -> Outcome:
        if kept := self._golds.get((uri, sql)):
            return kept
        table, error, start = None, None, time.perf_counter()
        try:
            table = query(connection, sql, self._max_rows)
        except Refused as refusal:
            error = f"{refusal.reason}: {refusal.detail}"
        outcome = Outcome(table, error, _ms_since(start))
        if table is None or table.columns * len(table.rows) <= _KEPT_CELLS:
            self._golds[uri, sql] = outcome
            if len(self._golds) > _KEPT_GOLDS:
                self._golds.popitem(last=False)
        return outcome


def _ms_since(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _limit_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; the pipe's end is ours
    apsw.hard_heap_limit(_SQLITE_BYTES)
    limits = {resource.RLIMIT_AS: _PROCESS_BYTES, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
    for limit, value in limits.items():
        with suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(limit, (value, value))


def main(timeout_s: float, max_rows: int) -> None:
    """Answer requests from stdin until it ends."""
    _limit_process()
    judge = Judge(max_rows)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, 3 * timeout_s + _ORPHAN_S)  # three phases; the default action ends us
        try:
            answer = judge.judge(json.loads(line))
        except MemoryError:
            answer = {"reason": "out_of_memory", "detail": "the results do not fit into memory"}
        signal.setitimer(signal.ITIMER_REAL, 0)
        _say(answer)
