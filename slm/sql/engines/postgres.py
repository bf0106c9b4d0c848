"""PostgreSQL: a session that only reads, with a role that has no power over the server.

What stands between a hostile query and the server:

- The role is no superuser and cannot reach files, programs, replication or other roles' sessions; else nothing is run.
- Each query runs in a transaction that is read-only and rolled back, with a limit of time for statement, lock and idle
  transaction, a small `work_mem`, no parallel workers and `search_path` on `public`. Our own clock cancels beside it.
- DECLARE … CURSOR FOR takes only SELECT, WITH, VALUES or TABLE, by PostgreSQL's own grammar, and the extended protocol
  one statement. Rows come in portions, so that only those that are wanted reach this process.
- EXPLAIN shows, before the query runs, which functions it would call, however their names are spelled. Those that
  outlive a rollback, change settings, end other sessions of the same role or run SQL from a text are refused.

Not covered: functions, views and operators that the database's owner has defined are trusted. How much memory the
server uses for one query is the server's to bound: start it under a limit (`ulimit -v`, a container), and set
`temp_file_limit` for the role. Sessions of one role see one another's running query. The planner runs twice.
"""

from contextlib import suppress

import psycopg
import sqlglot
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import TextLoader

from slm.errors import DataError
from slm.sql.engines.fetch import checked_text, deadline, fetch_rows
from slm.sql.results import Refused, ResultSet, Row

_CONNECT_S = 10
_CANCEL_S = 0.5
_OURS_LATER_S = 0.2  # after the server's own limit; it also bounds the sum of a query's steps
_LONGEST_INT = 4300  # digits that Python turns into an int
_SETTINGS = {
    "default_transaction_read_only": "on",
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "1s",
    "client_connection_check_interval": "1s",
    "work_mem": "16MB",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "cursor_tuple_fraction": "1",
    "search_path": "public",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "client_min_messages": "error",
}
_WANTED_SETTINGS = {"temp_file_limit": "256MB"}  # only some roles may set these
_POWERFUL_ROLES = (
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_execute_server_program",
    "pg_signal_backend",
    "pg_checkpoint",
    "pg_maintain",
)
_POWERS = """
SELECT CASE WHEN rolsuper THEN 'is a superuser' WHEN rolreplication THEN 'may replicate'
       WHEN rolcreaterole THEN 'may create roles' END
FROM pg_catalog.pg_roles WHERE rolname IN (current_user, session_user) AND (rolsuper OR rolreplication OR rolcreaterole)
UNION ALL
SELECT 'is a member of ' || g.rolname FROM pg_catalog.pg_roles g JOIN pg_catalog.pg_roles r
    ON r.rolname IN (current_user, session_user) AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')
WHERE g.rolname = ANY(%s)
"""
_HINT = (
    "as a superuser: CREATE ROLE slm_judge LOGIN PASSWORD '…' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;"
    " ALTER ROLE slm_judge SET temp_file_limit = '256MB'; GRANT USAGE ON SCHEMA public TO slm_judge;"
    " GRANT SELECT ON ALL TABLES IN SCHEMA public TO slm_judge;"
)
# As a plan spells a call. What rights, read-only and rollback leave harmless is not named here.
_REFUSED_CALLS = (
    *("pg_terminate_backend(", "pg_cancel_backend(", "pg_notify(", "pg_export_snapshot(", "set_config("),
    *("pg_advisory_", "pg_try_advisory_", "pg_logical_", "pg_current_logfile("),
    *("dblink(", "dblink_", "postgres_fdw_", "pg_read_", "pg_ls_", "pg_stat_file("),
    *("lo_import(", "lo_export(", "lo_creat(", "lo_create(", "lo_from_bytea(", "lo_put(", "lo_open(", "lo_unlink("),
    *("query_to_xml", "cursor_to_xml", "table_to_xml", "schema_to_xml", "database_to_xml", "ts_stat(", "ts_rewrite("),
)
_WRITES = '"node type": "modifytable"'
# Words that open a statement which is no query. The rest is for PostgreSQL to refuse as wrong syntax.
_NOT_A_QUERY = {
    *("abort", "alter", "analyse", "analyze", "begin", "call", "checkpoint", "close", "cluster", "comment", "commit"),
    *("copy", "create", "deallocate", "declare", "delete", "discard", "do", "drop", "end", "execute", "explain"),
    *("fetch", "grant", "import", "insert", "listen", "load", "lock", "merge", "move", "notify", "prepare", "reassign"),
    *("refresh", "reindex", "release", "reset", "revoke", "rollback", "savepoint", "security", "set", "show", "start"),
    *("truncate", "unlisten", "update", "vacuum"),
}
_REASONS = {
    "42P01": "unknown_table",
    "42703": "unknown_column",
    "42702": "ambiguous_column",
    "42601": "syntax",
    "42501": "forbidden",
    "25006": "forbidden",
    "57014": "timeout",
    "55P03": "timeout",
    "25P03": "timeout",
    "53100": "memory",
    "53200": "memory",
    "53400": "memory",
    "54000": "memory",
}


