"""Spider's hardness of a query: easy, medium, hard or extra.

The criteria are those of `eval_hardness` in the official evaluation script (github.com/taoyds/spider, `evaluation.py`),
counted on sqlglot's tree instead of on the script's own parse, quirks included: a NOT in WHERE or HAVING counts as an
aggregate, an aggregate in HAVING does not, and of a chain of set operations only the first SELECT is looked at.
"""

from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError


def difficulty(sql: str) -> str:
    """`easy`, `medium`, `hard` or `extra`; `unknown` where sqlglot cannot parse the query."""
    try:
        tree = sqlglot.parse_one(sql, read="sqlite")
    except SqlglotError:
        return "unknown"
    select = tree
    while isinstance(select, exp.SetOperation):
        select = select.this
    if not isinstance(select, exp.Select):
        return "unknown"
    clauses = [join.args["on"] for join in select.args.get("joins") or () if join.args.get("on")]
    filters = [select.args[key].this for key in ("where", "having") if select.args.get(key)]
    nested = int(select is not tree) + sum(
        _subqueries(leaf) for clause in clauses + filters for leaf in _leaves(clause)
    )
    return _grade(_components(select, clauses + filters), nested, _others(select, filters))


def _grade(components: int, nested: int, others: int) -> str:
    if nested == 0 and components <= 1 and others == 0:
        return "easy"
    if nested == 0 and ((components <= 1 and others <= 2) or (components <= 2 and others < 2)):
        return "medium"
    if nested == 0 and ((components <= 2 and others > 2) or (components == 3 and others <= 2)):
        return "hard"
    if nested <= 1 and components <= 1 and others == 0:
        return "hard"
    return "extra"


def _components(select: exp.Select, conditions: list[exp.Expr]) -> int:
    """WHERE, GROUP BY, ORDER BY, LIMIT, and each further table, OR and LIKE."""
    present = sum(bool(select.args.get(key)) for key in ("where", "group", "order", "limit"))
    ors = sum(isinstance(node, exp.Or) for condition in conditions for node in _connectors(condition))
    likes = sum(isinstance(_positive(leaf), exp.Like) for condition in conditions for leaf in _leaves(condition))
    return present + len(select.args.get("joins") or ()) + ors + likes


def _others(select: exp.Select, filters: list[exp.Expr]) -> int:
    """More than one aggregate, column, condition in WHERE, or column in GROUP BY: one each."""
    group, order, where = select.args.get("group"), select.args.get("order"), select.args.get("where")
    aggregates = sum(_has_aggregate(column) for column in select.expressions)
    aggregates += sum(_is_negated(leaf) for condition in filters for leaf in _leaves(condition))
    aggregates += sum(1 for _ in order.find_all(exp.AggFunc)) if order else 0
    conditions = sum(1 for _ in _leaves(where.this)) if where else 0
    groups = len(group.expressions) if group else 0
    return sum(count > 1 for count in (aggregates, len(select.expressions), conditions, groups))


def _connectors(condition: exp.Expr) -> Iterator[exp.Expr]:
    """The ANDs and ORs of a condition, not those of its subqueries."""
    condition = condition.unnest()
    if isinstance(condition, exp.And | exp.Or):
        yield condition
        yield from _connectors(condition.this)
        yield from _connectors(condition.expression)


def _leaves(condition: exp.Expr) -> Iterator[exp.Expr]:
    """The single comparisons of a condition."""
    condition = condition.unnest()
    if isinstance(condition, exp.And | exp.Or):
        yield from _leaves(condition.this)
        yield from _leaves(condition.expression)
    else:
        yield condition


def _is_negated(leaf: exp.Expr) -> bool:
    return isinstance(leaf, exp.Not) or bool(leaf.args.get("negate"))


def _positive(leaf: exp.Expr) -> exp.Expr:
    return leaf.this.unnest() if isinstance(leaf, exp.Not) else leaf


def _subqueries(leaf: exp.Expr) -> int:
    """Queries inside one comparison, not those inside these."""
    return sum(isinstance(node, exp.Query) for node in leaf.walk(prune=_is_query))


def _has_aggregate(column: exp.Expr) -> bool:
    return any(isinstance(node, exp.AggFunc) for node in column.walk(prune=_is_query))


def _is_query(node: exp.Expr) -> bool:
    return isinstance(node, exp.Query)
