"""What determines what in one SELECT: equal, constant and never NULL columns, and keys that tell rows apart."""

from collections.abc import Iterable
from functools import cached_property

from slm.sql.prove.terms import (
    COMPARISONS,
    LITERALS,
    WHOLE,
    Block,
    Conditions,
    Expr,
    Query,
    SetOp,
    Source,
    columns,
    occurrences,
)
from slm.sql.prove.world import World, outputs


class Dependence:
    """Facts about the rows of `block` after WHERE and before grouping.

    "Determined" is meant value by value, NULL being a value: rows that agree on these agree on those. WHERE contributes
    equalities of columns of one storage and of columns with constants; keys contribute whole rows.
    """

    def __init__(self, block: Block, world: World) -> None:
        self.block, self.world = block, world
        self.sources = occurrences(block)
        self.inner = {source.occurrence for source in block.sources}
        self.local = {source.occurrence for source in self.sources}

    def is_local(self, column: Expr) -> bool:
        """Whether it comes from this FROM, not from a query around it."""
        return bool(column[0] == "col" and column[1] in self.local)

    @cached_property
    def _rejected(self) -> set[Expr]:
        return {term for condition in self.block.where for term in rejected(condition)}

    def never_null(self, term: Expr) -> bool:
        """Whether it has a value in every row."""
        if term in self._rejected or (term[0] == "agg" and term[1] == "count"):
            return True
        if term[0] != "col":
            return term[0] in LITERALS - {"null"}
        return term[1] in self.inner and self._declared(self.world.sources[term[1]], term[2])

    def _declared(self, source: Source, place: int) -> bool:
        facts = self.world.facts
        if source.table is not None:
            return (source.table, facts.columns[source.table][place]) in facts.not_null
        query = source.query
        if not isinstance(query, Block) or WHOLE in (query.group or ()):
            return False
        return Dependence(query, self.world).never_null(query.outputs[place])

    def keys(self, source: Source) -> list[tuple[Expr, ...]]:
        """Sets of its columns that tell any two of its rows apart in the result; NULLs count as equal there."""
        found: list[tuple[int, ...]] = []
        if source.table is not None:
            for key in self.world.facts.keys.get(source.table, ()):
                terms = [("col", source.occurrence, place) for place in key]
                safe = [self._declared(source, place) for place in key]
                if all(
                    is_safe or (term in self._rejected and source.occurrence in self.inner)
                    for term, is_safe in zip(terms, safe, strict=True)
                ):
                    found.append(key)
        elif source.query is not None:
            found = query_keys(source.query)
            if source.occurrence not in self.inner:  # a row of NULLs may be the left join's own
                found = [key for key in found if key and all(self._declared(source, place) for place in key)]
        return [tuple(("col", source.occurrence, place) for place in key) for key in found]

    @cached_property
    def equal_pairs(self) -> list[tuple[Expr, Expr]]:
        """Columns of this FROM that WHERE makes the same cell."""
        return [
            (condition[1], condition[2])
            for condition in self.block.where
            if condition[0] == "=" and self._same_storage(condition) and self._both_local(condition)
        ]

    def _both_local(self, condition: Expr) -> bool:
        return all(self.is_local(side) for side in condition[1:])

    def _same_storage(self, condition: Expr) -> bool:
        left, right = (self.world.storage(side) for side in condition[1:])
        return left is not None and left == right

    @cached_property
    def _steps(self) -> list[tuple[Expr, Expr]]:
        """Columns of this FROM of which the first determines the second, by an equality in WHERE."""
        steps = []
        for condition in self.block.where:
            if condition[0] == "=" and self._both_local(condition):
                for one, other in (condition[1:], condition[:0:-1]):
                    if self._fixes(one, other):
                        steps.append((one, other))
        return steps

    def _fixes(self, one: Expr, other: Expr) -> bool:
        """Whether `one = other` leaves one value for `other` for each of `one`: text is read as a number, not back."""
        storages = self.world.storage(one), self.world.storage(other)
        return None not in storages and (storages[1] != "text" or storages[0] == "text")

    @cached_property
    def constants(self) -> set[Expr]:
        """Columns of this FROM that have one value for given values of the queries around it."""
        found = set()
        for condition in self.block.where:
            if condition[0] != "=":
                continue
            for column, other in (condition[1:], condition[:0:-1]):
                if column[0] != "col" or not self.is_local(column) or self.world.storage(column) is None:
                    continue
                is_outer = other[0] == "col" and not self.is_local(other) and self._fixes(other, column)
                if other[0] in LITERALS or is_outer:
                    found.add(column)
        return found

    def close(self, start: Iterable[Expr]) -> set[Expr]:
        """All columns of this FROM that these expressions and the constants determine, and the expressions."""
        known = set(start) | self.constants
        size = -1
        while size != len(known):
            size = len(known)
            known |= {other for one, other in self._steps if one in known}
            for source in self.sources:
                if any(all(column in known for column in key) for key in self.keys(source)):
                    known |= {("col", source.occurrence, place) for place in range(self.world.width(source))}
        return known

    def is_known(self, term: Expr, known: set[Expr], *, grouped: bool = False) -> bool:
        """Whether `known`, which `close` gave, determines it; `grouped`: an aggregate is determined by its group."""
        if term in known or term[0] in LITERALS or (grouped and term[0] == "agg"):
            return True
        if term[0] == "col":
            return not self.is_local(term)
        if term[0] in ("agg", "whole"):
            return False
        if term[0] in ("in", "exists", "sub"):
            parts = [term[1]] if term[0] == "in" else []
            inside = {column for column in columns(term[-1]) if self.is_local(column)}
            return inside <= known and all(self.is_known(part, known, grouped=grouped) for part in parts)
        return all(self.is_known(part, known, grouped=grouped) for part in _children(term))

    def rows_differ(self, terms: Iterable[Expr]) -> bool:
        """Whether no two rows, before grouping, agree on all these."""
        known = self.close(terms)
        return all(any(all(column in known for column in key) for key in self.keys(source)) for source in self.sources)

    def at_most_one(self) -> bool:
        """Whether the block gives at most one row, for given values of the queries around it."""
        group = self.block.group
        if group is None:
            return self.rows_differ(())
        known = self.close(())
        return WHOLE in group or all(self.is_known(key, known) for key in group)


