"""Mutations of clauses: SELECT, DISTINCT, joins, GROUP BY, HAVING, ORDER BY, LIMIT, set operations and subqueries."""

from collections.abc import Iterator
from typing import Any

from sqlglot import exp

from slm.sql.instances.mutate_tree import (
    Edit,
    Query,
    drop,
    is_inner,
    is_source,
    plain_projections,
    swap,
    with_condition,
)
from slm.sql.schema import Table


def _aggregates(select: exp.Expr) -> bool:
    return any(True for item in plain_projections(select) for _ in item.find_all(exp.AggFunc))


def _is_set(select: exp.Expr) -> bool:
    """Whether repeated rows make no difference: operands of UNION, EXCEPT, INTERSECT; after IN and EXISTS."""
    above = select.parent
    if isinstance(above, exp.Subquery):
        above = above.parent
    if isinstance(above, exp.SetOperation):
        return bool(above.args.get("distinct"))
    return isinstance(above, exp.In | exp.Exists)


def distinct(query: Query) -> Iterator[Edit]:
    """DISTINCT added or removed where it can matter."""
    for select in query.all(exp.Select):
        if _is_set(select):
            continue
        if select.args.get("distinct"):
            yield [(select, "distinct", None)]
        elif not _aggregates(select) and not _rows_differ(query, select):
            yield [(select, "distinct", exp.Distinct())]


def _rows_differ(query: Query, select: exp.Expr) -> bool:
    """Whether the selected columns hold a key of the only table, or all that is grouped by."""
    columns = query.columns(*plain_projections(select))
    group = select.args.get("group")
    if group and group.expressions:
        return all(key in columns for key in group.expressions)
    return query.has_key(select, columns)


def set_operation(query: Query) -> Iterator[Edit]:
    """UNION for UNION ALL and back; UNION, INTERSECT and EXCEPT for one another."""
    for node in query.all(exp.SetOperation):
        if isinstance(node, exp.Union):
            yield [(node, "distinct", not node.args.get("distinct"))]
        for other in (exp.Union, exp.Intersect, exp.Except):
            if not isinstance(node, other):
                args: dict[str, Any] = {name: _copy(value) for name, value in node.args.items()}
                yield [swap(node, other(**{**args, "distinct": True}))]


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value.copy() if isinstance(value, exp.Expr) else value


def set_operand(query: Query) -> Iterator[Edit]:
    """EXCEPT the other way round; one operand alone (unless ORDER BY or WITH hangs on the operation)."""
    for node in query.all(exp.SetOperation):
        if isinstance(node, exp.Except):
            yield [(node, "this", node.expression.copy()), (node, "expression", node.this.copy())]
        if not any(node.args.get(name) for name in ("order", "limit", "offset", "with_")):
            yield [swap(node, node.this.copy())]
            yield [swap(node, node.expression.copy())]


def _joins(query: Query) -> Iterator[Any]:
    for select in query.all(exp.Select):
        for join in select.args.get("joins") or []:
            if join.args.get("method") is None and (join.args.get("on") or join.args.get("using")):
                yield join


def join_kind(query: Query) -> Iterator[Edit]:
    """An inner join for an outer one, and back."""
    for join in _joins(query):
        if join.side:
            yield [(join, "side", None), (join, "kind", None)]
        elif join.kind in ("", "INNER"):
            yield [(join, "side", "LEFT"), (join, "kind", None)]
            yield [(join, "side", "RIGHT"), (join, "kind", None)]


def join_key(query: Query) -> Iterator[Edit]:
    """Another pair of columns in ON: one side replaced by a key or a likely column of its table."""
    for join in _joins(query):
        for node in join.args["on"].find_all(exp.EQ) if join.args.get("on") else ():
            sides = query.columns(node.this, node.expression)
            if len(sides) < 2:
                continue
            for column in sides:
                names = _likely_keys(query, query.owner(column), query.others(column))
                yield from ([swap(column, query.sibling(column, name))] for name in names[:1])


def _likely_keys(query: Query, table: Table | None, names: list[str]) -> list[str]:
    """The names, those of keys first."""
    if table is None:
        return []
    keys = {name.lower() for name in table.primary_key}
    for key in query.schema.foreign_keys:
        keys.update(name.lower() for name in (key.columns if key.table == table.name else ()))
        keys.update(name.lower() for name in (key.parent_columns if key.parent == table.name else ()))
    return sorted(names, key=lambda name: name.lower() not in keys)


