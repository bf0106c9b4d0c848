"""Mutations inside conditions and expressions: operators, constants, predicates, NULL, aggregates, wrong columns."""

from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

from sqlglot import exp

from slm.sql.instances.mutate_tree import Edit, Query, drop, is_inner, plain_projections, swap, with_condition

_NEIGHBOURS: dict[type[exp.Expr], tuple[Any, ...]] = {
    exp.EQ: (exp.NEQ, exp.GTE, exp.LTE),
    exp.NEQ: (exp.EQ,),
    exp.GT: (exp.GTE, exp.LT, exp.LTE),
    exp.GTE: (exp.GT, exp.LTE, exp.LT),
    exp.LT: (exp.LTE, exp.GT, exp.GTE),
    exp.LTE: (exp.LT, exp.GTE, exp.GT),
}
_COMPARISONS = tuple(_NEIGHBOURS)
_AGGREGATES: dict[type[exp.Expr], tuple[Any, ...]] = {
    exp.Sum: (exp.Avg, exp.Count),
    exp.Avg: (exp.Sum, exp.Max),
    exp.Max: (exp.Min, exp.Avg),
    exp.Min: (exp.Max, exp.Avg),
}


def _copied(node: exp.Expr, kind: Any) -> Any:
    return kind(this=node.this.copy(), expression=node.expression.copy())


def _comparisons(query: Query) -> Iterator[Any]:
    """Comparisons of something with a value; those of two columns join tables."""
    for node in query.all(*_COMPARISONS):
        if len(query.columns(node.this, node.expression)) < 2:
            yield node


def comparison_operator(query: Query) -> Iterator[Edit]:
    """`=` for `<>`, `>` for `>=` …; text is rarely compared by size."""
    for node in _comparisons(query):
        of_text = query.text(node.expression) is not None
        for other in _NEIGHBOURS[type(node)][: 1 if of_text and isinstance(node, exp.EQ) else None]:
            yield [swap(node, _copied(node, other))]


def between_bounds(query: Query) -> Iterator[Edit]:
    """BETWEEN with one or both ends left out."""
    for node in query.all(exp.Between):
        low, high = node.args["low"], node.args["high"]
        for first, second in ((exp.GT, exp.LT), (exp.GTE, exp.LT), (exp.GT, exp.LTE)):
            both = exp.And(
                this=first(this=node.this.copy(), expression=low.copy()),
                expression=second(this=node.this.copy(), expression=high.copy()),
            )
            yield [swap(node, exp.Paren(this=both) if isinstance(node.parent, exp.Not) else both)]


def constant(query: Query) -> Iterator[Edit]:
    """A number, or text of digits, one step (of its last decimal) up or down; not LIMIT and not positions."""
    for node in query.all(exp.Literal):
        if isinstance(node.parent, exp.Limit | exp.Offset | exp.Ordered | exp.Group | exp.Select | exp.Alias):
            continue
        text = str(node.this)
        if node.is_string and not (text.isascii() and text.isdigit()):
            continue
        for stepped in _stepped(text):
            if node.is_string:
                yield [swap(node, exp.Literal.string(stepped.zfill(len(text))))]
            else:
                yield [swap(node, exp.Literal.number(stepped))]


def _stepped(text: str) -> list[str]:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return []
    exponent = value.as_tuple().exponent
    step = Decimal(1).scaleb(min(exponent, 0) if isinstance(exponent, int) else 0)
    return [format(value + step, "f"), format(value - step, "f")]


def text_constant(query: Query) -> Iterator[Edit]:
    """Another case; `=` that becomes LIKE. SQLite's LIKE does not see case, so there the case stays."""
    for node in _comparisons(query):
        text = query.text(node.expression)
        if text is None or not isinstance(node, exp.EQ | exp.NEQ) or not any(map(str.isalpha, text)):
            continue
        cased = text.lower() if text != text.lower() else text.title()
        yield [(node, "expression", exp.Literal.string(cased))]
        if isinstance(node, exp.EQ):
            yield [swap(node, exp.Like(this=node.this.copy(), expression=exp.Literal.string(f"%{text}%")))]


