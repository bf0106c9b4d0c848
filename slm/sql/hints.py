"""What there is, beside a name that there is not: for the people who read a verdict."""

from functools import lru_cache
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from slm.errors import DataError
from slm.sql.schema import Schema, Table, read_schema

_LONGEST = 20_000  # characters of a query that are parsed; it may be hostile


def with_hint(message: str, sql: str, database: Path) -> str:
    """SQLite's "no such column: T2.foo" or "no such table: bar", and the names that the query could have used."""
    problem = message.partition(" - should this be")[0]
    schema = _schema(database)
    if schema is None:
        return problem
    if problem.startswith("no such table"):
        return f"{problem} (has: {', '.join(table.name for table in schema.tables)})"
    qualifier, _, column = problem.partition(": ")[2].rpartition(".")
    owners = [table.name for table in schema.tables if column.lower() in _names(table)]
    hints = [f"{table.name} has: {', '.join(c.name for c in table.columns)}" for table in _used(sql, schema, qualifier)]
    if owners:
        hints.append(f"{column} is in: {', '.join(owners)}")
    return f"{problem} ({'; '.join(hints)})" if hints else problem


@lru_cache(maxsize=64)
def _schema(database: Path) -> Schema | None:
    try:
        return read_schema(database)
    except DataError:
        return None


def _names(table: Table) -> set[str]:
    return {column.name.lower() for column in table.columns}


def _used(sql: str, schema: Schema, qualifier: str) -> list[Table]:
    """The tables that the query reads; with a qualifier, those that it stands for."""
    if len(sql) > _LONGEST:
        return []
    try:
        tree = sqlglot.parse_one(sql, read="sqlite")
    except (SqlglotError, RecursionError):
        return []
    wanted = {
        table.name.lower()
        for table in tree.find_all(exp.Table)
        if not qualifier or table.alias_or_name.lower() == qualifier.lower()
    }
    return [table for table in schema.tables if table.name.lower() in wanted]
