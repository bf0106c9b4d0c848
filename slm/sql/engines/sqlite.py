"""SQLite through APSW, which ships its own SQLite, so that verdicts do not change with the machine's.

A connection made here can be asked questions and nothing else; `slm.sql.sandbox.worker` says what that means.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import apsw

from slm.sql.results import Refused, ResultSet, Row
from slm.sql.schema import Schema, schema_of

_MIB = 1 << 20
_OPCODES = 20_000  # of SQLite's virtual machine between two looks at the clock: about a millisecond
_MAX_CELLS = 2_000_000
_OWN_S = 10.0  # for statements of our own

_ALLOWED = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE}
_SCRIPT_ALLOWED = _ALLOWED | {
    apsw.SQLITE_INSERT,
    apsw.SQLITE_UPDATE,
    apsw.SQLITE_DELETE,
    apsw.SQLITE_TRANSACTION,
    apsw.SQLITE_SAVEPOINT,
    apsw.SQLITE_CREATE_TABLE,
    apsw.SQLITE_CREATE_INDEX,
    apsw.SQLITE_CREATE_VIEW,
    apsw.SQLITE_CREATE_TRIGGER,
    apsw.SQLITE_ALTER_TABLE,
    apsw.SQLITE_DROP_TABLE,
    apsw.SQLITE_DROP_INDEX,
    apsw.SQLITE_DROP_VIEW,
    apsw.SQLITE_DROP_TRIGGER,
    apsw.SQLITE_REINDEX,
}
_NOT_A_FUNCTION = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: _MIB,
    apsw.SQLITE_LIMIT_SQL_LENGTH: _MIB,
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
    "not authorized": "forbidden",
    "access to ": "forbidden",
}
# What SQLite adds to `no such column: "x"` where the name stands in double quotes.
_QUOTED = "should this be a string literal"


def database_uri(path: Path) -> str:
    """`path` read-only. Locks and journals are left out, unless a write-ahead log beside it holds newer rows."""
    newer = any(log.is_file() and log.stat().st_size for log in (Path(f"{path}-wal"), Path(f"{path}-journal")))
    return f"{path.absolute().as_uri()}?mode=ro{'' if newer else '&immutable=1'}"


class SqliteEngine:
    """One connection to a database file (a URI) or to a database image (the bytes of a file).

    `double_quoted_text`: whether "x" may be a text where no column is called x, as the golds of Spider have it.
    Raises apsw.Error where the database cannot be opened.
    """

    dialect = "sqlite"

    def __init__(self, source: str | bytes, *, double_quoted_text: bool = False) -> None:
        if isinstance(source, str):
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            self.connection = apsw.Connection(source, flags=flags, statementcachesize=0)
        else:
            self.connection = apsw.Connection(":memory:", statementcachesize=0)
            self.connection.deserialize("main", source)
        self._deadline = time.monotonic() + _OWN_S
        self._schema: Schema | None = None
        self._guard(double_quoted_text)

    def _guard(self, double_quoted_text: bool) -> None:
        connection = self.connection
        connection.execute("PRAGMA query_only = 1; PRAGMA temp_store = MEMORY; SELECT 1 FROM sqlite_schema").fetchall()
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, int(double_quoted_text))
        for limit, value in _LIMITS.items():
            connection.limit(limit, value)
        connection.set_progress_handler(self._late, _OPCODES)
        connection.authorizer = _authorize

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def query(self, sql: str, *, timeout_s: float, max_rows: int) -> ResultSet:
        """The result of one query, complete. Raises Refused."""
        return self._ask(sql, max_rows, timeout_s)

    def _ask(self, sql: str, max_rows: int, timeout_s: float, *, only_prepare: bool = False) -> ResultSet:
        self._deadline = time.monotonic() + timeout_s
        try:
            return self._fetch(sql, max_rows, only_prepare)
        except apsw.InterruptError:
            raise Refused("timeout", f"stopped after {timeout_s:g} s") from None
        except (apsw.NoMemError, apsw.TooBigError, MemoryError) as error:
            raise Refused("memory", str(error) or None) from None
        except (apsw.Error, ValueError) as error:
            message = str(error)
            reason = next((reason for start, reason in _REASONS.items() if message.startswith(start)), "runtime_error")
            raise Refused("syntax" if isinstance(error, ValueError) else reason, message) from None

    def check(self, sql: str) -> tuple[str, ...]:
        """The labels of the query's columns, without running it. Raises Refused as `query` does."""
        return self._ask(sql, 0, 5.0, only_prepare=True).labels

    @contextmanager
    def unguarded(self) -> Iterator[apsw.Connection]:
        """The connection without its authorizer, for statements of our own."""
        self.connection.authorizer = self.connection.exec_trace = None
        self._deadline = time.monotonic() + _OWN_S
        try:
            yield self.connection
        finally:
            self.connection.authorizer = _authorize

    def schema(self) -> Schema:
        """The tables and keys of the database."""
        if self._schema is None:
            with self.unguarded() as connection:
                self._schema = schema_of(connection)
        return self._schema

    def image(self, most_bytes: int) -> bytes | None:
        """The database as the bytes of a file; None if there are more than `most_bytes`."""
        with self.unguarded() as connection:
            pages = connection.pragma("page_count") * connection.pragma("page_size")
            return connection.serialize("main") if pages <= most_bytes else None

    def reverse(self, on: bool) -> None:
        """Let scans without ORDER BY run backwards: what changes then hangs on chance."""
        with self.unguarded() as connection:
            connection.execute(f"PRAGMA reverse_unordered_selects = {int(on)}")

    def close(self) -> None:
        """End the connection."""
        self.connection.close()

    def _fetch(self, sql: str, max_rows: int, only_prepare: bool) -> ResultSet:
        labels: tuple[str, ...] = ()
        statement = ""

        def before_each(cursor: apsw.Cursor, text: str, _bindings: object) -> bool:
            nonlocal labels, statement
            if cursor.has_vdbe:  # anything but blanks and comments
                if labels:
                    raise Refused("multi_statement", "one statement was expected")
                if cursor.is_explain or not cursor.is_readonly or not (description := cursor.get_description()):
                    raise Refused("forbidden", "only one SELECT, WITH or VALUES may run")
                labels, statement = tuple([column[0] for column in description]), text
                return not only_prepare
            return True

        self.connection.exec_trace = before_each
        rows: list[Row]
        try:
            cursor = self.connection.execute(sql)
            limit = min(max_rows, _MAX_CELLS // max(1, len(labels)))
            rows = list(islice(cursor, limit + 1))
        except apsw.ExecTraceAbort:
            limit, rows = 0, []
        except UnicodeDecodeError:
            limit = min(max_rows, _MAX_CELLS // max(1, len(labels)))
            rows = self._fetch_escaped(statement, len(labels), limit)
        if not labels:
            raise Refused("no_sql", "the answer holds no statement")
        if len(rows) > limit:
            raise Refused("too_many_rows", f"more than {limit:,} rows of {len(labels)} cells")
        return ResultSet(labels, rows)

    def _fetch_escaped(self, statement: str, columns: int, limit: int) -> list[Row]:
        """The rows of a statement whose text is not all UTF-8: SQLite hands over bytes, and bad ones are escaped."""
        self.connection.exec_trace = None
        names = [f"c{j}" for j in range(columns)]
        cells = ", ".join(f"typeof({c}) = 'text', iif(typeof({c}) = 'text', CAST({c} AS BLOB), {c})" for c in names)
        body = statement.rstrip().rstrip(";")
        # It did run as a single query, and whatever it is with these words around it runs under the same authorizer.
        wrapped = f"WITH slm_result({', '.join(names)}) AS ({body}\n) SELECT {cells} FROM slm_result"  # noqa: S608
        return [
            tuple(
                [
                    cell.decode(errors="surrogateescape") if is_text else cell
                    for is_text, cell in zip(row[::2], row[1::2], strict=True)
                ]
            )
            for row in islice(self.connection.execute(wrapped), limit + 1)
        ]


def is_quoted_text(refusal: Refused) -> bool:
    """Whether a query was refused because of a name in double quotes that is no column: it may be meant as text."""
    return refusal.reason == "unknown_column" and _QUOTED in (refusal.detail or "")


def image_of(schema_sql: str, data_sql: str, *, timeout_s: float) -> bytes:
    """The database that a script makes, as the bytes of a file. Raises Refused: `script_failed`.

    The script may define and fill tables; it cannot reach files, attach databases or load extensions.
    """
    connection = apsw.Connection(":memory:")
    connection.execute("PRAGMA page_size = 1024; PRAGMA temp_store = MEMORY")
    for limit, value in _LIMITS.items():
        connection.limit(limit, value)
    connection.authorizer = _authorize_script
    deadline = time.monotonic() + timeout_s
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _OPCODES)
    try:
        for script in (schema_sql, data_sql):
            connection.execute(script).fetchall()
        if not connection.get_autocommit():
            connection.execute("COMMIT")
        connection.authorizer = None
        return connection.serialize("main")
    except (apsw.Error, MemoryError, ValueError) as error:
        raise Refused("script_failed", str(error)) from None
    finally:
        connection.close()


def scratch_run(image: bytes, statement: str, query: str, *, timeout_s: float) -> tuple[list[Row], list[Row]] | None:
    """What a writing statement returns, and a query after it, on a copy that nobody keeps; None if either fails.

    This is what evaluators without a sandbox do to the database itself.
    """
    connection = apsw.Connection(":memory:")
    try:
        connection.deserialize("main", image)
        connection.authorizer = _authorize_script
        deadline = time.monotonic() + timeout_s
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _OPCODES)
        first = connection.execute(statement).fetchall()
        return first, connection.execute(query).fetchall()
    except (apsw.Error, MemoryError, ValueError):
        return None
    finally:
        connection.close()


def _authorize(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    forbidden = action not in _ALLOWED or (action == apsw.SQLITE_FUNCTION and second in _NOT_A_FUNCTION)
    return apsw.SQLITE_DENY if forbidden else apsw.SQLITE_OK


def _authorize_script(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    harmless_pragma = action == apsw.SQLITE_PRAGMA and first == "foreign_keys"
    forbidden = action not in _SCRIPT_ALLOWED or (action == apsw.SQLITE_FUNCTION and second in _NOT_A_FUNCTION)
    return apsw.SQLITE_DENY if forbidden and not harmless_pragma else apsw.SQLITE_OK