def like_pattern(query: Query) -> Iterator[Edit]:
    """A pattern without its first or last %, or `=` with the bare text."""
    for node in query.all(exp.Like, exp.ILike):
        pattern = query.text(node.expression)
        if pattern is None:
            continue
        for shorter in (pattern.removeprefix("%"), pattern.removesuffix("%")):
            if shorter and shorter != pattern:
                yield [(node, "expression", exp.Literal.string(shorter))]
        compared = exp.NEQ if node.args.get("negate") else exp.EQ
        yield [swap(node, compared(this=node.this.copy(), expression=exp.Literal.string(pattern.strip("%"))))]


def connective(query: Query) -> Iterator[Edit]:
    """AND for OR and back."""
    for node in query.all(exp.And, exp.Or):
        yield [swap(node, _copied(node, exp.Or if isinstance(node, exp.And) else exp.And))]


def predicate_removed(query: Query) -> Iterator[Edit]:
    """One side of AND or OR, or the only predicate of WHERE (in a subquery that is `subquery_filter_removed`)."""
    for node in query.all(exp.And, exp.Or):
        for gone, kept in ((node.expression, node.this), (node.this, node.expression)):
            if not isinstance(gone, type(node)):
                yield [swap(node, kept.copy())]
    for node in query.all(exp.Where):
        if not isinstance(node.this, exp.And | exp.Or) and not is_inner(node):
            yield [drop(node)]


def _negations(*types: type[exp.Expr]) -> Callable[[Query], Iterator[Edit]]:
    def rule(query: Query) -> Iterator[Edit]:
        for node in query.all(*types):
            if isinstance(node, exp.Like | exp.ILike):  # NOT LIKE is a flag of the node
                yield [(node, "negate", not node.args.get("negate"))]
            elif isinstance(node.parent, exp.Not):
                yield [swap(node.parent, node.copy())]
            else:
                yield [swap(node, exp.Not(this=node.copy()))]

    return rule


_range_negation = _negations(exp.Like, exp.ILike, exp.Between)
in_negation = _negations(exp.In)
exists_negation = _negations(exp.Exists)
null_test = _negations(exp.Is)


def negation(query: Query) -> Iterator[Edit]:
    """NOT added to or removed from LIKE and BETWEEN; removed from a comparison or a bracket."""
    yield from _range_negation(query)
    for node in query.all(exp.Not):
        if isinstance(inner := node.this, exp.Paren) or type(inner) in _NEIGHBOURS:
            yield [swap(node, inner.copy())]


def in_versus_equals(query: Query) -> Iterator[Edit]:
    """`= (SELECT …)` for `IN (SELECT …)` and back."""
    for node in query.all(exp.EQ):
        if isinstance(node.expression, exp.Subquery):
            yield [swap(node, exp.In(this=node.this.copy(), query=node.expression.copy()))]
    for node in query.all(exp.In):
        if inner := node.args.get("query"):
            compared = exp.NEQ if isinstance(node.parent, exp.Not) else exp.EQ
            place = node.parent if isinstance(node.parent, exp.Not) else node
            yield [swap(place, compared(this=node.this.copy(), expression=inner.copy()))]


def in_list(query: Query) -> Iterator[Edit]:
    """IN (a, b) without one of its values."""
    for node in query.all(exp.In):
        if len(values := node.args.get("expressions") or []) > 1:
            yield from ([drop(value)] for value in values)


def null_included(query: Query) -> Iterator[Edit]:
    """A filter that also lets NULL through."""
    for node in query.all(*_COMPARISONS, exp.Like, exp.In, exp.Between):
        place = node.parent if isinstance(node.parent, exp.Not) else node
        columns = query.columns(node.this)
        if (
            columns
            and not query.is_key(columns[0])
            and isinstance(node.find_ancestor(exp.Where, exp.Join, exp.Having, exp.Select), exp.Where)
        ):
            test = exp.Is(this=columns[0].copy(), expression=exp.Null())
            yield [swap(place, exp.Paren(this=exp.Or(this=place.copy(), expression=test)))]


