"""Which column a name means: SQLite's order of looking in FROM, in output aliases, outwards, and then as text."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from sqlglot import exp

from slm.sql.prove.terms import Expr, Query, Source, Unprovable
from slm.sql.prove.world import World

Names = list[str | None]
Ctes = dict[str, tuple[exp.Expr, Names, "Ctes"] | None]  # None while it is not yet defined


def only(node: exp.Expr, *allowed: str) -> None:
    """Raises Unprovable if the node says more than these arguments."""
    for key, value in node.args.items():
        if value and key not in allowed:
            raise Unprovable(f"{key} of {type(node).__name__}")


@dataclass
class Entry:
    """One item of FROM. `names` are its columns, None for one that only its expression names."""

    name: str
    source: Source
    names: list[str | None]
    hidden: set[int] = field(default_factory=set)  # the right-hand columns of USING and NATURAL

    def places(self, name: str) -> list[int]:
        """Where columns of that name stand."""
        return [i for i, column in enumerate(self.names) if column == name]


@dataclass
class Scope:
    """The names that one SELECT sees. `aliases` maps an output alias to its expression, None if it is given twice."""

    parent: "Scope | None"
    entries: list[Entry] = field(default_factory=list)
    aliases: dict[str, exp.Expr | None] = field(default_factory=dict)
    sees_aliases: bool = False

    def chain(self) -> Iterator["Scope"]:
        """This scope and those around it, from the inside."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def add(self, entry: Entry) -> None:
        """Raises Unprovable if the name is taken."""
        if any(other.name == entry.name for other in self.entries):
            raise Unprovable("two tables of one name")
        self.entries.append(entry)

    def owns(self, column: Expr) -> bool:
        """Whether it is a column of this FROM."""
        return any(entry.source.occurrence == column[1] for entry in self.entries)

    def find(self, table: str, name: str) -> Expr | None:
        """The column of that name in this FROM. Raises Unprovable if two could be meant."""
        found = [
            ("col", entry.source.occurrence, place)
            for entry in self.entries
            if table in ("", entry.name)
            for place in entry.places(name)
            if table or place not in entry.hidden
        ]
        if len(found) > 1:
            raise Unprovable(f"ambiguous: {name}")
        return found[0] if found else None

    def star(self, table: str | None) -> list[tuple[Expr, str | None]]:
        """What `*` or `table.*` stands for: columns and their names."""
        found = [
            (("col", entry.source.occurrence, place), name)
            for entry in self.entries
            if table in (None, entry.name)
            for place, name in enumerate(entry.names)
            if table is not None or place not in entry.hidden
        ]
        if not found:
            raise Unprovable("nothing for *")
        return found

    def has_unnamed(self) -> bool:
        """Whether a quoted name could mean a column that has no name of its own, such as "count(*)"."""
        return any(None in entry.names for scope in self.chain() for entry in scope.entries)


class Reads(Protocol):
    """What the parts of a reader need of the whole; every method raises Unprovable."""

    world: World
    double_quoted_text: bool
    ctes: Ctes

    def is_double_quoted(self, name: exp.Identifier) -> bool:
        """Whether it is written in double quotes."""

    def expression(self, node: exp.Expr, scope: Scope) -> Expr:
        """The term for an expression."""

    def query(self, node: exp.Expr, parent: Scope | None) -> tuple[Query, list[str | None]]:
        """A subquery and its column names."""
