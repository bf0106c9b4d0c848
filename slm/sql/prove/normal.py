"""The normal form of a query: all rewrites, subqueries first, and the checks without which they would not be sound."""

from typing import Any

from slm.sql.prove import flatten, grouping, selfjoins
from slm.sql.prove.terms import Block, Expr, Query, SetOp, Source, Unprovable, nodes, rebuild
from slm.sql.prove.world import World, outputs

_MOST_ROUNDS = 12
_SENSITIVE = {"/", "%", "||", "fn", "cast", "like"}


def normal(query: Query, world: World, *, as_set: bool = False, is_top: bool = False) -> Query:
    """The normal form. `as_set`: the caller does not count duplicates; `is_top`: it sees order and LIMIT."""
    if isinstance(query, SetOp):
        return _set_op(query, world, as_set=as_set, is_top=is_top)
    block = flatten.merge_sources(query, world)
    block = block._replace(
        sources=tuple(_source(source, world) for source in block.sources),
        lefts=tuple(left._replace(source=_source(left.source, world)) for left in block.lefts),
    )
    block = flatten.unwrap(flatten.merge_sources(block, world))
    block = _with_subqueries(block, world)
    for _ in range(_MOST_ROUNDS):
        before = block
        block = _once(block, world, as_set=as_set)
        if block == before:
            return grouping.simple_order(block, world, is_top=is_top)
    raise Unprovable("no fixed point")


def _once(block: Block, world: World, *, as_set: bool) -> Block:
    block = flatten.anti_joins(flatten.inner_lefts(block), world)
    grouping.check_bare_columns(block, world)
    block = grouping.having_to_where(block)
    block = flatten.grouped_in_as_join(flatten.in_as_exists(block, world), world)
    block = grouping.simple_groups(block, world, as_set=as_set)
    block = flatten.exists_as_join(block, world, as_set=grouping.ignores_duplicates(block, as_set=as_set))
    block = selfjoins.drop_self_joins(selfjoins.drop_outer_joins_with_oneself(block, world), world)
    block = flatten.trim_nulls(block, world)
    return grouping.simple_aggregates(block, world)


def _source(source: Source, world: World) -> Source:
    if source.query is None:
        return source
    changed = source._replace(query=normal(source.query, world))
    world.sources[source.occurrence] = changed
    return changed


def _with_subqueries(block: Block, world: World) -> Block:
    def change(term: Any) -> Any:
        if isinstance(term, tuple) and term[:1] in (("in",), ("exists",), ("sub",)):
            inner = normal(term[-1], world, as_set=term[0] != "sub")
            return (*(change(part) for part in term[:-1]), inner)
        return term if isinstance(term, Source) else rebuild(term, change)

    changed: Block = change(block)
    return changed


def _set_op(query: SetOp, world: World, *, as_set: bool, is_top: bool) -> Query:
    is_set = query.op != "union all" or (as_set and query.limit is None)
    operands: list[Query] = []
    for operand in query.operands:
        inner = normal(operand, world, as_set=is_set)
        joins = query.op == "except" and not operands  # (a EXCEPT b) EXCEPT c
        same = isinstance(inner, SetOp) and (inner.op == query.op or (query.op == "union" and inner.op == "union all"))
        if isinstance(inner, SetOp) and same and (query.op != "except" or joins):
            operands += inner.operands
        else:
            operands.append(inner)
    if query.op in ("intersect", "except") and len(operands) == 2:
        left, right = operands
        if isinstance(left, Block) and isinstance(right, Block):
            found = flatten.intersection(left, right, world, positive=query.op == "intersect")
            if found is not None:
                return normal(_ordered_like(found, query), world, as_set=as_set, is_top=is_top)
    op = "union" if query.op == "union all" and is_set else query.op
    query = query._replace(op=op, operands=tuple(operands))
    if is_top:
        return query
    if query.limit is None and not query.offset:
        return query._replace(order=())
    if not grouping.is_order_known(query):
        raise Unprovable("a tie at LIMIT in a subquery")
    return query


def _ordered_like(block: Block, query: SetOp) -> Block:
    order = tuple((block.outputs[term[1]], desc, nulls) for term, desc, nulls in query.order)
    return block._replace(order=order, limit=query.limit, offset=query.offset)


def check_equal_values(query: Query, world: World) -> None:
    """Raises Unprovable where it could show which of several equal values stands for all, such as 1 or 1.0.

    DISTINCT, GROUP BY, set operations, MIN and MAX keep one of the values that compare equal, and which one depends on
    the order in which rows are read. Results do not tell 1 from 1.0, but `/`, `||` or a function of them can.
    So it does for a set operation in a subquery, whose first SELECT says how its columns are compared.
    """
    parts = list(nodes(query))
    for part in parts:
        if isinstance(part, SetOp) and part is not query:
            _check_one_affinity(part, world)
    if not any((part[:1] and part[0] in _SENSITIVE) or _needs_text(part, world) for part in parts):
        return
    if any(not world.is_determinate(term) for part in parts for term in _merged(part, world)):
        raise Unprovable("one of several equal values")


def _check_one_affinity(query: SetOp, world: World) -> None:
    for column in zip(*map(outputs, query.operands), strict=True):
        affinities = {world.affinity(term) for term in column}
        if len(affinities) > 1 or None in affinities:
            raise Unprovable("set operation of columns that are compared differently")


def _needs_text(part: Expr, world: World) -> bool:
    return bool(part) and isinstance(part[0], str) and not isinstance(part, SetOp) and world.needs_text(part)


def _merged(part: Any, world: World) -> list[Expr]:
    """Expressions of which one value is kept for all equal ones."""
    if isinstance(part, Block):
        group = [term for term in part.group or () if term[0] != "whole"]
        return [*group, *(part.outputs if part.distinct or part.limit is not None else ())]
    if isinstance(part, SetOp) and part.op != "union all":
        columns = list(zip(*map(outputs, part.operands), strict=True))
        if any(len({world.storage(term) for term in column}) > 1 for column in columns):
            raise Unprovable("set operation of different types")
        return [term for column in columns for term in column]
    if part[:1] == ("agg",) and part[1] in ("min", "max"):
        return [part]
    return []
