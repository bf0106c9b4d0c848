"""Copies of a SQLite database for the other engines: same tables, names in lower case, values of the declared kinds."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psycopg

_BATCH = 200
# Part of a declared type, its name in both engines, and the kinds of value that SQLite may hold in such a column.
_TYPES = (
    ("bool", "BOOLEAN", {"integer"}),
    ("timestamp", "TIMESTAMP", {"text"}),
    ("datetime", "TIMESTAMP", {"text"}),
    ("date", "DATE", {"text"}),
    ("int", "BIGINT", {"integer"}),
    ("numeric", "NUMERIC(18,4)", {"integer", "real"}),
    ("decimal", "NUMERIC(18,4)", {"integer", "real"}),
    ("char", "VARCHAR", {"text"}),
    ("text", "VARCHAR", {"text"}),
    ("clob", "VARCHAR", {"text"}),
    ("real", "DOUBLE PRECISION", {"integer", "real"}),
    ("floa", "DOUBLE PRECISION", {"integer", "real"}),
    ("doub", "DOUBLE PRECISION", {"integer", "real"}),
    ("blob", "BLOB", {"blob"}),
)


@dataclass(frozen=True)
class _Table:
    name: str
    columns: list[str]
    types: list[str]
    key: list[str]
    rows: list[tuple]

    def definition(self, blob: str) -> str:
        columns = [
            f'"{name}" {kind.replace("BLOB", blob)}' for name, kind in zip(self.columns, self.types, strict=True)
        ]
        key = [f"PRIMARY KEY ({', '.join(_names(self.key))})"] if self.key else []
        return f'CREATE TABLE "{self.name}" ({", ".join(columns + key)})'


def into_duckdb(source: Path, target: Path) -> None:
    """Make the DuckDB file `target` of the SQLite file `source`."""
    with duckdb.connect(str(target)) as connection:
        for table in _read(source):
            connection.execute(table.definition("BLOB"))
            marks = f"({', '.join('?' * len(table.columns))})"
            for start in range(0, len(table.rows), _BATCH):
                rows = table.rows[start : start + _BATCH]
                values = [cell for row in rows for cell in row]
                connection.execute(f'INSERT INTO "{table.name}" VALUES {", ".join([marks] * len(rows))}', values)


def into_postgres(source: Path, dsn: str) -> None:
    """Fill the empty PostgreSQL database `dsn`, as a role that may create tables, from the SQLite file `source`."""
    with psycopg.connect(dsn) as connection:
        for table in _read(source):
            connection.execute(table.definition("BYTEA"))
            with connection.cursor().copy(f'COPY "{table.name}" FROM STDIN') as copy:
                for row in table.rows:
                    copy.write_row(row)


def _read(source: Path) -> list[_Table]:
    connection = sqlite3.connect(source)
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    tables = [_read_table(connection, name) for (name,) in connection.execute(query).fetchall()]
    connection.close()
    return tables


def _read_table(connection: sqlite3.Connection, name: str) -> _Table:
    info = connection.execute("SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", [name]).fetchall()
    columns = [column for column, _, _ in info]
    types = [_type(connection, name, column, declared.lower()) for column, declared, _ in info]
    key = [column.lower() for _, column in sorted((position, column) for column, _, position in info if position)]
    rows = connection.execute(f'SELECT {", ".join(_names(columns))} FROM "{name}"').fetchall()
    converted = [tuple(_cell(cell, kind) for cell, kind in zip(row, types, strict=True)) for row in rows]
    return _Table(name.lower(), [column.lower() for column in columns], types, key, converted)


def _type(connection: sqlite3.Connection, table: str, column: str, declared: str) -> str:
    """By the declared type where every value is of its kind, else the type that holds what is there."""
    query = f'SELECT DISTINCT typeof("{column}") FROM "{table}" WHERE "{column}" IS NOT NULL'
    held = {kind for (kind,) in connection.execute(query)}
    if wanted := next((kind for part, kind, fits in _TYPES if part in declared and held <= fits), None):
        return wanted
    if held <= {"integer"}:
        return "BIGINT"
    return "DOUBLE PRECISION" if held <= {"integer", "real"} else "VARCHAR"


def _cell(cell: object, kind: str) -> object:
    if cell is None:
        return None
    if kind == "BOOLEAN":
        return bool(cell)
    return str(cell) if kind == "VARCHAR" else cell


def _names(columns: list[str]) -> list[str]:
    return [f'"{column}"' for column in columns]
