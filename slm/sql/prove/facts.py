"""What a database declares about all its future contents: types, NOT NULL and unique keys, nothing mined from rows."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import apsw

from slm.sql.schema import Schema, affinity

ColumnName = tuple[str, str]  # table and column in lower case


@dataclass(frozen=True)
class Facts:
    """Declared constraints of a SQLite database; table and column names in `not_null` … `opaque` are in lower case.

    `unique` holds keys as (table, columns); NULLs may repeat in a key, unless its columns are in `not_null` too.
    `integers` are the columns that hold nothing but integers and NULL (rowid aliases, INTEGER in a STRICT table).
    `opaque` are columns about which nothing can be proved: another collation than BINARY, or a virtual table's.
    Foreign keys are left out, because SQLite does not enforce them unless a connection asks for it.
    """

    schema: Schema
    not_null: frozenset[ColumnName] = frozenset()
    unique: frozenset[tuple[str, tuple[str, ...]]] = frozenset()
    integers: frozenset[ColumnName] = frozenset()
    opaque: frozenset[ColumnName] = frozenset()

    @cached_property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Column names of each table, in lower case."""
        return {t.name.lower(): tuple(c.name.lower() for c in t.columns) for t in self.schema.tables}

    @cached_property
    def affinities(self) -> dict[str, tuple[str, ...]]:
        """The affinity of each column of each table: INTEGER, TEXT, BLOB, REAL or NUMERIC."""
        return {t.name.lower(): tuple(affinity(c.type) for c in t.columns) for t in self.schema.tables}

    @cached_property
    def keys(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """The unique keys of each table, as positions of columns."""
        found: dict[str, list[tuple[int, ...]]] = {}
        for table, names in sorted(self.unique):
            places = {name: i for i, name in enumerate(self.columns.get(table, ()))}
            if all(name in places for name in names):
                found.setdefault(table, []).append(tuple(places[name] for name in names))
        return {table: tuple(keys) for table, keys in found.items()}


def read_facts(connection: apsw.Connection, schema: Schema) -> Facts:
    """The constraints that the database declares and that SQLite enforces on every row. Raises apsw.Error."""
    kinds = {
        name.lower(): (kind, bool(without_rowid), bool(strict))
        for name, kind, without_rowid, strict in _rows(
            connection, "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'"
        )
    }
    not_null: set[ColumnName] = set()
    unique: set[tuple[str, tuple[str, ...]]] = set()
    integers: set[ColumnName] = set()
    opaque: set[ColumnName] = set()
    for table in schema.tables:
        name = table.name.lower()
        kind, without_rowid, strict = kinds.get(name, ("missing", False, False))
        columns = [(name, column.name.lower()) for column in table.columns]
        if kind != "table":
            opaque.update(columns)
            continue
        keys, indexed_primary = _unique_keys(connection, table.name)
        unique.update((name, key) for key in keys)
        info = _rows(connection, 'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?)', table.name)
        primary = [column.lower() for column, _, _, place in info if place]
        if len(primary) == 1 and not indexed_primary:  # no index of its own: another name of the rowid
            unique.add((name, (primary[0],)))
            not_null.add((name, primary[0]))
            integers.add((name, primary[0]))
        not_null.update((name, column.lower()) for column, _, enforced, _ in info if enforced)
        if without_rowid:
            not_null.update((name, column) for column in primary)
        if strict:
            integers.update((name, column.lower()) for column, kind, _, _ in info if kind.upper() in ("INT", "INTEGER"))
            opaque.update((name, column.lower()) for column, kind, _, _ in info if kind.upper() == "ANY")
        opaque.update((name, column) for column in _collated(connection, table.name))
    return Facts(schema, frozenset(not_null), frozenset(unique), frozenset(integers), frozenset(opaque))


def _unique_keys(connection: apsw.Connection, table: str) -> tuple[list[tuple[str, ...]], bool]:
    """The columns of unique indexes over all rows, and whether the primary key has an index."""
    keys = []
    primary = False
    indexes = _rows(connection, 'SELECT name, "unique", origin, partial FROM pragma_index_list(?)', table)
    for index, is_unique, origin, partial in indexes:
        primary |= origin == "pk"
        if is_unique and not partial:
            parts = _rows(connection, "SELECT cid, name FROM pragma_index_xinfo(?) WHERE key", index)
            if all(place >= 0 for place, _ in parts):  # else an expression or the rowid
                keys.append(tuple(name.lower() for _, name in parts))
    return keys, primary


def _collated(connection: apsw.Connection, table: str) -> list[str]:
    """Columns that do not compare byte by byte."""
    found = []
    for (column,) in _rows(connection, "SELECT name FROM pragma_table_xinfo(?)", table):
        _, collation, *_ = connection.column_metadata("main", table, column)
        if collation.upper() != "BINARY":
            found.append(column.lower())
    return found


def _rows(connection: apsw.Connection, sql: str, *bindings: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql, bindings).fetchall()