def null_excluded(query: Query) -> Iterator[Edit]:
    """`IS NOT NULL` on a column that orders, groups or is selected, unless WHERE speaks of it or it is a key."""
    for select in query.all(exp.Select):
        order, group, where = (select.args.get(name) for name in ("order", "group", "where"))
        candidates = [key.this for key in order.expressions] if order else []
        candidates += [*(group.expressions if group else []), *plain_projections(select)]
        seen = {column.sql() for column in where.find_all(exp.Column)} if where else set()
        for column in query.columns(*candidates):
            if (written := column.sql()) not in seen and not query.is_key(column):
                seen.add(written)
                test = exp.Not(this=exp.Is(this=column.copy(), expression=exp.Null()))
                yield [with_condition(select, test)]


def aggregate(query: Query) -> Iterator[Edit]:
    """SUM for AVG, MAX for MIN …, COUNT(*) for the COUNT of a column, with or without DISTINCT."""
    for node in query.all(*_AGGREGATES):
        if not node.expressions:  # SQLite's MAX(a, b) is not an aggregate
            for other in _AGGREGATES[type(node)]:
                yield [swap(node, other(this=node.this.copy()))]
    for node in query.all(exp.Count):
        inner = node.this
        if isinstance(inner, exp.Star):
            for column, is_key in _countable(query, node):
                if not is_key:
                    yield [(node, "this", column)]
                yield [(node, "this", exp.Distinct(expressions=[column.copy()]))]
        elif inner is not None:
            yield [(node, "this", exp.Star())]
            if query.kind(inner) == "number":
                yield [swap(node, exp.Sum(this=inner.copy()))]


def _countable(query: Query, count: exp.Expr) -> Iterator[tuple[exp.Column, bool]]:
    """For COUNT(*): the first column beside the key of each of two tables, and where they are joined, their keys."""
    select = count.find_ancestor(exp.Select)
    sources = query.sources(select) if select else {}
    for alias, table in list(sources.items())[:2]:
        if table is not None:
            keys = {name.lower() for name in table.primary_key}
            name = next((c.name for c in table.columns if c.name.lower() not in keys), table.columns[0].name)
            yield query.column(name, alias if len(sources) > 1 else None), False
            if len(keys) == 1 and len(sources) > 1:
                yield query.column(table.primary_key[0], alias), True


def count_distinct(query: Query) -> Iterator[Edit]:
    """DISTINCT inside an aggregate, added or removed; MIN and MAX do not care."""
    for node in query.all(exp.Count, exp.Sum, exp.Avg):
        if isinstance(node.this, exp.Distinct):
            if len(node.this.expressions) == 1:
                yield [(node, "this", node.this.expressions[0].copy())]
        elif isinstance(node.this, exp.Column) and not query.has_key(node.find_ancestor(exp.Select), [node.this]):
            yield [(node, "this", exp.Distinct(expressions=[node.this.copy()]))]


def aggregate_argument(query: Query) -> Iterator[Edit]:
    """Another column of the table inside an aggregate."""
    for node in query.all(exp.Sum, exp.Avg, exp.Max, exp.Min, exp.Count):
        inner = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
        for column in query.columns(inner):
            yield from ([swap(column, query.sibling(column, name))] for name in query.others(column)[:2])


def filter_column(query: Query) -> Iterator[Edit]:
    """A comparison, IN, LIKE or BETWEEN on another column of the table."""
    for node in [*_comparisons(query), *query.all(exp.Like, exp.In, exp.Between)]:
        for column in query.columns(node.this):
            yield from ([swap(column, query.sibling(column, name))] for name in query.others(column)[:2])


def aggregates_swapped(query: Query) -> Iterator[Edit]:
    """The arguments of two selected aggregates exchanged: `MAX(a), MIN(b)` as `MAX(b), MIN(a)`."""
    for select in query.all(exp.Select):
        items = [item for item in plain_projections(select) if isinstance(item, exp.Max | exp.Min | exp.Avg | exp.Sum)]
        for first, second in pairwise(items):
            if type(first) is not type(second) and first.this != second.this:
                yield [(first, "this", second.this.copy()), (second, "this", first.this.copy())]
