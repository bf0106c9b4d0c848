"""What a database's rows obey: what its schema declares, and what its rows show often enough to be believed.

A mined rule needs `SUPPORT` rows: a rule that n rows never broke may still be broken by 3/n of all rows (the rule of
three), so below 30 rows the data say little. A column's kind of value (integers, ISO dates …) is kept at any size.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import apsw

from slm.sql.instances.domains import SUPPORT, Domain, domain_of, rows_of, source_of, statistics_of
from slm.sql.instances.template import make_template
from slm.sql.results import Row
from slm.sql.schema import ForeignKey, Schema, Table, affinity, quoted

_TELLING = 5  # different texts that are all another column's
_AT_ONCE = 40  # columns in one statement

Origin = Literal["declared", "mined"]


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """`unique` is of this column alone. A generated column takes no values."""

    name: str
    affinity: str
    not_null: Origin | None
    unique: Origin | None
    generated: bool
    domain: Domain


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Each `table.columns` without a NULL is one of `parent.parent_columns`."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True, slots=True)
class TableFacts:
    """`keys` are the declared ones, of one or more columns each. `rows` are some real ones, cells as in `columns`."""

    name: str
    columns: tuple[ColumnFacts, ...]
    keys: tuple[tuple[str, ...], ...]
    count: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Constraints:
    """The rules of one database. `template` is the image of a database with its tables, indexes and views, no rows.

    `known` keeps what `included` asked, by table, column, parent and its column.
    """

    tables: tuple[TableFacts, ...]
    inclusions: tuple[Inclusion, ...]
    template: bytes = field(repr=False)
    known: dict[tuple[str, ...], bool] = field(default_factory=dict, repr=False)

    @cached_property
    def by_name(self) -> dict[str, TableFacts]:
        """The tables by lower-case name."""
        return {table.name.lower(): table for table in self.tables}

    def column(self, table: str, column: str) -> ColumnFacts | None:
        """The facts of a column, whose names may be in any case."""
        facts = self.by_name.get(table.lower())
        return next((c for c in facts.columns if c.name.lower() == column.lower()), None) if facts else None


def mine(connection: apsw.Connection, schema: Schema) -> Constraints:
    """Read the rules of a database, in a few passes over each table. Raises apsw.Error if it cannot be read."""
    template, names = make_template(connection)
    tables = tuple(_table(connection, table) for table in schema.tables if table.name.lower() in names)
    facts = Constraints(tables, tuple(_declared(schema.foreign_keys, names)), template)
    return replace(facts, inclusions=(*facts.inclusions, *_undeclared_keys(connection, facts)))


def _declared(keys: Iterable[ForeignKey], names: set[str]) -> Iterable[Inclusion]:
    for key in keys:
        if {key.table.lower(), key.parent.lower()} <= names:
            yield Inclusion(key.table, key.columns, key.parent, key.parent_columns, "declared")


def _table(connection: apsw.Connection, table: Table) -> TableFacts:
    info: list[tuple[Any, ...]] = connection.execute(
        'SELECT name, upper(type), "notnull", pk, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1', (table.name,)
    ).fetchall()
    keys = [table.primary_key] if table.primary_key else []
    found: list[tuple[Any, ...]] = connection.execute(
        "SELECT l.name, i.name FROM pragma_index_list(?) AS l, pragma_index_info(l.name) AS i"
        ' WHERE l."unique" AND NOT l.partial ORDER BY l.seq, i.seqno',
        (table.name,),
    ).fetchall()
    indexes: dict[str, list[str | None]] = {}
    for index, column in found:
        indexes.setdefault(index, []).append(column)
    keys += [tuple(name for name in columns if name) for columns in indexes.values() if None not in columns]
    single = {key[0] for key in keys if len(key) == 1}
    columns, count = [], 0
    for start in range(0, len(info), _AT_ONCE):
        part = info[start : start + _AT_ONCE]
        count, statistics = statistics_of(connection, table.name, [name for name, *_ in part])
        for (name, declared, not_null, pk, hidden), numbers in zip(part, statistics, strict=True):
            all_there: Origin | None = "mined" if count >= SUPPORT and numbers.filled == count else None
            distinct: Origin | None = (
                "mined" if numbers.filled >= SUPPORT and numbers.distinct == numbers.filled else None
            )
            domain = domain_of(connection, table.name, name, declared, numbers)
            facts = ColumnFacts(
                name=name,
                affinity=affinity(declared),
                not_null="declared" if not_null or pk else all_there,
                unique="declared" if name in single else distinct,
                generated=hidden in (2, 3),
                domain=domain,
            )
            columns.append(facts)
    rows = rows_of(connection, table.name, [name for name, *_ in info], count)
    return TableFacts(table.name, tuple(columns), tuple(dict.fromkeys(keys)), count, rows)


def _undeclared_keys(connection: apsw.Connection, facts: Constraints) -> list[Inclusion]:
    """Columns that hold only values of another table's unique column, where more than chance speaks for a key.

    That is where both have one name, where the column is named after the table (`source_airport`, `airports`), or
    where the values are texts. Numbers alone prove little.
    """
    parents = [(table, column) for table in facts.tables for column in table.columns if column.unique]
    found = []
    for table in facts.tables:
        for column in table.columns:
            for parent, target in parents:
                if parent is table or not _may_refer(column, parent, target):
                    continue
                if key := included(connection, facts, (table.name, column.name), (parent.name, target.name)):
                    found.append(key)
                    break
    return found


def _may_refer(column: ColumnFacts, parent: TableFacts, target: ColumnFacts) -> bool:
    ours, theirs = column.domain, target.domain
    if ours.kind != theirs.kind or ours.closed:
        return False
    name, table = column.name.lower().replace("_", ""), parent.name.lower().replace("_", "").removesuffix("s")
    is_key = (target.name,) in parent.keys
    if column.name.lower() == target.name.lower() or (is_key and table in name):
        return True
    return is_key and ours.kind == "text" and len(ours.samples) >= _TELLING


def included(
    connection: apsw.Connection, facts: Constraints, child: tuple[str, str], parent: tuple[str, str]
) -> Inclusion | None:
    """The mined rule that the column `child` (table, column) holds only values of the unique column `parent`.

    None where it does not hold, where too few rows show it, where a key is declared already, or where `child` is a key
    itself (that its numbers are another's too proves little: both count from 1).
    """
    column, target = facts.column(*child), facts.column(*parent)
    if not column or not target or not target.unique or column.unique == "declared":
        return None
    if any(key.table == child[0] and key.columns == (child[1],) for key in facts.inclusions):
        return None
    if child + parent not in facts.known:
        c, t = quoted(child[1]), quoted(parent[1])
        sql = (
            f"SELECT count({c}), total({c} IS NOT NULL AND {c} NOT IN"  # noqa: S608
            f" (SELECT {t} FROM {quoted(parent[0])} WHERE {t} IS NOT NULL)) FROM {source_of(child[0])}"
        )
        row: tuple[Any, ...] = connection.execute(sql).fetchall()[0]
        filled, outside = row
        facts.known[child + parent] = filled >= SUPPORT and not outside
    if not facts.known[child + parent]:
        return None
    return Inclusion(child[0], (child[1],), parent[0], (parent[1],), "mined")
