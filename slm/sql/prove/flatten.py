"""Rewrites of FROM and WHERE: subqueries merged into the query around them, IN and EXISTS as joins, joins with oneself.

Each function gives a SELECT that has the same rows, with the same multiplicities, in every database.
"""

from slm.sql.prove.dependence import Dependence, rejected
from slm.sql.prove.terms import (
    Block,
    Expr,
    SetOp,
    Source,
    all_of,
    any_of,
    columns,
    conjuncts,
    is_plain,
    nodes,
    substitute,
)
from slm.sql.prove.world import World, outputs

_NUMBERS = {"number", "real"}
_EMPTY = Block((), (), frozenset(), None, frozenset(), (), False, (), None, 0)


def merge_sources(block: Block, world: World) -> Block:
    """`FROM (SELECT … FROM a WHERE …) JOIN b` as `FROM a JOIN b WHERE …`; a filter over a grouped query as HAVING."""
    for source in block.sources:
        query = source.query
        if not isinstance(query, Block) or any(output[0] == "cast" for output in query.outputs):
            continue
        if query.distinct and query.group is None and Dependence(query, world).rows_differ(query.outputs):
            query = query._replace(distinct=False)
        values = {("col", source.occurrence, place): output for place, output in enumerate(query.outputs)}
        if is_plain(query._replace(lefts=())):
            rest = tuple(other for other in block.sources if other != source)
            moved: Block = substitute(block._replace(sources=()), values)
            return merge_sources(
                moved._replace(
                    sources=rest + query.sources, lefts=query.lefts + moved.lefts, where=moved.where | query.where
                ),
                world,
            )
        is_alone = len(block.sources) == 1 and not block.lefts and block.group is None
        has_subquery = any(
            isinstance(part, (Block, SetOp)) for part in nodes((block.where, block.outputs, block.order))
        )
        is_bare = query.limit is None and not query.offset and not query.distinct
        if is_alone and not has_subquery and query.group is not None and is_bare:
            moved = substitute(block._replace(sources=()), values)
            having = query.having | conjuncts(all_of(moved.where))
            return merge_sources(
                moved._replace(
                    sources=query.sources, lefts=query.lefts, where=query.where, group=query.group, having=having
                ),
                world,
            )
    return block


def unwrap(block: Block) -> Block:
    """`SELECT b, a FROM (SELECT DISTINCT a, b …)` as its inner query: only for all columns, each once."""
    if len(block.sources) != 1 or block.lefts or block.where or block.group is not None:
        return block
    source = block.sources[0]
    inner = source.query
    if not isinstance(inner, Block) or inner.limit is not None or inner.offset:
        return block
    everything = {("col", source.occurrence, place) for place in range(len(inner.outputs))}
    if set(block.outputs) != everything or len(block.outputs) != len(everything):
        return block
    values = {("col", source.occurrence, place): output for place, output in enumerate(inner.outputs)}
    order = substitute(block.order, values)
    return inner._replace(
        outputs=substitute(block.outputs, values),
        distinct=inner.distinct or block.distinct,
        order=order,
        limit=block.limit,
        offset=block.offset,
    )


def inner_lefts(block: Block) -> Block:
    """A left join as an inner one where WHERE drops the rows that found no partner."""
    for number, left in enumerate(block.lefts):
        needed = {column[1] for condition in block.where for term in rejected(condition) for column in _strict(term)}
        if left.source.occurrence in needed:
            rest = block.lefts[:number] + block.lefts[number + 1 :]
            return inner_lefts(
                block._replace(sources=(*block.sources, left.source), lefts=rest, where=block.where | left.on)
            )
    return block


def anti_joins(block: Block, world: World) -> Block:
    """`a LEFT JOIN b ON … WHERE b.key IS NULL` as NOT EXISTS, where b's key is never NULL in a row that matches."""
    for number, left in enumerate(block.lefts):
        source = left.source
        partner = _EMPTY._replace(sources=(source,), where=left.on)
        known = Dependence(partner, world)
        tests = {
            condition
            for condition in block.where
            if condition[0] == "isnull" and _is_of(condition[1], source) and known.never_null(condition[1])
        }
        rest = block._replace(
            lefts=block.lefts[:number] + block.lefts[number + 1 :],
            where=(block.where - tests) | {("not", ("exists", partner))},
        )
        others = rest._replace(where=block.where - tests)
        if tests and not any(_is_of(column, source) for column in columns(others)):
            return anti_joins(rest, world)
    return block


def _is_of(term: Expr, source: Source) -> bool:
    return term[0] == "col" and bool(term[1] == source.occurrence)


