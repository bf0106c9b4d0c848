"""A parsed query as the mutations see it: its nodes, the table of each column, and edits that can be undone."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlglot import exp

from slm.sql.schema import Column, Schema, Table, quoted

Change = tuple[exp.Expr, str, Any]
"""A node, the name of one of its arguments, and the value that the argument takes."""
Edit = Sequence[Change]

_NUMBER_TYPES = ("int", "real", "floa", "doub", "num", "dec", "bool", "serial", "money")


class Query:
    """A tree that rules read, and that an edit changes only while it is printed.

    A rule never puts a node of the tree into a new one (that would change its parent): it copies the node.
    """

    def __init__(self, tree: exp.Expr, schema: Schema, dialect: str) -> None:
        self.dialect = dialect
        self._holder = exp.Paren(this=tree)  # so that the root, too, is an argument of something
        self._nodes = list(tree.walk())
        ctes = {node.alias.lower() for node in self.all(exp.CTE)}
        self.schema = schema
        self._tables = {table.name.lower(): table for table in schema.tables if table.name.lower() not in ctes}
        self._sources: dict[int, dict[str, Table | None]] = {}
        self._words = {column.this.name.lower() for column in self.all(exp.Column)}

    @property
    def tree(self) -> exp.Expr:
        """The root as it is at this moment."""
        root: exp.Expr = self._holder.this
        return root

    def all(self, *types: type[exp.Expr]) -> list[Any]:
        """The nodes of these types, outermost first."""
        return [node for node in self._nodes if isinstance(node, types)]

    def apply(self, edit: Edit) -> Edit:
        """Changes the tree; returns the edit that takes the change back."""
        undo = [(node, name, node.args.get(name)) for node, name, _ in edit]
        for node, name, value in edit:
            node.set(name, value)
        return undo[::-1]

    def sources(self, select: exp.Expr) -> dict[str, Table | None]:
        """What FROM and JOIN bring in, by lower-case alias; None for a subquery or a WITH table."""
        if id(select) not in self._sources:
            parts = [part.this for part in [select.args.get("from_"), *(select.args.get("joins") or [])] if part]
            self._sources[id(select)] = {
                part.alias_or_name.lower(): self._tables.get(part.name.lower()) if isinstance(part, exp.Table) else None
                for part in parts
            }
        return self._sources[id(select)]

    def owner(self, column: exp.Column) -> Table | None:
        """The schema's table of this column, looked up from the innermost SELECT outwards; None where not known."""
        name, alias = column.name.lower(), column.table.lower()
        select = column.find_ancestor(exp.Select)
        while select is not None:
            sources = self.sources(select)
            for table in [sources.get(alias)] if alias else sources.values():
                if table is not None and _named(table, name):
                    return table
            if alias in sources:
                return None
            select = select.find_ancestor(exp.Select)
        return None

    def kind(self, node: exp.Expr) -> str:
        """`number`, `text` or `""`: what a column's declared type says of its values."""
        table = self.owner(node) if isinstance(node, exp.Column) else None
        declared = _named(table, node.name.lower()) if table else None
        return type_kind(declared) if declared else ""

    def text(self, node: exp.Expr | None) -> str | None:
        """The value of a text constant; SQLite takes a name in double quotes that is no column as text."""
        if isinstance(node, exp.Literal) and node.is_string:
            return str(node.this)
        if self.dialect != "sqlite" or not isinstance(node, exp.Column) or node.table:
            return None
        select = node.find_ancestor(exp.Select)
        unknown = select is None or None in self.sources(select).values() or self.owner(node) is not None
        return node.name if not unknown and node.this.args.get("quoted") else None

    def columns(self, *nodes: exp.Expr | None) -> list[exp.Column]:
        """The columns among these nodes that belong to a table of the schema."""
        return [node for node in nodes if isinstance(node, exp.Column) and self.owner(node) is not None]

    def is_key(self, column: exp.Column) -> bool:
        """Whether the column alone is the primary key of its table."""
        table = self.owner(column)
        return table is not None and [name.lower() for name in table.primary_key] == [column.name.lower()]

    def has_key(self, select: exp.Expr, columns: list[exp.Column]) -> bool:
        """Whether these columns hold the primary key of the only table of this SELECT: then no row comes twice."""
        tables = list(self.sources(select).values())
        if len(tables) != 1 or tables[0] is None or not tables[0].primary_key:
            return False
        return {name.lower() for name in tables[0].primary_key} <= {column.name.lower() for column in columns}

    def sibling(self, column: exp.Column, name: str) -> exp.Column:
        """The column `name` of the same table, qualified as the given one is, or must be among several tables."""
        alias, select = column.args.get("table"), column.find_ancestor(exp.Select)
        if alias is None and select is not None and len(sources := self.sources(select)) > 1:
            owner = self.owner(column)
            alias = next((exp.to_identifier(key) for key, table in sources.items() if table is owner), None)
        return self.column(name, alias)

    def column(self, name: str, alias: exp.Expr | str | None = None) -> exp.Column:
        """A new column node; the name is quoted where the dialect needs it."""
        needed = quoted(name) != name or (self.dialect == "postgres" and name != name.lower())
        table = alias.copy() if isinstance(alias, exp.Expr) else alias and exp.to_identifier(alias)
        return exp.Column(this=exp.to_identifier(name, quoted=needed), table=table)

    def others(self, column: exp.Column, same_kind: bool = True) -> list[str]:
        """Columns that may be taken for this one: the query's own words first, then the nearest in the table."""
        table = self.owner(column)
        if table is None:
            return []
        names = [entry.name.lower() for entry in table.columns]
        place = names.index(column.name.lower())
        kind = type_kind(table.columns[place])
        near = sorted(range(len(names)), key=lambda i: (names[i] not in self._words, abs(i - place), i))
        return [
            table.columns[i].name for i in near if i != place and (not same_kind or kind == type_kind(table.columns[i]))
        ]