class _Boolean(Loader):
    def load(self, data: bytes | bytearray | memoryview) -> int:
        return int(bytes(data) == b"t")


class _Numeric(Loader):
    def load(self, data: bytes | bytearray | memoryview) -> int | float | str:
        text = bytes(data).decode()
        if text.lstrip("-").isdigit():
            return int(text) if len(text) < _LONGEST_INT else text
        return float(text)


_LOADERS: dict[str, type[Loader]] = {"bool": _Boolean, "numeric": _Numeric}
_PSYCOPG_LOADS = {"int2", "int4", "int8", "oid", "float4", "float8", "bytea"}


class _SessionLost(Refused):
    """The session ended without our doing."""


class PostgresEngine:
    """A session of the server that a DSN names (`postgresql://…`). Raises DataError for no server or too strong a role.

    A session that the server ended is opened again, once a query; DataError where that fails.
    """

    dialect = "postgres"

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection = _connect(dsn)

    def query(self, sql: str, *, timeout_s: float, max_rows: int) -> ResultSet:
        """The result of one query, complete. Raises Refused."""
        _check_statement(checked_text(sql))
        try:
            return self._timed(sql, timeout_s, max_rows)
        except _SessionLost:  # another session of this role, or a restart of the server, may have ended it
            return self._timed(sql, timeout_s, max_rows)

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def _timed(self, sql: str, timeout_s: float, max_rows: int) -> ResultSet:
        """Run it under our own clock; a session that had to be cancelled is not used again."""
        with deadline(timeout_s + _OURS_LATER_S, self._cancel) as late:
            try:
                return self._run(sql, timeout_s, max_rows)
            except psycopg.Error as error:
                if self._connection.closed and not late.is_set():
                    raise _SessionLost("runtime_error", "the server ended the session") from None
                raise _refused(error, timeout_s) from None
            except MemoryError:
                raise Refused("memory", "the result does not fit into memory") from None
            finally:
                self._rest(renew=late.is_set())

    def _rest(self, renew: bool) -> None:
        """Bring the session back to its beginning."""
        if not renew and not self._connection.closed:
            with suppress(psycopg.Error):
                self._connection.execute("ROLLBACK")
                return
        self._connection.close()
        self._connection = _connect(self._dsn)

    def _cancel(self) -> None:
        with suppress(psycopg.Error):  # it is tried again until the query ends
            self._connection.cancel_safe(timeout=_CANCEL_S)

    def _run(self, sql: str, timeout_s: float, max_rows: int) -> ResultSet:
        limit_ms = max(1, round(timeout_s * 1000))
        self._connection.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {limit_ms}")
        plan = self._connection.cursor().stream(f"EXPLAIN (VERBOSE, COSTS FALSE, FORMAT JSON) {sql}")
        text = "".join([str(row[0]) for row in plan]).lower()
        if call := next((call for call in _REFUSED_CALLS if call in text), None):
            raise Refused("forbidden", f"not authorized to call {call.rstrip('(')}")
        if _WRITES in text:
            raise Refused("forbidden", "statements that write may not stand in WITH")
        with self._connection.cursor(name="slm") as cursor:
            try:
                cursor.execute(sql)
            except psycopg.errors.SyntaxError:  # EXPLAIN took it: SELECT … INTO and the like
                raise Refused("forbidden", "only SELECT, WITH, VALUES and TABLE may run") from None
            labels = tuple([column.name for column in cursor.description or ()])

            def fetch(count: int) -> list[Row]:
                return cursor.fetchmany(count)

            return ResultSet(labels, fetch_rows(fetch, len(labels), max_rows))