def _strict(term: Expr) -> list[Expr]:
    """Columns without which the term is NULL."""
    if term[0] == "col":
        return [term]
    if term[0] in ("+", "-", "*", "||", "neg"):
        return [column for part in term[1:] for column in _strict(part)]
    return []


def in_as_exists(block: Block, world: World) -> Block:
    """`a IN (SELECT b FROM …)` as EXISTS with `a = b`, where only truth counts or nothing is NULL."""
    known = Dependence(block, world)
    return block._replace(where=frozenset(_positive(condition, known, world) for condition in block.where))


def _positive(condition: Expr, known: Dependence, world: World) -> Expr:
    if condition[0] == "and":
        return all_of(_positive(part, known, world) for part in condition[1])
    if condition[0] == "or":
        return any_of(_positive(part, known, world) for part in condition[1])
    if condition[0] == "in":
        return _exists(condition, world) or condition
    if condition[0] == "not" and condition[1][0] == "in":
        value, query = condition[1][1:]
        if known.never_null(value) and is_plain(query) and Dependence(query, world).never_null(query.outputs[0]):
            found = _exists(condition[1], world)
            return ("not", found) if found else condition
    return condition


def _exists(condition: Expr, world: World) -> Expr | None:
    value, query = condition[1:]
    if not is_plain(query) or not query.sources:
        return None
    output = query.outputs[0]
    kinds = {world.storage(value), world.storage(output)}
    if None in kinds or (len(kinds) > 1 and not kinds <= _NUMBERS):
        return None
    return ("exists", query._replace(where=query.where | {world.compare("=", value, output)}, outputs=()))


def exists_as_join(block: Block, world: World, *, as_set: bool) -> Block:
    """`WHERE EXISTS (SELECT … FROM b …)` as a join with b: if at most one row matches, or duplicates do not matter."""
    for condition in block.where:
        if condition[0] != "exists" or not is_plain(condition[1]) or not condition[1].sources:
            continue
        inner: Block = condition[1]
        if as_set or Dependence(inner, world).at_most_one():
            where = (block.where - {condition}) | inner.where
            return exists_as_join(
                block._replace(sources=block.sources + inner.sources, where=where), world, as_set=as_set
            )
    return block


def grouped_in_as_join(block: Block, world: World) -> Block:
    """`a IN (SELECT b FROM … GROUP BY b HAVING …)` as a join grouped by the rows outside, if these have keys."""
    if block.group is not None or block.lefts or block.distinct:
        return block
    known = Dependence(block, world)
    for condition in block.where:
        if condition[0] != "in" or not isinstance(condition[2], Block):
            continue
        value, inner = condition[1:]
        if inner.lefts or inner.limit is not None or inner.offset or inner.distinct or not inner.having:
            continue
        keys = [known.keys(source) for source in block.sources]
        if inner.group != frozenset(inner.outputs) or len(inner.outputs) != 1 or not all(keys):
            continue
        storage = world.storage(value)
        if storage is None or storage != world.storage(inner.outputs[0]):
            continue
        where = (block.where - {condition}) | inner.where | {world.compare("=", value, inner.outputs[0])}
        group = frozenset(column for options in keys for column in options[0])
        return block._replace(sources=block.sources + inner.sources, where=where, group=group, having=inner.having)
    return block


def trim_nulls(block: Block, world: World) -> Block:
    """`x = x` as `x IS NOT NULL`, and `x IS NOT NULL` dropped where it says nothing new."""
    where = frozenset(
        ("not", ("isnull", condition[1])) if condition[0] == "=" and condition[1] == condition[2] else condition
        for condition in block.where
    )
    for condition in where:
        if condition[0] == "not" and condition[1][0] == "isnull":
            rest = block._replace(where=where - {condition})
            if Dependence(rest, world).never_null(condition[1][1]):
                return trim_nulls(rest, world)
    return block._replace(where=where)


def intersection(left: Block, right: Block, world: World, *, positive: bool) -> Block | None:
    """INTERSECT (`positive`) or EXCEPT of two plain queries as EXISTS or NOT EXISTS; None where NULLs could differ."""
    if not is_plain(left) or not is_plain(right):
        return None
    ours, theirs = Dependence(left, world), Dependence(right, world)
    conditions: list[Expr] = []
    for mine, other in zip(outputs(left), outputs(right), strict=True):
        storage = world.storage(mine)
        if storage is None or storage != world.storage(other):
            return None
        if not ours.never_null(mine) and not theirs.never_null(other):
            return None
        conditions.append(world.compare("=", mine, other))
    inner = right._replace(where=right.where | frozenset(conditions), outputs=())
    found: Expr = ("exists", inner) if positive else ("not", ("exists", inner))
    return left._replace(where=left.where | {found}, distinct=True)
