"""Finds text that a query treats as numbers, and text in double quotes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from slm.sql.golds.names import Names, Origin
from slm.sql.results import Refused, ResultSet
from slm.sql.schema import quoted

if TYPE_CHECKING:
    from sqlglot import exp

_OTHERWISE = ", as text not in the order of its numbers"
_MOSTLY = 0.9  # of the values of a column of numbers are numbers; the rest is a placeholder such as "null"


def double_quoted_texts(tree: exp.Expr, names: Names) -> Iterator[str]:
    """Names in double quotes that are no column of the query, in the order of the text; SQLite takes them as text."""
    from sqlglot import exp

    aliases = {alias.alias.lower() for alias in tree.find_all(exp.Alias)}
    inside = any(None in names.relations(select).values() for select in tree.find_all(exp.Select))
    for column in tree.find_all(exp.Column, bfs=False):
        plain = isinstance(column.this, exp.Identifier) and column.this.quoted and not column.table
        # What columns a subquery has is not known here, so where there is one, nothing is claimed without a blank.
        doubtful = inside and column.name.isidentifier()
        if plain and names.origin(column) is None and column.name.lower() not in aliases and not doubtful:
            yield f'"{column.name}"'


def texts_as_numbers(tree: exp.Expr, names: Names, run: Callable[[str], ResultSet]) -> Iterator[str]:
    """What the query does with a text column that makes sense only for numbers.

    Comparing and sorting text as text is named only where its values are numbers that sort otherwise.
    """
    from sqlglot import exp

    for column in tree.find_all(exp.Column, bfs=False):
        origin = names.origin(column)
        if origin is None or origin.affinity != "text":
            continue
        use, numbers, by_size = _use(column, names)
        otherwise = by_size and _sorts_otherwise(origin, run)
        if numbers or otherwise:
            yield f"{column.sql(dialect='sqlite')} is text and {use}{_OTHERWISE if otherwise else ''}"


def _use(column: exp.Column, names: Names) -> tuple[str, bool, bool]:
    """What is done with the column, whether that makes sense for numbers alone, and whether its order counts."""
    from sqlglot import exp

    node = _outermost_bracket(column)
    parent = node.parent
    if isinstance(parent, exp.Add | exp.Sub | exp.Mul | exp.Div | exp.Mod | exp.Sum | exp.Avg | exp.Neg):
        return f"in {parent.key}", True, False
    if isinstance(parent, exp.GT | exp.GTE | exp.LT | exp.LTE | exp.EQ | exp.NEQ | exp.Between | exp.In):
        others = [each for each in _operands(parent) if each is not node]
        by_size = not isinstance(parent, exp.EQ | exp.NEQ | exp.In)
        if any(_is_number(each) for each in others):
            return "compared with a number", True, by_size
        # Beside a column of numbers, SQLite makes a number of the text.
        return "compared by size", False, by_size and not any(names.affinity(each) == "number" for each in others)
    if isinstance(parent, exp.Min | exp.Max) and not parent.expressions:
        return f"in {parent.key}()", False, True
    return "sorted", False, isinstance(parent, exp.Ordered)


def _outermost_bracket(node: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    while isinstance(node.parent, exp.Paren):
        node = node.parent
    return node


def _operands(node: exp.Expr) -> list[exp.Expr]:
    """The values that a comparison compares."""
    from sqlglot import exp

    if isinstance(node, exp.Between):
        return [node.this, node.args["low"], node.args["high"]]
    return [node.this, *node.expressions] if isinstance(node, exp.In) else [node.this, node.expression]


def _is_number(node: exp.Expr) -> bool:
    from sqlglot import exp

    node = node.unnest()
    node = node.this if isinstance(node, exp.Neg) else node
    return isinstance(node, exp.Literal) and not node.is_string


def _sorts_otherwise(origin: Origin, run: Callable[[str], ResultSet]) -> bool:
    """Whether the values of a text column are numbers, but for one placeholder at most, that sort otherwise as text.

    Numbers without a sign that have their decimal point in the same place sort alike both ways.
    """
    if origin.table is None:
        return False
    c, table = quoted(origin.column), quoted(origin.table.name)
    number = f"ltrim({c}, '+-') NOT GLOB '*[^0-9.]*' AND {c} GLOB '*[0-9]*' AND {c} NOT LIKE '%.%.%'"
    whole = f"CASE WHEN {number} THEN instr({c} || '.', '.') END"
    sql = (
        f"SELECT sum({number}), count(*), count(DISTINCT CASE WHEN NOT ({number}) THEN {c} END), "  # noqa: S608 (quoted)
        f"min({whole}) < max({whole}) OR sum({number} AND {c} GLOB '[+-]*') > 0 "
        f"FROM {table} WHERE trim({c}) <> ''"
    )
    try:
        ((numbers, values, others, differs),) = run(sql).rows
    except Refused:
        return False
    mostly = isinstance(numbers, int) and isinstance(values, int) and numbers >= _MOSTLY * values
    return mostly and others in (0, 1) and differs == 1