def type_kind(column: Column) -> str:
    """`number`, `text` or `""` (dates, blobs and undeclared types are mostly kept as text, but need not be)."""
    declared = column.type.lower()
    if any(word in declared for word in _NUMBER_TYPES):
        return "number"
    return "text" if any(word in declared for word in ("char", "clob", "text")) else ""


def _named(table: Table, lower: str) -> Column | None:
    return next((column for column in table.columns if column.name.lower() == lower), None)


def swap(node: exp.Expr, new: exp.Expr) -> Change:
    """Puts `new` in the place of `node`."""
    return _replaced(node, [new])


def drop(node: exp.Expr) -> Change:
    """Removes the node from its parent."""
    return _replaced(node, [])


def _replaced(node: exp.Expr, new: list[exp.Expr]) -> Change:
    parent, name = node.parent, node.arg_key
    if parent is None or name is None:
        raise ValueError("the node is in no tree")
    held = parent.args[name]
    if isinstance(held, list):
        return parent, name, [item for old in held for item in (new if old is node else [old])]
    return parent, name, new[0] if new else None


def with_condition(select: exp.Expr, condition: exp.Expr) -> Change:
    """Adds the condition to WHERE."""
    where = select.args.get("where")
    if where is not None:
        old = where.this.copy()
        condition = exp.And(this=exp.Paren(this=old) if isinstance(old, exp.Or) else old, expression=condition)
    return select, "where", exp.Where(this=condition)


def is_inner(node: exp.Expr) -> bool:
    """Whether the node stands in a subquery, below the outermost SELECTs."""
    select = node if isinstance(node, exp.Select) else node.find_ancestor(exp.Select)
    return select is not None and select.find_ancestor(exp.Select) is not None


def is_source(select: exp.Expr) -> bool:
    """Whether the outer query reads this one's columns by their names: a WITH table or a subquery in FROM."""
    above = select.parent
    return isinstance(above, exp.CTE) or (
        isinstance(above, exp.Subquery) and isinstance(above.parent, exp.From | exp.Join)
    )


def plain_projections(select: exp.Expr) -> Iterator[exp.Expr]:
    """What SELECT lists, without the aliases."""
    return (item.unalias() for item in select.args.get("expressions") or [])
