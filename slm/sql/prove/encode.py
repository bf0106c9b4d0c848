"""One spelling for each normal form: names of occurrences and the order of commuting parts no longer matter."""

from collections.abc import Iterator
from itertools import permutations, product
from typing import Any

from slm.sql.prove.dependence import Dependence
from slm.sql.prove.terms import WHOLE, Block, Expr, Query, SetOp, Unprovable, substitute
from slm.sql.prove.world import World

_MOST_NAMINGS = 24  # for one SELECT
_MOST_TRIALS = 400  # for one query
_COMMUTING = {"=", "<>", "+", "*", "is"}


class Encoder:
    """Spells one query. Raises Unprovable where too many occurrences of one table could be swapped."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._trials = 0

    def spell(self, query: Query, names: dict[int, Any], depth: int = 0) -> Any:
        """A value that is equal for queries that differ in names and in the order of commuting parts alone.

        `names` are those of the occurrences in the queries around it.
        """
        if isinstance(query, SetOp):
            return self._set_op(query, names, depth)
        block = with_classes(query, self.world)
        best: tuple[str, Any] | None = None
        kinds = [self._kind(source.table, source.query, names, depth) for source in block.sources]
        lefts = {left.source.occurrence: ("left", depth, number) for number, left in enumerate(block.lefts)}
        for naming in self._namings(block, kinds, depth):
            self._trials += 1
            if self._trials > _MOST_TRIALS:
                raise Unprovable("too many ways to name the tables")
            spelt = self._block(block, sorted(kinds, key=repr), {**names, **lefts, **naming}, depth)
            text = repr(spelt)
            if best is None or text < best[0]:
                best = (text, spelt)
        return best[1] if best else None

    def _set_op(self, query: SetOp, names: dict[int, Any], depth: int) -> Any:
        operands = [self.spell(operand, names, depth + 1) for operand in query.operands]
        if query.op == "union all":
            operands.sort(key=repr)
        elif query.op == "except":
            operands = [operands[0], *_ordered(operands[1:])]
        else:
            operands = _ordered(operands)
        return ("set", query.op, tuple(operands), query.order, query.limit, query.offset)

    def _kind(self, table: str | None, query: Query | None, names: dict[int, Any], depth: int) -> Any:
        return ("table", table) if query is None else ("query", self.spell(query, names, depth + 1))

    def _namings(self, block: Block, kinds: list[Any], depth: int) -> Iterator[dict[int, Any]]:
        """Every way to number the occurrences of equal kind."""
        groups: dict[str, list[int]] = {}
        for source, kind in zip(block.sources, kinds, strict=True):
            groups.setdefault(repr(kind), []).append(source.occurrence)
        members = [groups[kind] for kind in sorted(groups)]
        count = 1
        for group in members:
            for size in range(2, len(group) + 1):
                count *= size
        if count > _MOST_NAMINGS:
            raise Unprovable("too many occurrences of one table")
        for orders in product(*map(permutations, members)):
            yield {
                occurrence: ("from", depth, group, number)
                for group, order in enumerate(orders)
                for number, occurrence in enumerate(order)
            }

    def _block(self, block: Block, kinds: list[Any], names: dict[int, Any], depth: int) -> Any:
        def parts(node: Any) -> Any:
            return self._term(node, names, depth)

        lefts = [
            (self._kind(left.source.table, left.source.query, names, depth), parts(left.on)) for left in block.lefts
        ]
        return (
            "select",
            tuple(kinds),
            tuple(lefts),
            parts(block.where),
            None if block.group is None else parts(block.group),
            parts(block.having),
            parts(block.outputs),
            block.distinct,
            parts(block.order),
            block.limit,
            block.offset,
        )

    def _term(self, node: Any, names: dict[int, Any], depth: int) -> Any:
        if isinstance(node, (Block, SetOp)):
            return self.spell(node, names, depth + 1)
        if isinstance(node, frozenset):
            return tuple(_ordered([self._term(part, names, depth) for part in node]))
        if not isinstance(node, tuple):
            return node
        if node[:1] == ("col",):
            return ("col", names[node[1]], node[2])
        spelt = tuple(self._term(part, names, depth) for part in node)
        if node and node[0] in _COMMUTING:
            return (spelt[0], *sorted(spelt[1:], key=repr))
        return spelt


def _ordered(parts: list[Any]) -> list[Any]:
    """Sorted, each once."""
    different = {repr(part): part for part in parts}
    return [different[text] for text in sorted(different)]


def with_classes(block: Block, world: World) -> Block:
    """Columns that WHERE makes the same cell are replaced by their class, and group keys by all that they determine."""
    known = Dependence(block, world)
    group = block.group
    if group is not None and WHOLE not in group:
        closed = known.close(group)
        columns = frozenset(term for term in closed if term[0] == "col" and known.is_local(term))
        group = columns | {key for key in group if not known.is_known(key, set(columns) | known.constants)}
    pairs = known.equal_pairs
    classes: list[set[Expr]] = []
    for pair in pairs:
        touched = [members for members in classes if members & set(pair)]
        classes = [members for members in classes if members not in touched]
        classes.append(set(pair).union(*touched))
    values: dict[Expr, Expr] = {}
    for members in classes:
        values.update(dict.fromkeys(members, ("class", frozenset(members))))
    where = frozenset(
        condition
        for condition in block.where
        if not (condition[0] == "=" and (condition[1], condition[2]) in set(pairs))
    )
    changed: Block = _substitute(block._replace(where=where, group=group), values)
    return changed._replace(where=changed.where | frozenset(values.values()))


def _substitute(node: Any, values: dict[Expr, Expr]) -> Any:
    return substitute(node, values) if values else node