def _children(term: Expr) -> Iterable[Expr]:
    for part in term[1:]:
        if isinstance(part, frozenset) or (isinstance(part, tuple) and part and isinstance(part[0], tuple)):
            yield from part
        elif isinstance(part, tuple):
            yield part


def query_keys(query: Query) -> list[tuple[int, ...]]:
    """Positions of output columns that tell the rows of a query apart."""
    everything = tuple(range(len(outputs(query))))
    if isinstance(query, SetOp):
        return [] if query.op == "union all" else [everything]
    if query.group is not None and WHOLE in query.group:
        return [()]
    if query.group is not None and all(key in query.outputs for key in query.group):
        return [tuple(query.outputs.index(key) for key in query.group)]
    return [everything] if query.distinct else []


def rejected(condition: Expr) -> Conditions:
    """Expressions that are not NULL wherever the condition is true."""
    kind = condition[0]
    if kind in COMPARISONS or kind == "like":
        return frozenset(condition[1:3])
    if kind == "in":
        return frozenset({condition[1]})
    if kind == "not":
        inner = condition[1]
        if inner[0] == "isnull":
            return frozenset({inner[1]})
        return rejected(inner) if inner[0] == "like" else frozenset()
    if kind == "and":
        return frozenset().union(*map(rejected, condition[1]))
    if kind == "or":
        return frozenset.intersection(*map(rejected, condition[1])) if condition[1] else frozenset()
    return frozenset()
