"""Joins of a table with itself on a key: two occurrences that are always the same row become one."""

from slm.sql.prove.dependence import Dependence
from slm.sql.prove.terms import Block, Expr, Source, is_plain, substitute
from slm.sql.prove.world import World


def drop_self_joins(block: Block, world: World) -> Block:
    """Two occurrences of one table whose keys are equal are the same row."""
    for number, first in enumerate(block.sources):
        for second in block.sources[number + 1 :]:
            if first.table is None or first.table != second.table:
                continue
            if any(_same_row(first, second, key, block, world) for key in world.facts.keys.get(first.table, ())):
                width = world.width(first)
                values: dict[Expr, Expr] = {
                    ("col", second.occurrence, place): ("col", first.occurrence, place) for place in range(width)
                }
                rest = tuple(source for source in block.sources if source != second)
                return drop_self_joins(substitute(block._replace(sources=rest), values), world)
    return block


def drop_outer_joins_with_oneself(block: Block, world: World) -> Block:
    """In EXISTS, an occurrence whose key equals that of the same table outside is the row outside."""
    known = Dependence(block, world)

    def change(term: Expr) -> Expr:
        if term[0] == "not":
            return ("not", change(term[1]))
        if term[0] in ("and", "or"):
            return (term[0], frozenset(map(change, term[1])))
        if term[0] != "exists" or not is_plain(term[1]):
            return term
        inner: Block = term[1]
        for source in inner.sources if len(inner.sources) > 1 else ():
            for outer in block.sources:
                if source.table is None or source.table != outer.table:
                    continue
                keys = world.facts.keys.get(source.table, ())
                if any(_same_row(source, outer, key, inner, world) for key in keys):
                    values: dict[Expr, Expr] = {
                        ("col", source.occurrence, place): ("col", outer.occurrence, place)
                        for place in range(world.width(source))
                    }
                    rest = tuple(other for other in inner.sources if other != source)
                    moved: Block = substitute(inner._replace(sources=rest), values)
                    where = frozenset(c for c in moved.where if not _is_sure(c, known))
                    return change(("exists", moved._replace(where=where)))
        return term

    return block._replace(where=frozenset(map(change, block.where)))


def _is_sure(condition: Expr, known: Dependence) -> bool:
    """`x = x` for a column outside that is never NULL."""
    return bool(condition[0] == "=" and condition[1] == condition[2] and known.never_null(condition[1]))


def _same_row(first: Source, second: Source, key: tuple[int, ...], block: Block, world: World) -> bool:
    """Whether WHERE of `block` makes these columns of two occurrences equal, one by one."""
    pairs = (((("col", first.occurrence, place)), ("col", second.occurrence, place)) for place in key)
    return all(_linked(one, other, block, world) for one, other in pairs)


def _linked(start: Expr, end: Expr, block: Block, world: World) -> bool:
    """Whether equalities of columns of one storage lead from one column to the other."""
    equal = [condition[1:] for condition in block.where if condition[0] == "="]
    reached = {start}
    size = 0
    while size != len(reached):
        size = len(reached)
        for one, other in equal:
            if world.storage(one) == world.storage(other) is not None and reached & {one, other}:
                reached |= {one, other}
    return end in reached
