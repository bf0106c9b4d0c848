"""What a gold query must be: it runs, it returns something, and only one order of rows is right."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import apsw
import sqlglot
from sqlglot import exp

MOST_ROWS = 200


def is_usable(connection: apsw.Connection, sql: str) -> bool:
    """Whether the answer says something, in few rows and one order only, and needs every part of the query."""
    rows = list(connection.execute(sql))
    says_something = any(cell not in (None, 0) for row in rows for cell in row)
    query = sqlglot.parse_one(sql, read="sqlite")
    if not says_something or len(rows) > MOST_ROWS:
        return False
    return not has_ties(connection, query) and not has_idle_part(connection, query)


def has_ties(connection: apsw.Connection, query: exp.Expr) -> bool:
    """Whether ORDER BY leaves open which rows come, or in which order.

    The query runs again with its sort keys as extra columns and one row more than its limit: neighbours must differ.
    """
    order = query.args.get("order")
    if not isinstance(query, exp.Select) or order is None:
        return False
    keys = [ordered.this for ordered in order.expressions]
    longer = query.select(*keys)
    longer.set("limit", None)
    longer.set("offset", None)
    rows = list(connection.execute(longer.sql("sqlite")))
    last = _number(query, "limit", len(rows)) + _number(query, "offset", 0) + 1
    return any(a[-len(keys) :] == b[-len(keys) :] for a, b in pairwise(rows[:last]))


def has_idle_part(connection: apsw.Connection, query: exp.Expr) -> bool:
    """Whether the answer is the same without a condition, a DISTINCT or one side of a set operation.

    Such a question would call an answer right that forgot the part.
    """
    answer = _sorted_rows(connection, query)
    return any(_sorted_rows(connection, weaker) == answer for weaker in _weaker(query))


def _weaker(query: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(query, exp.SetOperation):
        yield from (query.left, query.right)
    for number in range(len(_conditions(query))):
        weaker = query.copy()
        condition = _conditions(weaker)[number]
        condition.replace(exp.false() if isinstance(condition.parent, exp.Or) else exp.true())
        yield weaker
    for number in range(len(list(query.find_all(exp.Distinct)))):
        weaker = query.copy()
        distinct = list(weaker.find_all(exp.Distinct))[number]
        if distinct.expressions:
            distinct.replace(distinct.expressions[0])
        else:
            distinct.pop()
        yield weaker


def _conditions(query: exp.Expr) -> list[exp.Expr]:
    """What AND and OR connect in every WHERE and HAVING."""
    clauses = query.find_all(exp.Where, exp.Having)
    return [node for clause in clauses for node in clause.this.walk(prune=_is_leaf) if _is_leaf(node)]


def _is_leaf(node: exp.Expr) -> bool:
    return not isinstance(node, exp.Connector)


def _sorted_rows(connection: apsw.Connection, query: exp.Expr) -> list[str]:
    return sorted(map(repr, connection.execute(query.sql("sqlite"))))


def _number(query: exp.Select, clause: str, missing: int) -> int:
    node: Any = query.args.get(clause)
    return int(node.expression.name) if node is not None else missing
