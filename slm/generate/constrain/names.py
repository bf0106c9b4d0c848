"""Which names a SELECT may use: the tables it binds, what waits for tables that are still to come, and its aliases."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from slm.generate.constrain.words import begins_forward_alias, is_forward_alias
from slm.sql.schema import Schema, quoted


class RefusedError(Exception):
    """Whatever follows, SQLite would not take the query."""


@dataclass(frozen=True, slots=True)
class Relation:
    """The columns of a table or of a SELECT, in lower case; `width` counts also those without a name."""

    columns: frozenset[str]
    width: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A column as a query names it. `inside`: only a table of the same SELECT can be meant. `text`: else it is text."""

    column: str
    table: str | None = None
    inside: bool = False
    text: bool = False


def begins(name: str, start: str) -> bool:
    """Whether a name may be written so that it begins with `start`, which may open a double quote."""
    if start[:1] == '"':
        return name.startswith(start[1:].replace('""', '"'))
    return name.startswith(start) and quoted(name) == name


class Names:
    """The names of a schema, in lower case."""

    def __init__(self, schema: Schema) -> None:
        self.tables = {
            table.name.lower(): Relation(frozenset(column.name.lower() for column in table.columns), len(table.columns))
            for table in schema.tables
        }
        self.columns = frozenset[str]().union(*(table.columns for table in self.tables.values()))


@dataclass(slots=True, eq=False)
class Scope:
    """One SELECT. Until `closed`, further tables may come; until `opened`, there is none yet."""

    names: Names
    outer: "Scope | None"
    bound: dict[str, Relation] = field(default_factory=dict)
    waiting: list[Reference] = field(default_factory=list)
    merged: Counter[str] = field(default_factory=Counter)
    # Its aliases of results, and whether an aggregate stands behind each.
    labels: dict[str, bool] = field(default_factory=dict)
    # Columns that are named without their table while tables still come.
    bare: list[Reference] = field(default_factory=list)
    opened: bool = False
    closed: bool = False
    aggregates: bool = False

    def refer(self, reference: Reference) -> None:
        """A column is named. Raises RefusedError if nothing can be meant by it."""
        if self.resolves(reference):
            if self.opened and not self.closed and not reference.table:
                self.bare.append(reference)
            return
        if self.opened or not self._may_come(reference):
            raise RefusedError
        self.waiting.append(reference)

    def resolves(self, reference: Reference, *, labels: bool = True) -> bool:
        """Whether the tables bound here or outside have the column, or a SELECT outside may still get it.

        `labels`: or an alias of its own results is meant, as it cannot be in these results themselves.
        """
        if self.opened:
            found = self._count(reference)
            alias = labels and self.closed and not reference.table and reference.column in self.labels
            if found == 1 or (not found and alias):
                return True
            if found or reference.inside:
                return False
        elif reference.inside or not reference.table:
            return False
        if self.outer is None:
            return reference.text and self.closed
        if self.outer.resolves(reference):
            return True
        return not self.outer.opened and self.closed and self.outer.hands_over(reference)

    def hands_over(self, reference: Reference) -> bool:
        """Let a reference of a SELECT inside wait for the tables of this one."""
        if self._may_come(reference):
            self.waiting.append(reference)
            return True
        return False

    def bind(self, name: str, relation: Relation) -> None:
        """A table joins. Raises RefusedError if the name is taken, or if what waits for it does not fit."""
        if name in self.bound or not self.fits(name, relation):
            raise RefusedError
        self.bound[name] = relation

    def fits(self, name: str, relation: Relation) -> bool:
        """Whether the table has all columns that wait for a table of this name."""
        return all(waiting.column in relation.columns for waiting in self.waiting if waiting.table == name)

    def merge(self, columns: Iterable[str]) -> None:
        """NATURAL and USING make one column of two."""
        self.merged.update(columns)

    def is_ambiguous(self, joining: Relation | None = None) -> bool:
        """Whether two tables, with one that is `joining`, have a column that is named without its table."""
        more = joining.columns if joining else ()
        return any(
            not each.table and self._count(each) + (each.column in more) > 1 for each in (*self.waiting, *self.bare)
        )

    def helps(self, relation: Relation) -> bool:
        """Whether nothing waits for further tables, or something that does could be one of this one's columns."""
        lacking = [each for each in self.waiting if not each.text and not self.resolves(each)]
        return not lacking or any(
            each.column in relation.columns and (not each.table or self.fits(each.table, relation)) for each in lacking
        )

    def close(self) -> None:
        """No further table comes. Raises RefusedError if something still waits that nothing outside can be."""
        self.opened = self.closed = True
        if not all(self.resolves(waiting, labels=False) for waiting in self.waiting):
            raise RefusedError
        self.waiting.clear()

    def knows_table(self, name: str) -> bool:
        """Whether a column may be asked of a table of this name."""
        if name in self.bound or (self.outer is not None and self.outer.knows_table(name)):
            return True
        return not self.opened and (name in self.names.tables or is_forward_alias(name))

    def names_aggregate(self, reference: Reference) -> bool:
        """Whether an alias of an aggregate is meant."""
        label = self.closed and not reference.table and self.labels.get(reference.column, False)
        return label and not self._count(reference)

    def completes(self, start: str, table: str | None = None) -> bool:
        """Whether some column begins with `start` and would be taken."""
        if not self.opened and table is None:
            return any(begins(column, start) for column in self.names.columns)
        return any(
            begins(column, start) and (self.resolves(reference := Reference(column, table)) or self._awaits(reference))
            for column in self._visible(table)
        )

    def completes_table(self, start: str) -> bool:
        """Whether some table that may be asked for a column has a name that begins with `start`."""
        if any(begins(name, start) for name in self.bound) or (self.outer and self.outer.completes_table(start)):
            return True
        return not self.opened and (
            begins_forward_alias(start) or any(begins(name, start) for name in self.names.tables)
        )

    def _awaits(self, reference: Reference) -> bool:
        return not self.opened and self._may_come(reference)

    def _visible(self, table: str | None) -> set[str]:
        """Names that could be columns, of the given table if there is one."""
        relations = self.bound if self.opened else self.names.tables
        found = set[str]().union(
            *(item.columns for name, item in relations.items() if table in (None, name) or not self.opened)
        )
        found |= set() if table else set(self.labels)
        return found | (self.outer._visible(table) if self.outer else set())

    def _count(self, reference: Reference) -> int:
        column = reference.column
        if reference.table:
            relation = self.bound.get(reference.table)
            return int(relation is not None and column in relation.columns)
        return sum(column in relation.columns for relation in self.bound.values()) - self.merged[column]

    def _may_come(self, reference: Reference) -> bool:
        """Whether some table could have all the columns that are asked of this name."""
        if reference.text:
            return True
        if not reference.table:
            return reference.column in self.names.columns
        own = self.names.tables.get(reference.table)
        homes = [own] if own else self.names.tables.values() if is_forward_alias(reference.table) else ()
        asked = {waiting.column for waiting in self.waiting if waiting.table == reference.table}
        asked.add(reference.column)
        return any(asked <= home.columns for home in homes)