def _connect(dsn: str) -> psycopg.Connection[Row]:
    """A guarded session. Nothing it raises shows the DSN's password."""
    parts = _parts(dsn)
    where = f"{parts.get('host') or 'local server'}/{parts.get('dbname') or ''}"
    options = {"client_encoding": "utf8", "connect_timeout": _CONNECT_S, "application_name": "slm"}
    try:
        connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=None, **options)  # type: ignore[arg-type]
    except psycopg.Error as error:
        message = str(error).strip()
        if any(parts.get(secret) and str(parts[secret]) in message for secret in ("password", "sslpassword")):
            message = "the server or the driver refused it"
        raise DataError(f"no connection: {message}", where=where, expected="a running server") from None
    try:
        _guard(connection, where)
    except psycopg.Error as error:
        connection.close()
        raise DataError(f"the session cannot be made safe: {str(error).strip()}", where=where) from None
    except DataError:
        connection.close()
        raise
    return connection


def _parts(dsn: str) -> dict[str, object]:
    """What the DSN says. No error quotes it: a password with @ or / unescaped could be taken for a host or port."""
    authority, _, rest = dsn.partition("://")[2].partition("/")
    try:
        if authority.count("@") > 1 or "@" in rest.partition("?")[0]:
            raise psycopg.ProgrammingError
        return dict(conninfo_to_dict(dsn))
    except psycopg.Error:
        expected = "postgresql://ROLE@HOST:PORT/DATABASE, with special characters of a password percent-encoded"
        raise DataError("not a PostgreSQL address", expected=expected) from None


def _guard(connection: psycopg.Connection[Row], where: str) -> None:
    connection.execute("; ".join([f"SET {name} = {value}" for name, value in _quoted(_SETTINGS)]))
    for name, value in _quoted(_WANTED_SETTINGS):
        try:
            connection.execute(f"SET {name} = {value}")
        except psycopg.errors.InsufficientPrivilege:
            continue
    powers = sorted({str(row[0]) for row in connection.execute(_POWERS, [list(_POWERFUL_ROLES)])})
    if powers:
        problem = f"this role is too powerful to run untrusted queries: it {' and '.join(powers)}"
        raise DataError(problem, where=where, expected="a role that may only read", hint=_HINT)
    for info in connection.adapters.types:
        connection.adapters.register_loader(info.array_oid, TextLoader)
        if info.name not in _PSYCOPG_LOADS:
            connection.adapters.register_loader(info.oid, _LOADERS.get(info.name, TextLoader))
    connection.adapters.register_loader(0, TextLoader)  # types that psycopg does not know


def _quoted(settings: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, "public" if name == "search_path" else f"'{value}'") for name, value in settings.items()]


def _check_statement(sql: str) -> None:
    """Name what is no single query; PostgreSQL would refuse it too, but as wrong syntax."""
    try:
        tokens = sqlglot.tokenize(sql, read="postgres")
    except sqlglot.errors.TokenError:
        return
    while tokens and tokens[-1].token_type.name == "SEMICOLON":
        tokens.pop()
    if not tokens:
        raise Refused("no_sql", "the answer holds no statement")
    if any(token.token_type.name == "SEMICOLON" for token in tokens):
        raise Refused("multi_statement", "one statement was expected")
    first = next((token.text.lower() for token in tokens if token.token_type.name != "L_PAREN"), "")
    if first.split(" ")[0] in _NOT_A_QUERY:
        raise Refused("forbidden", f"only SELECT, WITH, VALUES and TABLE may run, not {first.upper()}")


def _refused(error: psycopg.Error, timeout_s: float) -> Refused:
    reason = _REASONS.get(error.sqlstate or "", "runtime_error")
    message = error.diag.message_primary or str(error).strip()
    if error.sqlstate is None and "memory" in message:  # the client library's, for a row that this process cannot hold
        reason = "memory"
    return Refused(reason, f"stopped after {timeout_s:g} s" if reason == "timeout" else message)
