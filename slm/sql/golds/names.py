"""Which table's column a name in a parsed query means, and what SQLite would do with its values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from slm.sql.schema import Schema, Table, affinity

if TYPE_CHECKING:
    from sqlglot import exp


class Origin(NamedTuple):
    """A column of a relation in a FROM clause, in lower case; `table` is None for a subquery or CTE."""

    relation: str
    column: str
    table: Table | None

    @property
    def affinity(self) -> str:
        """`text`, `number` or `none` by SQLite's rules for the declared type (a number is any of its numeric kinds)."""
        types = (
            [column.type for column in self.table.columns if column.name.lower() == self.column] if self.table else []
        )
        return kind_of(types[0]) if types else "none"


def kind_of(declared: str) -> str:
    """`text`, `number` or `none` by the affinity of a declared type."""
    return {"TEXT": "text", "BLOB": "none"}.get(affinity(declared), "number")


class Names:
    """Looks names up in the FROM clauses around them, innermost first."""

    def __init__(self, tree: exp.Expr, schema: Schema) -> None:
        from sqlglot import exp

        self.exp = exp
        self.ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        self.tables = {table.name.lower(): table for table in schema.tables}
        self.known: dict[int, dict[str, Table | None]] = {}

    def relations(self, select: exp.Expr) -> dict[str, Table | None]:
        """The relations of a SELECT's FROM by alias, in lower case."""
        if id(select) not in self.known:
            parts = [select.args.get("from_"), *(select.args.get("joins") or [])]
            self.known[id(select)] = dict(pair for part in parts if part for pair in self._inside(part))
        return self.known[id(select)]

    def _inside(self, node: exp.Expr) -> Iterator[tuple[str, Table | None]]:
        if isinstance(node, self.exp.Table):
            name = node.name.lower()
            yield (node.alias or node.name).lower(), None if name in self.ctes else self.tables.get(name)
            for join in node.args.get("joins") or []:
                yield from self._inside(join)
        elif isinstance(node, self.exp.Subquery) and isinstance(node.this, self.exp.Query):
            yield node.alias.lower(), None
        elif isinstance(node, self.exp.From | self.exp.Join | self.exp.Subquery | self.exp.Paren):
            yield from self._inside(node.this)

    def origin(self, column: exp.Column) -> Origin | None:
        """Where a column comes from; None where that is not certain."""
        name, qualifier = column.name.lower(), column.table.lower()
        select = column.find_ancestor(self.exp.Select)
        while select is not None:
            relations = self.relations(select)
            if qualifier in relations:
                return Origin(qualifier, name, relations[qualifier])
            having = [alias for alias, table in relations.items() if table and name in _column_names(table)]
            unknown = [alias for alias, table in relations.items() if table is None]
            if not qualifier and having:
                return Origin(having[0], name, relations[having[0]])
            if not qualifier and unknown:
                return Origin(unknown[0], name, None) if len(relations) == 1 else None
            select = select.find_ancestor(self.exp.Select)
        return None

    def affinity(self, node: exp.Expr) -> str:
        """The affinity of an expression; a subquery has that of its column, and a result of a function has none."""
        exp = self.exp
        if isinstance(node, exp.Column):
            origin = self.origin(node)
            return origin.affinity if origin else "none"
        if isinstance(node, exp.Cast):
            return kind_of(node.to.sql(dialect="sqlite"))
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select):
            return self.affinity(node.this.expressions[0])
        return self.affinity(node.this) if isinstance(node, exp.Paren | exp.Alias) else "none"


def _column_names(table: Table) -> set[str]:
    return {column.name.lower() for column in table.columns}


def own_nodes(node: exp.Expr) -> Iterator[exp.Expr]:
    """The node and what is below it, without subqueries."""
    from sqlglot import exp

    return node.walk(prune=lambda each: isinstance(each, exp.Query) and each is not node)
