"""DuckDB: a file opened read-only and locked in, and one query at a time that calls nothing but harmless functions.

What stands between a hostile query and this machine, beside the worker process that it runs in:

- The database is read-only; external access (files, COPY, ATTACH, other databases), extensions, secrets and spilling
  to disk are off; one thread and 256 MB; the configuration is locked.
- DuckDB's own parser says what a text is: exactly one SELECT, WITH, VALUES, TABLE or FROM. PIVOT passes only with its
  values listed (`IN (…)`), since without them it makes a temporary type. SHOW, DESCRIBE, SUMMARIZE and statements that
  write inside WITH are refused.
- A table function must be on a short list; a few scalar functions are refused: those that show settings, write to the
  log, wait or keep state.
- A timer interrupts the query at its deadline.

Not covered: memory that DuckDB does not count towards its limit, such as one very long text (the worker's address space
bounds it); single operations that do not look at the interrupt (the watchdog ends the worker); views and macros that
the database defines are trusted.
"""

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import duckdb

from slm.errors import DataError
from slm.sql.engines.fetch import checked_text, deadline, fetch_rows
from slm.sql.results import Cell, Refused, ResultSet, Row

_MAX_SQL = 1 << 16  # characters; the parser's tree takes about 200 times as many bytes
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
    "memory_limit": "256MB",
    "max_temp_directory_size": "0KB",
    "threads": "1",
    "lock_configuration": "true",
}
_TABLE_FUNCTIONS = {
    "generate_series",
    "histogram",
    "histogram_values",
    "json_each",
    "json_tree",
    "range",
    "repeat",
    "repeat_row",
    "summary",
    "unnest",
}
_REFUSED_FUNCTIONS = {
    "current_query",
    "current_setting",
    "getenv",
    "getvariable",
    "json_deserialize_sql",
    "nextval",
    "pg_sleep",
    "setseed",
    "setval",
    "sleep_ms",
    "write_log",
}
_REFUSED_TABLES = {"duckdb_logs", "pg_prepared_statements", "pg_settings"}
_PLAIN_TYPES = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    *("FLOAT", "DOUBLE", "VARCHAR", "BLOB", '"NULL"'),
)
# Parts of DuckDB's messages, and what they mean to us; the first that fits counts.
_MESSAGES = (
    ("Table with name", "unknown_table"),
    ("Referenced table", "unknown_table"),
    ("Referenced column", "unknown_column"),
    ("does not have a column named", "unknown_column"),
    ("mbiguous reference to", "ambiguous_column"),
    ("read-only mode", "forbidden"),
    ("configuration has been locked", "forbidden"),
    ("file system operations are disabled", "forbidden"),
)