def join_dropped(query: Query) -> Iterator[Edit]:
    """A joined table that nothing but its own ON uses; in a join of two, the first table likewise."""
    for select in query.all(exp.Select):
        joins, start = select.args.get("joins") or [], select.args.get("from_")
        if start is None or any(item.is_star for item in plain_projections(select)):
            continue
        for join in joins:
            if not _used(query, select, join.this, except_in=join):
                yield [drop(join)]
        if len(joins) == 1 and not _used(query, select, start.this, except_in=joins[0]):
            yield [(start, "this", joins[0].this.copy()), (select, "joins", [])]


def _used(query: Query, select: exp.Expr, source: exp.Expr, except_in: exp.Expr) -> bool:
    """Whether a column outside `except_in` belongs to this source, or may."""
    alias, own = source.alias_or_name.lower(), {id(node) for node in except_in.walk()}
    table = query.sources(select).get(alias)
    for column in select.find_all(exp.Column):
        if id(column) in own or query.text(column) is not None:
            continue
        if column.table.lower() == alias or (not column.table and query.owner(column) in (None, table)):
            return True
    return False


def join_condition_removed(query: Query) -> Iterator[Edit]:
    """ON left out of a join of two tables (of more, the product is too large to be worth it)."""
    kind = "INNER" if query.dialect == "sqlite" else "CROSS"  # SQLite's CROSS JOIN fixes the order of its loops
    for select in query.all(exp.Select):
        joins = select.args.get("joins") or []
        if len(joins) == 1 and joins[0].args.get("on") and not joins[0].side:
            yield [(joins[0], "on", None), (joins[0], "kind", kind)]


def _neighbours(query: Query, select: exp.Expr, key: exp.Column) -> list[exp.Column]:
    """What may be taken for a group key: the columns selected beside it, then the key of its table, then its next."""
    found = [column for column in query.columns(*plain_projections(select)) if column.name != key.name]
    table = query.owner(key)
    names = [*(table.primary_key if table else ()), *query.others(key, same_kind=False)]
    found += [query.sibling(key, name) for name in names if name.lower() != key.name.lower()]
    return [column.copy() for column in found]


def group_key(query: Query) -> Iterator[Edit]:
    """A key of GROUP BY replaced, removed or added."""
    for group in query.all(exp.Group):
        keys = group.expressions
        select = group.parent
        for key in query.columns(*keys):
            near = _neighbours(query, select, key)
            yield from ([swap(key, other)] for other in near[:2])
            if len(keys) == 1:
                finer = [other for other in near if not query.is_key(key) or other.table != key.table]
                yield from ([(group, "expressions", [key.copy(), other.copy()])] for other in finer[:1])
        if len(keys) > 1:
            yield from ([drop(key)] for key in keys)
        elif _aggregates(select) or not (order := select.args.get("order")) or not order.find(exp.AggFunc):
            yield [drop(group), (select, "having", None)]


def having_removed(query: Query) -> Iterator[Edit]:
    """No HAVING."""
    return ([drop(node)] for node in query.all(exp.Having))


def order_direction(query: Query) -> Iterator[Edit]:
    """ASC for DESC and back; NULLs stay on the side that is the dialect's default."""
    for key in query.all(exp.Ordered):
        descending, first = bool(key.args.get("desc")), bool(key.args.get("nulls_first"))
        yield [(key, "desc", not descending or None), (key, "nulls_first", not first)]


def order_key(query: Query) -> Iterator[Edit]:
    """A sort key removed, or replaced by another column of its table; or no order at all."""
    for order in query.all(exp.Order):
        keys = order.expressions
        if not isinstance(order.parent, exp.Query):
            continue
        for key in keys:
            for column in query.columns(key.this):
                names = query.others(column) or query.others(column, same_kind=False)
                yield from ([swap(column, query.sibling(column, name))] for name in names[:2])
            if len(keys) > 1:
                yield [drop(key)]
        yield [drop(order)]


