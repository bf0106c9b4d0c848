"""What a gold query must be: it runs, it returns something, and only one order of rows is right."""

from itertools import pairwise
from typing import Any

import apsw
import sqlglot
from sqlglot import exp

MOST_ROWS = 200


def is_usable(connection: apsw.Connection, sql: str) -> bool:
    """Whether the answer is not empty, not just NULL or 0, of at most `MOST_ROWS` rows, and free of ties."""
    rows = list(connection.execute(sql))
    says_something = any(cell not in (None, 0) for row in rows for cell in row)
    return says_something and len(rows) <= MOST_ROWS and not has_ties(connection, sql)


def has_ties(connection: apsw.Connection, sql: str) -> bool:
    """Whether ORDER BY leaves open which rows come, or in which order.

    The query runs again with its sort keys as extra columns and one row more than its limit: neighbours must differ.
    """
    query = sqlglot.parse_one(sql, read="sqlite")
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


def _number(query: exp.Select, clause: str, missing: int) -> int:
    node: Any = query.args.get(clause)
    return int(node.expression.name) if node is not None else missing
