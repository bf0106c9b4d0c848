"""Queries as plain values: nested tuples for expressions, named tuples for queries, and walks over both.

An expression is a tuple whose first item says what it is:

| tuple | meaning |
|---|---|
| `("col", occurrence, place)` | a column of one occurrence of a table or subquery, by its position |
| `("int", n)`, `("real", x)`, `("text", s)`, `("null",)` | a literal |
| `("=", a, b)`, `("<>", a, b)`, `("<", a, b)`, `("<=", a, b)` | a comparison; `>` and `>=` are turned round |
| `("and", frozenset)`, `("or", frozenset)`, `("not", a)` | logic |
| `("isnull", a)`, `("is", a, b)`, `("like", a, pattern)` | |
| `("in", a, query)`, `("exists", query)`, `("sub", query)` | a subquery as a condition or as one value |
| `("agg", name, distinct, a)` | an aggregate; `a` is None for COUNT(*) |
| `("+", a, b)`, `("fn", name, …)`, `("cast", type, a)`, `("case", …)` | anything else that has a value |
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

Expr = tuple[Any, ...]
Conditions = frozenset[Expr]
OrderKey = tuple[Expr, bool, bool]  # expression, descending, NULLs first

WHOLE: Expr = ("whole",)  # the only group key of `SELECT COUNT(*) FROM t`: one group, even of no rows
LITERALS = frozenset({"int", "real", "text", "null"})
COMPARISONS = frozenset({"=", "<>", "<", "<="})
BOOLEANS = COMPARISONS | {"and", "or", "not", "isnull", "is", "like", "in", "exists"}


class Unprovable(Exception):
    """Something stands in the query about which no rule is known to be sound."""


class Source(NamedTuple):
    """One occurrence in FROM: a table by its lower-case name, or a subquery."""

    occurrence: int
    table: str | None
    query: "Query | None"


class Left(NamedTuple):
    """A table that is left-joined to everything before it."""

    source: Source
    on: Conditions


class Block(NamedTuple):
    """One SELECT: inner-joined `sources`, then left joins in order; ON conditions of inner joins are in `where`.

    `group` is None without aggregation, `{WHOLE}` for aggregates over all rows.
    """

    sources: tuple[Source, ...]
    lefts: tuple[Left, ...]
    where: Conditions
    group: Conditions | None
    having: Conditions
    outputs: tuple[Expr, ...]
    distinct: bool
    order: tuple[OrderKey, ...]
    limit: int | None
    offset: int


class SetOp(NamedTuple):
    """`union`, `union all`, `intersect` or `except` of two or more queries, from left to right.

    Sort keys are `("out", position)`.
    """

    op: str
    operands: tuple["Query", ...]
    order: tuple[OrderKey, ...]
    limit: int | None
    offset: int


Query = Block | SetOp


def rebuild(node: Any, change: Callable[[Any], Any]) -> Any:
    """The node with `change` applied to each child, or the node itself where it has none."""
    if isinstance(node, frozenset):
        return frozenset(map(change, node))
    if isinstance(node, tuple):
        parts = map(change, node)
        return type(node)(*parts) if hasattr(node, "_fields") else tuple(parts)
    return node


def substitute(node: Any, values: dict[Expr, Expr]) -> Any:
    """The node with each column that is a key of `values` replaced, in subqueries too."""
    if isinstance(node, tuple) and node[:1] == ("col",):
        return values.get(node, node)
    return rebuild(node, lambda child: substitute(child, values))


def columns(node: Any) -> Iterator[Expr]:
    """All columns in it, those in subqueries too."""
    if isinstance(node, (tuple, frozenset)):
        if isinstance(node, tuple) and node[:1] == ("col",):
            yield node
        else:
            for child in node:
                yield from columns(child)


def nodes(node: Any) -> Iterator[Expr]:
    """All expressions and queries in it, those in subqueries too."""
    if isinstance(node, tuple):
        yield node
    if isinstance(node, (tuple, frozenset)):
        for child in node:
            yield from nodes(child)


def own_nodes(node: Any) -> Iterator[Expr]:
    """All expressions in it, without looking into subqueries."""
    if isinstance(node, (Block, SetOp)):
        return
    if isinstance(node, tuple):
        yield node
    if isinstance(node, (tuple, frozenset)):
        for child in node:
            yield from own_nodes(child)


def has_aggregate(node: Any) -> bool:
    """Whether an aggregate of this query, not of a subquery, stands in it."""
    return any(part[:1] == ("agg",) for part in own_nodes(node))


def conjuncts(condition: Expr) -> Conditions:
    """The conditions that must all hold for it to hold."""
    return cast(Conditions, condition[1]) if condition[0] == "and" else frozenset({condition})


def all_of(conditions: Iterable[Expr]) -> Expr:
    """AND of conditions; a single one stays as it is only if its value is already 0, 1 or NULL."""
    return _joined("and", conditions)


def any_of(conditions: Iterable[Expr]) -> Expr:
    """OR of conditions; as `all_of`."""
    return _joined("or", conditions)


def _joined(kind: str, conditions: Iterable[Expr]) -> Expr:
    flat: set[Expr] = set()
    for condition in conditions:
        flat.update(condition[1] if condition[0] == kind else [condition])
    if len(flat) == 1 and next(iter(flat))[0] in BOOLEANS:
        return next(iter(flat))
    return (kind, frozenset(flat))


def occurrences(block: Block) -> tuple[Source, ...]:
    """Everything in FROM."""
    return block.sources + tuple(left.source for left in block.lefts)


def is_plain(query: Query | None) -> bool:
    """Whether it is SELECT … FROM … WHERE of inner joins, without aggregation, DISTINCT or LIMIT."""
    return (
        isinstance(query, Block)
        and not query.lefts
        and query.group is None
        and not query.distinct
        and query.limit is None
        and not query.offset
    )