def limit(query: Query) -> Iterator[Edit]:
    """LIMIT one more, one less (not none), or gone; OFFSET gone."""
    for node in query.all(exp.Limit):
        if isinstance(node.expression, exp.Literal) and node.expression.is_int:
            count = int(node.expression.this)
            for other in (count + 1, count - 1):
                if other > 0:
                    yield [(node, "expression", exp.Literal.number(other))]
        if not node.parent.args.get("offset"):
            yield [drop(node)]
    yield from ([drop(node)] for node in query.all(exp.Offset))


def extreme(query: Query) -> Iterator[Edit]:
    """`ORDER BY x LIMIT 1` as `WHERE x = (SELECT MAX(x) …)`, over the same rows or over all; and back."""
    for select in query.all(exp.Select):
        yield from _as_maximum(query, select)
    for node in query.all(exp.EQ):
        yield from _as_limit(query, node)


def _as_maximum(query: Query, select: exp.Expr) -> Iterator[Edit]:
    order, count = select.args.get("order"), select.args.get("limit")
    grouped = select.args.get("group") or _aggregates(select) or select.args.get("offset") or select.args.get("with_")
    one = isinstance(count, exp.Limit) and count.expression.name == "1"
    if order is None or grouped or len(order.expressions) != 1 or not one:
        return
    key = order.expressions[0]
    for column in query.columns(key.this):
        best = exp.Max(this=column.copy()) if key.args.get("desc") else exp.Min(this=column.copy())
        for unfiltered in (True, False) if select.args.get("where") else (False,):
            inner = select.copy()
            changes = {"order": None, "limit": None, "distinct": None, "expressions": [best.copy()]}
            for name, value in {**changes, **({"where": None} if unfiltered else {})}.items():
                inner.set(name, value)
            test = exp.EQ(this=column.copy(), expression=exp.Subquery(this=inner))
            yield [with_condition(select, test), (select, "order", None), (select, "limit", None)]


def _as_limit(query: Query, node: exp.EQ) -> Iterator[Edit]:
    select, above = node.find_ancestor(exp.Select), node.parent
    inner = node.expression.this if isinstance(node.expression, exp.Subquery) else None
    if not isinstance(inner, exp.Select) or len(inner.expressions) != 1 or select is None:
        return
    best = inner.expressions[0].unalias()
    if not isinstance(best, exp.Max | exp.Min) or any(select.args.get(name) for name in ("order", "limit", "group")):
        return
    if isinstance(above, exp.And) and isinstance(above.parent, exp.Where):
        rest = swap(above, (above.expression if above.this is node else above.this).copy())
    elif isinstance(above, exp.Where):
        rest = drop(above)
    else:
        return
    descending = isinstance(best, exp.Max)
    key = exp.Ordered(this=node.this.copy(), desc=descending, nulls_first=descending == (query.dialect != "sqlite"))
    one = exp.Limit(expression=exp.Literal.number(1))
    yield [rest, (select, "order", exp.Order(expressions=[key])), (select, "limit", one)]


def selected_column(query: Query) -> Iterator[Edit]:
    """Another column of the table in the place of a selected one: its table's key and the nearest, not yet selected."""
    for select in query.all(exp.Select):
        items = query.columns(*plain_projections(select))
        taken = {item.name.lower() for item in items}
        for item in items:
            table = query.owner(item)
            names = [*(table.primary_key if table else ()), *query.others(item), *query.others(item, same_kind=False)]
            fresh = [name for name in dict.fromkeys(names) if name.lower() not in taken]
            for name in fresh[:2]:
                other = query.sibling(item, name)
                keeps_name = is_source(select) and item.parent is select
                yield [swap(item, exp.alias_(other, item.this.copy()) if keeps_name else other)]


def subquery_filter_removed(query: Query) -> Iterator[Edit]:
    """A subquery without its WHERE."""
    return ([drop(where)] for where in query.all(exp.Where) if is_inner(where))


def subquery_unfiltered(query: Query) -> Iterator[Edit]:
    """A subquery that takes all rows of its tables: no WHERE, GROUP BY, HAVING, ORDER BY or LIMIT."""
    clauses = ("where", "group", "having", "order", "limit", "offset")
    for select in query.all(exp.Select):
        if is_inner(select) and len(present := [name for name in clauses if select.args.get(name)]) > 1:
            yield [(select, name, None) for name in present]
