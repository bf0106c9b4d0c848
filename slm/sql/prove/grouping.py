"""Rewrites of what happens after WHERE: aggregates, GROUP BY, DISTINCT, ORDER BY and LIMIT."""

from typing import Any

from slm.sql.prove.dependence import Dependence
from slm.sql.prove.terms import (
    WHOLE,
    Block,
    Expr,
    OrderKey,
    SetOp,
    Unprovable,
    conjuncts,
    has_aggregate,
    own_nodes,
    rebuild,
)
from slm.sql.prove.world import World, outputs


def check_bare_columns(block: Block, world: World) -> None:
    """Raises Unprovable for a column outside aggregates that its group does not determine: SQLite picks any row's."""
    if block.group is None:
        return
    known = Dependence(block, world)
    closed = known.close(block.group - {WHOLE})
    for term in (*block.outputs, *block.having, *(key for key, _, _ in block.order)):
        if not known.is_known(term, closed, grouped=True):
            raise Unprovable("bare column")


def simple_aggregates(block: Block, world: World) -> Block:
    """COUNT(x) as COUNT(*) where x is never NULL, and DISTINCT dropped where the values differ anyway."""
    if block.group is None:
        return block
    known = Dependence(block, world)
    keys = block.group - {WHOLE}

    def simple(term: Any) -> Any:
        if isinstance(term, (Block, SetOp)):
            return term
        if not isinstance(term, tuple) or term[:1] != ("agg",):
            return rebuild(term, simple)
        _, name, distinct, argument = term
        if distinct and known.rows_differ({*keys, argument}):
            distinct = False
        if name == "count" and not distinct and argument is not None and known.never_null(argument):
            argument = None
        return ("agg", name, distinct, argument)

    return block._replace(outputs=simple(block.outputs), having=simple(block.having), order=simple(block.order))


def having_to_where(block: Block) -> Block:
    """Conditions of HAVING without an aggregate hold for all rows of a group alike, so they may filter rows."""
    if block.group is None or WHOLE in block.group:
        return block
    having = frozenset(condition for condition in block.having if not _is_no_test(condition))
    block = block._replace(having=having)
    rows = frozenset(condition for condition in block.having if not has_aggregate(condition))
    where = block.where
    for condition in rows:
        where |= conjuncts(condition)
    return block._replace(where=where, having=block.having - rows)


def _is_no_test(condition: Expr) -> bool:
    """`COUNT(*) >= 1`: a group has a row."""
    left, right = condition[1:3] if condition[0] == "<=" else (("null",), ("null",))
    return bool(left[0] == "int" and left[1] <= 1 and right == ("agg", "count", False, None))


def ignores_duplicates(block: Block, *, as_set: bool) -> bool:
    """Whether rows that FROM and WHERE give more than once make no difference."""
    if block.limit is not None and block.order and not (block.distinct or block.group is not None):
        return False
    if block.group is None:
        return block.distinct or (as_set and block.limit is None)
    aggregates = [term for term in own_nodes((block.outputs, block.having, block.order)) if term[:1] == ("agg",)]
    return all(term[2] or term[1] in ("min", "max") for term in aggregates)


def simple_groups(block: Block, world: World, *, as_set: bool) -> Block:
    """GROUP BY without aggregates as DISTINCT or as nothing, and DISTINCT wherever it changes nothing.

    A set (`as_set`: the caller ignores duplicates) is written without DISTINCT, so that it can be merged.
    """
    group = block.group
    if group is not None and not has_aggregate((block.outputs, block.having, block.order)) and not block.having:
        if WHOLE in group or not group:
            return block
        known = Dependence(block, world)
        if known.rows_differ(group):
            block = block._replace(group=None)
        else:
            closed = known.close(block.outputs)
            are_shown = all(known.is_known(key, closed) for key in group)
            if block.distinct or are_shown or (as_set and block.limit is None):
                block = block._replace(group=None, distinct=True)
    if block.group is None:
        if as_set and block.limit is None:
            return block._replace(distinct=False)
        return block._replace(distinct=block.distinct or Dependence(block, world).rows_differ(block.outputs))
    known = Dependence(block, world)
    closed = known.close(output for output in block.outputs if not has_aggregate(output))
    needless = all(known.is_known(key, closed) for key in block.group - {WHOLE})
    if as_set and block.limit is None:
        return block._replace(distinct=not needless)
    return block._replace(distinct=block.distinct and not needless)


def simple_order(block: Block, world: World, *, is_top: bool) -> Block:
    """Sort keys that earlier ones decide are dropped; so is all order where it cannot be seen.

    Raises Unprovable where LIMIT in a subquery may cut through a tie, and for DISTINCT sorted by a hidden column.
    """
    if block.limit is None and not block.offset and not is_top:
        return block._replace(order=())
    known = Dependence(block, world)
    if known.at_most_one() and not block.offset:
        return block._replace(order=(), limit=0 if block.limit == 0 else None)
    keys: list[OrderKey] = []
    terms: set[Expr] = set()
    for key in block.order:
        if not _is_decided(key[0], terms, known):
            keys.append(key)
            terms.add(key[0])
    if not is_top and not all(_is_decided(output, terms, known) for output in block.outputs):
        raise Unprovable("a tie at LIMIT in a subquery")
    if block.distinct:
        shown = set(block.outputs)
        if not all(_is_decided(term, shown, known) for term in terms):
            raise Unprovable("DISTINCT sorted by something else")
    return block._replace(order=tuple(keys))


def _is_decided(term: Expr, terms: set[Expr], known: Dependence) -> bool:
    """Whether rows of the result that agree on `terms` agree on `term`."""
    group = known.block.group
    closed = known.close(terms)
    all_groups = group is not None and all(known.is_known(key, closed) for key in group - {WHOLE})
    return known.is_known(term, closed, grouped=all_groups)


def is_order_known(query: SetOp) -> bool:
    """Whether the sort keys of a set operation decide all its columns."""
    return len({term for term, _, _ in query.order}) == len(outputs(query))