class DuckdbEngine:
    """One connection to a database file. Raises DataError where it cannot be opened."""

    dialect = "duckdb"

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection = self._connect()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        try:
            return duckdb.connect(self._path, read_only=True, config=_CONFIG)
        except duckdb.Error as error:
            expected = f"a DuckDB database that DuckDB {duckdb.__version__} reads"
            raise DataError(f"not readable: {error}", where=self._path, expected=expected) from None

    def query(self, sql: str, *, timeout_s: float, max_rows: int) -> ResultSet:
        """The result of one query, complete. Raises Refused."""
        try:
            with deadline(timeout_s, self._connection.interrupt):
                self._check(checked_text(sql))
                return self._fetch(sql, max_rows)
        except duckdb.InterruptException:
            raise Refused("timeout", f"stopped after {timeout_s:g} s") from None
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise Refused("memory", str(error) or None) from None
        except (duckdb.FatalException, duckdb.InternalException) as error:
            self.close()  # DuckDB refuses all further work on a database that met such an error
            self._connection = self._connect()
            raise Refused("runtime_error", str(error)) from None
        except (duckdb.Error, RuntimeError, ValueError) as error:
            raise Refused(_reason(error), str(error)) from None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _fetch(self, sql: str, max_rows: int) -> ResultSet:
        cursor = self._connection.execute(sql)
        description = cursor.description or []
        others = [j for j, column in enumerate(description) if str(column[1]) not in _PLAIN_TYPES]

        def fetch(count: int) -> list[Row]:
            rows: list[Row] = cursor.fetchmany(count)
            return [_plain_row(row, others) for row in rows] if others else rows

        try:
            rows = fetch_rows(fetch, len(description), max_rows)
        except Refused:
            self._connection.execute("SELECT 1").fetchall()  # lets go of the rows that wait
            raise
        return ResultSet(tuple([column[0] for column in description]), rows)

    def _check(self, sql: str) -> None:
        """Refuse all that is not one query of harmless parts."""
        if len(sql) > _MAX_SQL:
            raise Refused("memory", f"the query is longer than {_MAX_SQL:,} characters")
        statements = self._connection.extract_statements(sql)
        if not statements:
            raise Refused("no_sql", "the answer holds no statement")
        if len(statements) > 1:
            raise Refused("multi_statement", "one statement was expected")
        if not _is_query(statements[0]):
            raise Refused("forbidden", "only SELECT, WITH, VALUES, TABLE and FROM may run")
        answer = self._connection.execute("SELECT system.main.json_serialize_sql(?)", [sql]).fetchone()
        try:
            tree = json.loads(answer[0]) if answer else {"error": True}
        except RecursionError:
            raise Refused("syntax", "nested too deeply") from None
        if tree["error"]:
            raise Refused("syntax", str(tree.get("error_message")))
        for node in _nodes(tree):
            _check_node(node)


def _is_query(statement: duckdb.Statement) -> bool:
    try:
        return statement.type == duckdb.StatementType.SELECT
    except ValueError:  # the Python client has no name for some statements
        return False


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree that DuckDB's parser makes."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _check_node(node: dict[str, Any]) -> None:
    kind = str(node.get("type"))
    if kind == "SHOW_REF" or kind.endswith("_QUERY_NODE"):
        raise Refused("forbidden", "only SELECT, WITH, VALUES, TABLE and FROM may run")
    if kind == "TABLE_FUNCTION" and (name := node["function"].get("function_name", "").lower()) not in _TABLE_FUNCTIONS:
        raise Refused("forbidden", f"not authorized to use the table function {name}")
    if (name := str(node.get("function_name", "")).lower()) in _REFUSED_FUNCTIONS:
        raise Refused("forbidden", f"not authorized to use the function {name}")
    if kind == "BASE_TABLE" and (name := str(node.get("table_name", "")).lower()) in _REFUSED_TABLES:
        raise Refused("forbidden", f"not authorized to read {name}")


def _reason(error: Exception) -> str:
    if isinstance(error, duckdb.ParserException | duckdb.SyntaxException):
        return "syntax"
    if isinstance(error, duckdb.PermissionException):
        return "forbidden"
    return next((reason for part, reason in _MESSAGES if part in str(error)), "runtime_error")


def _plain_row(row: Row, others: list[int]) -> Row:
    cells = list(row)
    for j in others:
        cells[j] = _plain(cells[j])
    return tuple(cells)


def _plain(cell: Any) -> Cell:
    """A cell as SQLite would hold it: numbers, or text."""
    if cell is None or isinstance(cell, int | float | str | bytes):
        return int(cell) if isinstance(cell, bool) else cell
    if isinstance(cell, Decimal):
        return float(cell) if cell.as_tuple().exponent else int(cell)
    if isinstance(cell, datetime | time):
        text = cell.isoformat(" ") if isinstance(cell, datetime) else cell.isoformat()
        return text.rstrip("0") if "." in text and cell.tzinfo is None else text
    if isinstance(cell, date):
        return cell.isoformat()
    return str(cell)  # UUIDs, intervals, lists, structs and maps
