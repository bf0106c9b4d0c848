"""What the queries look for: the values they compare columns with, group sizes, row limits, joined columns.

Whatever cannot be told is left out: it makes instances less telling, never wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from slm.sql.instances.constraints import Constraints
from slm.sql.instances.near import like_matches, neighbours, number_of, text_neighbours, text_of_length
from slm.sql.results import Cell

_ORDERINGS = ("gt", "gte", "lt", "lte", "between")
ColumnName = tuple[str, str]  # table and column, spelled as the database spells them


@dataclass(frozen=True, slots=True)
class Wanted:
    """A comparison of a column: values that meet it, values that just miss it. `given` is the literal itself.

    `patterns` are LIKE patterns: real values that match one are worth having too.
    """

    column: ColumnName
    given: tuple[Cell, ...] = ()
    match: tuple[Cell, ...] = ()
    near: tuple[Cell, ...] = ()
    patterns: tuple[str, ...] = ()


@dataclass(slots=True)
class Literals:
    """What a query looks for; names are spelled as the database spells them, in the order of the query.

    `group_sizes` are the numbers that counts are compared with, `joins` pairs of columns that are compared,
    `grouped` and `ordered` the columns of GROUP BY and ORDER BY.
    """

    tables: list[str] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    joins: list[tuple[ColumnName, ColumnName]] = field(default_factory=list)
    group_sizes: list[int] = field(default_factory=list)
    grouped: list[ColumnName] = field(default_factory=list)
    ordered: list[ColumnName] = field(default_factory=list)
    used: list[ColumnName] = field(default_factory=list)
    limit: int = 0

    def with_tables_of(self, other: "Literals") -> "Literals":
        """This one's values, and the tables, joins, groups and limits of both."""
        return Literals(
            tables=_merged(self.tables, other.tables),
            wanted=self.wanted,
            joins=_merged(self.joins, other.joins),
            group_sizes=_merged(self.group_sizes, other.group_sizes),
            grouped=_merged(self.grouped, other.grouped),
            ordered=_merged(self.ordered, other.ordered),
            used=_merged(self.used, other.used),
            limit=max(self.limit, other.limit),
        )


def _merged(left: list[Any], right: list[Any]) -> list[Any]:
    return list(dict.fromkeys([*left, *right]))


