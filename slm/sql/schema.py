"""What a SQLite database holds: tables, columns and keys, and their compact form for a prompt."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import apsw

from slm.errors import DataError


@dataclass(frozen=True, slots=True)
class Column:
    """`type` is as declared, and empty where none is."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    """`primary_key` names its columns in key order; empty where there is none."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`table.columns` refer to `parent.parent_columns`."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables in the order of their creation; names are spelled as their tables spell them."""

    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...]


def read_schema(path: Path) -> Schema:
    """The tables and keys of a SQLite file. Raises DataError for a file that is missing, broken or without tables."""
    expected = "a SQLite database with at least one table"
    if not path.is_file():
        raise DataError("no such database", where=str(path), expected=expected)
    try:
        connection = apsw.Connection(
            f"{path.absolute().as_uri()}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        schema = schema_of(connection)
        connection.close()
    except apsw.Error as error:
        raise DataError(f"not readable: {error}", where=str(path), expected=expected) from None
    if not schema.tables:
        raise DataError("the database is empty", where=str(path), expected=expected)
    return schema


def schema_of(connection: apsw.Connection) -> Schema:
    """The tables and keys of an open database. Raises apsw.Error."""
    tables = _read_tables(connection)
    keys = tuple(key for table in tables.values() for key in _read_foreign_keys(connection, table, tables))
    return Schema(tuple(tables.values()), keys)


def _read_tables(connection: apsw.Connection) -> dict[str, Table]:
    """By lower-case name. Views, SQLite's own tables and those that a virtual table keeps are left out."""
    names = _rows(
        connection,
        "SELECT s.name FROM sqlite_schema AS s JOIN pragma_table_list AS l ON l.schema = 'main' AND l.name = s.name"
        " WHERE l.type IN ('table', 'virtual') AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY s.rowid",
    )
    tables = {}
    for (name,) in names:
        info = _rows(connection, "SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1", name)
        key = sorted((position, column) for column, _, position in info if position)
        columns = tuple(Column(column, declared) for column, declared, _ in info)
        tables[name.lower()] = Table(name, columns, tuple(column for _, column in key))
    return tables


def _read_foreign_keys(connection: apsw.Connection, table: Table, tables: dict[str, Table]) -> list[ForeignKey]:
    """A key that names a table or column that is not there cannot be joined on, and is left out."""
    found: dict[int, tuple[str, list[str], list[str | None]]] = {}
    sql = 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq'
    for number, parent, column, target in _rows(connection, sql, table.name):
        _, columns, targets = found.setdefault(number, (parent, [], []))
        columns.append(column)
        targets.append(target)
    keys = []
    for parent_name, columns, targets in found.values():
        if (parent := tables.get(parent_name.lower())) is None:
            continue
        wanted = parent.primary_key if None in targets else [target for target in targets if target]
        ours, theirs = _spelled(table, columns), _spelled(parent, wanted)
        if len(ours) == len(theirs) == len(columns):
            keys.append(ForeignKey(table.name, ours, parent.name, theirs))
    return keys


def _rows(connection: apsw.Connection, sql: str, *bindings: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql, bindings).fetchall()


def _spelled(table: Table, names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    spelling = {column.name.lower(): column.name for column in table.columns}
    return tuple(spelling[name.lower()] for name in names if name.lower() in spelling)


def schema_text(schema: Schema) -> str:
    """One line for a table, `song(id int pk, title text, singer_id int)`, one for a key, `song.singer_id = singer.id`.

    Types are shortened to int, real, text, date, time, datetime, bool or blob; names that SQL needs quoted are quoted.
    """
    return "\n".join([*map(_table_line, schema.tables), *map(_key_line, schema.foreign_keys)])


def _table_line(table: Table) -> str:
    single = table.primary_key if len(table.primary_key) == 1 else ()
    parts = []
    for column in table.columns:
        words = [quoted(column.name), _short_type(column.type), "pk" if column.name in single else ""]
        parts.append(" ".join(filter(None, words)))
    if len(table.primary_key) > 1:
        parts.append(f"pk({', '.join(map(quoted, table.primary_key))})")
    return f"{quoted(table.name)}({', '.join(parts)})"


def _key_line(key: ForeignKey) -> str:
    def side(table: str, columns: tuple[str, ...]) -> str:
        names = ", ".join(f"{quoted(table)}.{quoted(column)}" for column in columns)
        return names if len(columns) == 1 else f"({names})"

    return f"{side(key.table, key.columns)} = {side(key.parent, key.parent_columns)}"


def _short_type(declared: str) -> str:
    """SQLite's own affinity rules, but dates, times and booleans keep their meaning."""
    lower = declared.lower()
    kinds = {
        "datetime": "datetime",
        "timestamp": "datetime",
        "date": "date",
        "time": "time",
        "bool": "bool",
        "int": "int",
        "char": "text",
        "clob": "text",
        "text": "text",
        "blob": "blob",
        "year": "int",
        "bit": "int",
    }
    return next((short for part, short in kinds.items() if part in lower), "real" if lower else "")


def affinity(declared: str) -> str:
    """INTEGER, TEXT, BLOB, REAL or NUMERIC: SQLite's five rules for a declared type, in their order.

    https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    """
    upper = declared.upper()
    if "INT" in upper:
        return "INTEGER"
    if any(part in upper for part in ("CHAR", "CLOB", "TEXT")):
        return "TEXT"
    if not upper or "BLOB" in upper:
        return "BLOB"
    return "REAL" if any(part in upper for part in ("REAL", "FLOA", "DOUB")) else "NUMERIC"


_MISREAD = frozenset(["interval"])  # sqlglot takes it for the beginning of a literal


@lru_cache(maxsize=8192)
def quoted(name: str) -> str:
    """The name as SQL must write it: in double quotes where SQLite or sqlglot would not take it bare."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    if plain and name.lower() not in _MISREAD and (name.upper() not in apsw.keywords or _usable_bare(name)):
        return name
    return '"' + name.replace('"', '""') + '"'


def _usable_bare(keyword: str) -> bool:
    """Most of SQLite's keywords are also names; `current_date` and its like would silently mean something else."""
    trial = f"CREATE TABLE t({keyword}); SELECT t.{keyword}, {keyword} AS {keyword} FROM t"  # noqa: S608 (only keywords come here)
    try:
        apsw.Connection(":memory:").execute(trial)
    except apsw.SQLError:
        return False
    return not keyword.lower().startswith("current_")