def find(sql: str, facts: Constraints, dialect: str = "sqlite") -> Literals:
    """What a query looks for; nothing where sqlglot cannot read the query."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(sql, read=dialect)
    except (SqlglotError, RecursionError):
        return Literals()
    return _Reader(tree, facts).read()


class _Reader:
    """Walks one query; `_exp` is sqlglot's `exp`, kept here because sqlglot is imported late."""

    def __init__(self, tree: Any, facts: Constraints) -> None:
        from sqlglot import exp

        self._exp, self._tree, self._facts = exp, tree, facts
        self._found = Literals()

    def read(self) -> Literals:
        exp, found = self._exp, self._found
        for node in self._tree.walk():
            if isinstance(node, exp.Table) and (facts := self._facts.by_name.get(node.name.lower())):
                found.tables.append(facts.name)
            elif isinstance(node, (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is)):
                self._comparison(node)
            elif isinstance(node, exp.Between):
                for end in (node.args["low"], node.args["high"]):
                    self._compared(node.this, end, "between")
            elif isinstance(node, exp.In):
                self._in(node)
            elif isinstance(node, (exp.Like, exp.ILike, exp.Glob)):
                self._like(node)
            elif isinstance(node, exp.Limit):
                self._limit(node)
            elif isinstance(node, (exp.Group, exp.Order)):
                self._keys(node)
            elif isinstance(node, exp.SetOperation):
                self._set_operation(node)
            elif isinstance(node, exp.Column) and (column := self._resolve(node)):
                found.used.append(column)
        for name in ("tables", "joins", "group_sizes", "grouped", "ordered", "used", "wanted"):
            setattr(found, name, list(dict.fromkeys(getattr(found, name))))
        return found

    def _resolve(self, column: Any) -> ColumnName | None:
        """The table's column that a name means: of the nearest query around it that has a table with it."""
        select = column.find_ancestor(self._exp.Select)
        while select is not None:
            for alias, table in self._sources(select):
                qualified = column.table.lower()
                if qualified and qualified != alias:
                    continue
                if facts := self._facts.column(table, column.name):
                    return self._facts.by_name[table].name, facts.name
            select = select.find_ancestor(self._exp.Select)
        return None

    def _sources(self, select: Any) -> Iterator[tuple[str, str]]:
        source = select.args.get("from_")
        joins = select.args.get("joins") or []
        for item in [source.this if source else None, *(join.this for join in joins)]:
            if isinstance(item, self._exp.Table) and item.name.lower() in self._facts.by_name:
                yield item.alias_or_name.lower(), item.name.lower()
            elif isinstance(item, self._exp.Subquery) and isinstance(item.this, self._exp.Select):
                yield from self._sources(item.this)  # a column keeps its name on the way out, mostly

    def _value(self, node: Any) -> tuple[bool, Cell]:
        """Whether a node is a literal, and its value. Text in double quotes that names no column is one."""
        exp = self._exp
        if isinstance(node, exp.Paren):
            return self._value(node.this)
        if isinstance(node, exp.Neg):
            known, value = self._value(node.this)
            return known and isinstance(value, (int, float)), -value if isinstance(value, (int, float)) else None
        if isinstance(node, exp.Literal):
            return True, node.this if node.is_string else number_of(node.this)
        is_text = isinstance(node, exp.Column) and node.this.args.get("quoted") and not node.table
        if is_text and self._resolve(node) is None:
            return True, node.name
        return False, None

    def _comparison(self, node: Any) -> None:
        left, right = node.this, node.expression
        if self._value(left)[0]:
            left, right = right, left
        if self._value(right)[0]:
            self._compared(left, right, node.key)
        elif not isinstance(node, self._exp.Is):
            self._joined(left, right)

    def _joined(self, left: Any, right: Any) -> None:
        """Two columns that are compared, the second maybe the only output of a subquery."""
        columns = []
        for side in (left, right):
            query = side.this if isinstance(side, self._exp.Subquery) else side
            if isinstance(query, self._exp.Select):
                side = query.expressions[0].unalias() if len(query.expressions) == 1 else None
            named = side if isinstance(side, self._exp.Column) else side and side.find(self._exp.Column)
            columns.append(self._resolve(named) if named else None)
        if columns[0] and columns[1] and columns[0] != columns[1]:
            self._found.joins.append((columns[0], columns[1]))

    def _compared(self, side: Any, literal: Any, operator: str) -> None:
        exp = self._exp
        known, value = self._value(literal)
        if not known or value is None:
            return
        if side.find(exp.Count) and isinstance(value, (int, float)):
            self._found.group_sizes.append(int(value))
            return
        named = side if isinstance(side, exp.Column) else side.find(exp.Column)
        column = self._resolve(named) if named else None
        if column is None:
            return
        below, above = neighbours(value)
        given: tuple[Cell, ...] = (value,)
        if side.find(exp.Length):
            value, *others = map(text_of_length, (value, *below, *above))
            below, above = tuple(others[: len(below)]), tuple(others[len(below) :])
            given = (value, *below, *above)
        elif operator in _ORDERINGS and isinstance(value, str) and not below and not above:
            below, above = text_neighbours(value)
            given = (value, *below, *above)
        match, near = {
            "gt": (above, (value, *below)),
            "gte": ((value, *above), below),
            "lt": (below, (value, *above)),
            "lte": ((value, *below), above),
            "neq": ((*below, *above), (value,)),
        }.get(operator, ((value,), (*below, *above)))
        self._found.wanted.append(Wanted(column, given, match, near))

    def _in(self, node: Any) -> None:
        query = node.args.get("query")
        if query is not None:
            self._joined(node.this, query)
        for item in node.expressions:
            self._compared(node.this, item, "eq")

    def _like(self, node: Any) -> None:
        known, pattern = self._value(node.expression)
        named = node.this.find(self._exp.Column)
        column = self._resolve(named) if named else None
        if not known or not isinstance(pattern, str) or column is None:
            return
        wild, one = ("*", "?") if isinstance(node, self._exp.Glob) else ("%", "_")
        like = pattern.replace(wild, "%").replace(one, "_")
        bare, long = like.replace("_", "a").replace("%", ""), like.replace("_", "b").replace("%", "xy")
        near = [bare[:-1], f"x{bare}", f"{bare}x"] if bare else []
        match = tuple(dict.fromkeys([bare, long] if bare else [long]))
        close = tuple(text for text in near if text and not like_matches(like, text))
        self._found.wanted.append(Wanted(column, (), match, close, (like,)))

    def _limit(self, node: Any) -> None:
        known, value = self._value(node.expression)
        if known and isinstance(value, int):
            self._found.limit = max(self._found.limit, value)

    def _keys(self, node: Any) -> None:
        into = self._found.grouped if isinstance(node, self._exp.Group) else self._found.ordered
        into += filter(None, map(self._resolve, node.find_all(self._exp.Column)))

    def _set_operation(self, node: Any) -> None:
        left, right = node.this.unnest(), node.expression.unnest()
        if isinstance(left, self._exp.Select) and isinstance(right, self._exp.Select):
            for ours, theirs in zip(left.expressions, right.expressions, strict=False):
                self._joined(ours.unalias(), theirs.unalias())
